//! What the index says of one range at one revision, taken once and kept while a read runs.
//!
//! A read of one key takes the one answer: while a snapshot of the whole index is held, the writer
//! must copy each part of the tree that it changes, and point reads should not cost it that.

use bytes::Bytes;
use cairn_index::{KeyRange, KeyVersion, Revision, TreeIndex};

/// An answer of the index, detached from the writer.
#[derive(Debug)]
pub(crate) enum IndexView {
    /// For one key: the key and its version, if it is there.
    One(Option<(Bytes, KeyVersion)>),
    /// For any range: a snapshot.
    Tree(TreeIndex),
}

impl IndexView {
    pub(crate) fn take(index: &TreeIndex, range: &KeyRange, at: Revision) -> Self {
        match range {
            KeyRange::One(key) => {
                Self::One(index.get(key, at).map(|version| (key.clone(), version)))
            }
            KeyRange::Span { .. } | KeyRange::From(_) | KeyRange::All => Self::Tree(index.clone()),
        }
    }

    pub(crate) fn get(&self, key: &[u8], at: Revision) -> Option<KeyVersion> {
        match self {
            Self::One(row) => {
                let (found, version) = row.as_ref()?;
                (found == key).then_some(*version)
            }
            Self::Tree(tree) => tree.get(key, at),
        }
    }

    /// The keys of `range`, which must be in what the view was taken for, in key order.
    pub(crate) fn rows(
        &self,
        range: &KeyRange,
        at: Revision,
    ) -> impl Iterator<Item = (&[u8], KeyVersion)> {
        let (one, tree) = match self {
            Self::One(row) => (row.as_ref(), None),
            Self::Tree(tree) => (None, Some(tree)),
        };
        let one = one.filter(|(key, _)| range.contains(key));
        one.map(|(key, version)| (key.as_ref(), *version))
            .into_iter()
            .chain(tree.into_iter().flat_map(move |tree| tree.range(range, at)))
    }

    pub(crate) fn count(&self, range: &KeyRange, at: Revision) -> u64 {
        match self {
            Self::One(row) => u64::from(row.as_ref().is_some_and(|(key, _)| range.contains(key))),
            Self::Tree(tree) => tree.count(range, at),
        }
    }
}
