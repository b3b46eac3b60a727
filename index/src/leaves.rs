//! The persistent map of leaves: which leaf a key is in, and its changes as leaves grow and shrink.

use std::ops::Bound;

use im::OrdMap;

use crate::key::Key;
use crate::key_index::KeyIndex;
use crate::leaf::Leaf;
use crate::revision::Revision;

/// The ends of a range of keys.
pub(crate) type KeyBounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// All keys in order, in leaves. A clone is O(1) and shares them.
///
/// Invariants:
/// 1. The first leaf's separator is the empty key, so every key has a leaf to be in: the last whose
///    separator is not after it.
/// 2. A leaf's keys are at or after its separator, and before the next leaf's.
/// 3. No leaf but the first is empty.
/// 4. `keys` is the number of keys, `live` that of those whose last change is a put.
#[derive(Clone, Debug)]
pub(crate) struct Leaves {
    by_separator: OrdMap<Key, Leaf>,
    keys: usize,
    live: usize,
}

impl Leaves {
    /// No keys: one empty leaf.
    pub(crate) fn new() -> Self {
        Self {
            by_separator: OrdMap::unit(Key::default(), Leaf::default()),
            keys: 0,
            live: 0,
        }
    }

    /// These keys, which must ascend.
    pub(crate) fn from_sorted(
        keys: impl IntoIterator<Item = (impl AsRef<[u8]>, KeyIndex)>,
    ) -> Self {
        let mut leaves = Self::new();
        let mut last_key: Option<Vec<u8>> = None;
        for leaf in Leaf::build(keys) {
            let Some((first, last)) = leaf.ends() else {
                continue;
            };
            let separator = last_key
                .map(|before| separator(&before, first))
                .unwrap_or_default();
            last_key = Some(last.to_vec());
            leaves.keys += leaf.len();
            leaves.live += leaf.live();
            leaves.by_separator.insert(separator, leaf);
        }
        leaves
    }

    /// Changes a key's index; `None` if there is no such key.
    pub(crate) fn update<R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut KeyIndex) -> R,
    ) -> Option<R> {
        let (separator, leaf) = self.leaf_of(key)?;
        let place = leaf.find(key).ok()?;
        let separator = separator.clone();
        let leaf = self.by_separator.get_mut(&separator)?;
        let live_before = leaf.live();
        let result = leaf.update(place, change);
        self.live = self.live + leaf.live() - live_before;
        Some(result)
    }

    /// Adds a key, which must not be there.
    pub(crate) fn insert(&mut self, key: &[u8], index: KeyIndex) {
        let (keys, live) = (
            self.keys + 1,
            self.live + usize::from(index.latest().is_some()),
        );
        let leaf_of_key = self.by_separator.get_prev_mut(key);
        #[expect(clippy::expect_used, reason = "invariant 1")]
        let (_, leaf) = leaf_of_key.expect("every key has a leaf to be in");
        let place = leaf.find(key);
        #[expect(clippy::expect_used, reason = "the caller looked")]
        let place = place.expect_err("the key is new");
        leaf.insert(place, key, index);
        if let Some(right) = leaf.split(place)
            && let (Some((_, left_last)), Some((right_first, _))) = (leaf.ends(), right.ends())
        {
            let separator = separator(left_last, right_first);
            self.by_separator.insert(separator, right);
        }
        (self.keys, self.live) = (keys, live);
    }

    /// Removes a key, if it is there.
    pub(crate) fn remove(&mut self, key: &[u8]) {
        let Some((separator, leaf)) = self.leaf_of(key) else {
            return;
        };
        let Ok(place) = leaf.find(key) else { return };
        let separator = separator.clone();
        let Some(leaf) = self.by_separator.get_mut(&separator) else {
            return;
        };
        let live_before = leaf.live();
        leaf.remove(place);
        self.keys -= 1;
        self.live -= live_before - leaf.live();
        if leaf.is_small() {
            self.merge(&separator);
        }
    }

    /// What is known of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&KeyIndex> {
        self.leaf_of(key)?.1.get(key)
    }

    /// The keys within bounds, in order.
    pub(crate) fn range<'a, 'b>(
        &'a self,
        bounds: KeyBounds<'b>,
    ) -> impl Iterator<Item = (&'a [u8], &'a KeyIndex)> + use<'a, 'b> {
        self.leaves(bounds).flat_map(move |leaf| leaf.range(bounds))
    }

    /// Every key, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &KeyIndex)> {
        self.range((Bound::Unbounded, Bound::Unbounded))
    }

    /// How many keys within bounds a read at `at` finds. Leaves between the ends that did not
    /// change after `at` are not looked into.
    pub(crate) fn count(&self, bounds: KeyBounds<'_>, at: Revision) -> usize {
        let mut leaves = self.leaves(bounds).peekable();
        let mut count = leaves
            .next()
            .map_or(0, |first| first.count_within(bounds, at));
        while let Some(leaf) = leaves.next() {
            let is_last = leaves.peek().is_none();
            count += if is_last {
                leaf.count_within(bounds, at)
            } else {
                leaf.count(at)
            };
        }
        count
    }

    /// How many keys there are.
    pub(crate) const fn len(&self) -> usize {
        self.keys
    }

    /// How many keys are live after the last write.
    pub(crate) const fn live(&self) -> usize {
        self.live
    }

    fn leaf_of(&self, key: &[u8]) -> Option<(&Key, &Leaf)> {
        self.by_separator.get_prev(key)
    }

    /// The leaves that may have keys within bounds: all keys of those between the first and the
    /// last are.
    fn leaves<'a>(
        &'a self,
        (start, end): KeyBounds<'_>,
    ) -> impl Iterator<Item = &'a Leaf> + use<'a> {
        let first = match start {
            Bound::Included(key) | Bound::Excluded(key) => self.leaf_of(key),
            Bound::Unbounded => None,
        };
        let first = first.map_or(Bound::Unbounded, |(key, _)| Bound::Included(key.as_bytes()));
        self.by_separator
            .range::<_, [u8]>((first, end))
            .map(|(_, leaf)| leaf)
    }

    /// Merges a small leaf into the one before, if there is one with room.
    fn merge(&mut self, separator: &Key) {
        let before = (Bound::Unbounded, Bound::Excluded(separator.as_bytes()));
        let Some((into, left)) = self.by_separator.range::<_, [u8]>(before).next_back() else {
            return;
        };
        let Some(leaf) = self.by_separator.get(separator) else {
            return;
        };
        if !left.has_room_for(leaf) {
            return;
        }
        let (into, leaf) = (into.clone(), leaf.clone());
        if let Some(left) = self.by_separator.get_mut(&into) {
            left.append(&leaf);
            self.by_separator.remove(separator);
        }
    }

    /// Checks the invariants; panics if one is broken.
    pub(crate) fn check_invariants(&self) {
        let first = self
            .by_separator
            .get_min()
            .map(|(separator, _)| separator.as_bytes());
        assert_eq!(first, Some(b"".as_slice()), "1");
        let mut before: Option<&[u8]> = None;
        for (separator, leaf) in &self.by_separator {
            leaf.check_invariants();
            assert!(
                before.is_none_or(|before| before < separator.as_bytes()),
                "2"
            );
            let Some((first, last)) = leaf.ends() else {
                assert!(separator.as_bytes().is_empty(), "3");
                continue;
            };
            assert!(separator.as_bytes() <= first, "2");
            before = Some(last);
        }
        let leaves = || self.by_separator.values();
        assert_eq!(leaves().map(Leaf::len).sum::<usize>(), self.keys, "4");
        assert_eq!(leaves().map(Leaf::live).sum::<usize>(), self.live, "4");
    }
}

