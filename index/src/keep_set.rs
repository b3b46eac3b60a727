//! Which revisions survive a compaction.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use crate::revision::{FullRevision, Revision, SubRevision};

/// The revisions that a compaction at one revision keeps.
///
/// Bitmaps, because they may be millions. Nearly all changes are the first of their transaction and
/// few transactions have many, so there is one bitmap of transactions for each place in a
/// transaction. The compacted transaction itself may be the deletion of a million keys, all kept:
/// of it a bitmap holds the places.
#[derive(Clone, Debug, PartialEq)]
pub struct KeepSet {
    at: Revision,
    earlier: BTreeMap<SubRevision, RoaringTreemap>,
    last: RoaringTreemap,
}

impl KeepSet {
    /// The set for a compaction at `at`, with nothing kept yet of what is not later.
    #[must_use]
    pub fn new(at: Revision) -> Self {
        Self {
            at,
            earlier: BTreeMap::new(),
            last: RoaringTreemap::new(),
        }
    }

    /// Keeps a revision.
    ///
    /// # Panics
    ///
    /// If it is later than the compaction, which keeps all those anyway.
    pub fn insert(&mut self, revision: FullRevision) {
        assert!(
            revision.main <= self.at,
            "later revisions are kept without being said so"
        );
        if revision.main == self.at {
            self.last.insert(revision.sub.number());
        } else {
            self.earlier
                .entry(revision.sub)
                .or_default()
                .insert(revision.main.number());
        }
    }

    /// The revision compacted at.
    #[must_use]
    pub const fn at(&self) -> Revision {
        self.at
    }

    /// Whether a revision survives the compaction; all later ones do.
    #[must_use]
    pub fn contains(&self, revision: FullRevision) -> bool {
        if revision.main > self.at {
            true
        } else if revision.main == self.at {
            self.last.contains(revision.sub.number())
        } else {
            let places = self.earlier.get(&revision.sub);
            places.is_some_and(|mains| mains.contains(revision.main.number()))
        }
    }

    /// How many revisions at or before the compacted one are kept.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.last.len() + self.earlier.values().map(RoaringTreemap::len).sum::<u64>()
    }

    /// Whether no revision at or before the compacted one is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(main: u64, sub: u64) -> FullRevision {
        FullRevision::new(Revision::new(main).unwrap(), SubRevision::new(sub))
    }

    #[test]
    fn a_set_holds_what_was_kept_and_everything_later() {
        let mut keep = KeepSet::new(Revision::new(9).unwrap());
        let kept = [full(2, 0), full(2, 7), full(9, 0), full(9, 1_000_000)];
        for revision in kept {
            assert!(!keep.contains(revision));
            keep.insert(revision);
        }
        for revision in kept {
            assert!(keep.contains(revision));
        }
        assert_eq!(keep.len(), 4);
        assert!(!keep.contains(full(7, 0)) && !keep.contains(full(9, 7)));
        assert!(keep.contains(full(10, 0)) && keep.contains(full(10, 7)));
    }
}
