//! Keys as a tree of the parts between separators, with how many there are below and how large.

use std::collections::BTreeMap;

/// Keys and bytes below a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) keys: u64,
    /// Of keys and values.
    pub(crate) bytes: u64,
}

/// A node and what is below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyTree {
    pub(crate) weight: Weight,
    /// By the part of the key up to the next separator, with it.
    pub(crate) below: BTreeMap<Vec<u8>, Self>,
}

impl KeyTree {
    /// Adds a pair; of its key's parts no more than `depth` become nodes.
    pub(crate) fn add(&mut self, key: &[u8], bytes: u64, separator: u8, depth: usize) {
        self.weight.keys += 1;
        self.weight.bytes += bytes;
        let Some(depth_below) = depth.checked_sub(1) else {
            return;
        };
        let end = key.iter().skip(1).position(|byte| *byte == separator);
        let (part, rest) = match end {
            // A separator at the very beginning belongs to the part behind it.
            Some(end) => key.split_at(end + 2),
            None => (key, &[][..]),
        };
        if part.is_empty() {
            return;
        }
        let node = self.below.entry(part.to_vec()).or_default();
        let depth = if rest.is_empty() { 0 } else { depth_below };
        node.add(rest, bytes, separator, depth);
    }

    /// What is directly below, the heaviest first.
    pub(crate) fn heaviest(&self) -> Vec<(&Vec<u8>, &Self)> {
        let mut below: Vec<_> = self.below.iter().collect();
        below.sort_by_key(|(part, node)| (std::cmp::Reverse(node.weight.bytes), *part));
        below
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_end_with_their_separator() {
        let mut tree = KeyTree::default();
        for key in ["/a/b/1", "/a/b/2", "/a/c", "/d", "e"] {
            tree.add(key.as_bytes(), 10, b'/', 2);
        }
        let top: Vec<_> = tree
            .heaviest()
            .into_iter()
            .map(|(part, node)| (part.as_slice(), node.weight.keys))
            .collect();
        assert_eq!(top, [(&b"/a/"[..], 3), (b"/d", 1), (b"e", 1)]);
        let below = &tree.below[&b"/a/"[..]].below;
        assert_eq!(below[&b"b/"[..]].weight, Weight { keys: 2, bytes: 20 });
        assert!(below[&b"b/"[..]].below.is_empty());
    }

    proptest! {
        #[test]
        fn every_key_counts_once_on_each_level(
            keys in proptest::collection::btree_set("[ab/]{0,6}", 0..30), depth in 0_usize..5,
        ) {
            let mut tree = KeyTree::default();
            for key in &keys {
                tree.add(key.as_bytes(), 1, b'/', depth);
            }
            prop_assert_eq!(tree.weight.keys, keys.len() as u64);
            fn sums(node: &KeyTree) -> bool {
                let below: u64 = node.below.values().map(|it| it.weight.keys).sum();
                below <= node.weight.keys && node.below.values().all(sums)
            }
            prop_assert!(sums(&tree));
        }
    }
}