/// The shortest key after `left` and not after `right`.
fn separator(left: &[u8], right: &[u8]) -> Key {
    let common = left
        .iter()
        .zip(right)
        .take_while(|(left, right)| left == right)
        .count();
    right.get(..=common).unwrap_or(right).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::KeyChange;
    use crate::revision::FullRevision;
    use crate::version::KeyVersion;

    fn index() -> KeyIndex {
        KeyIndex::new(KeyChange::Put(KeyVersion::created_by(
            FullRevision::first_of(Revision::FIRST),
        )))
    }

    #[test]
    fn a_separator_is_as_short_as_it_can_be() {
        for (left, right, expected) in [
            ("a", "b", "b"),
            ("abc", "abdef", "abd"),
            ("ab", "abc", "abc"),
        ] {
            assert_eq!(
                separator(left.as_bytes(), right.as_bytes()),
                expected.as_bytes().into()
            );
        }
    }

    #[test]
    fn ascending_keys_leave_full_leaves() {
        let mut leaves = Leaves::new();
        for number in 0..6400 {
            leaves.insert(format!("{number:05}").as_bytes(), index());
        }
        leaves.check_invariants();
        assert_eq!(leaves.by_separator.len(), 100);
    }

    #[test]
    fn removing_keys_merges_leaves_until_one_is_left() {
        let keys: Vec<String> = (0..5000).map(|number| format!("{number:05}")).collect();
        let mut leaves = Leaves::from_sorted(keys.iter().map(|key| (key, index())));
        for (removed, number) in (1..).zip((0..5000).map(|number| number * 7 % 5000)) {
            leaves.remove(keys[number].as_bytes());
            if removed % 500 == 0 {
                leaves.check_invariants();
                let few = leaves.by_separator.len() <= 1 + (5000 - removed) / 8;
                assert!(few, "{} leaves after {removed}", leaves.by_separator.len());
            }
        }
        assert_eq!((leaves.len(), leaves.by_separator.len()), (0, 1));
    }

    #[test]
    fn huge_keys_do_not_share_a_leaf_by_the_dozen() {
        let mut leaves = Leaves::new();
        for number in 0..40 {
            let mut key = vec![b'k'; 100_000];
            key.push(number);
            leaves.insert(&key, index());
        }
        leaves.check_invariants();
        assert!(
            leaves.by_separator.len() >= 20,
            "{} leaves",
            leaves.by_separator.len()
        );
    }
}
