//! The changes of one key, oldest first: what [`KeyIndex`](crate::KeyIndex) holds for a key that
//! changed more than once since the last compaction.
//!
//! A history is shared with snapshots, so appending must not copy it: a key that is written a
//! hundred thousand times between compactions would cost a hundred thousand copies of its past.

use std::sync::Arc;

use crate::revision::{FullRevision, Revision};
use crate::version::KeyVersion;

/// Runs shorter than this are copied when they grow; longer ones are merged by pairs.
const RUN_ENTRIES: usize = 8;

/// One change of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// The key was written.
    Put(KeyVersion),
    /// The key was deleted.
    Tombstone(FullRevision),
}

const _: () = assert!(size_of::<KeyChange>() == 32);

impl KeyChange {
    /// When the change was made.
    #[must_use]
    pub const fn at(&self) -> FullRevision {
        match self {
            Self::Put(version) => version.modified,
            Self::Tombstone(at) => *at,
        }
    }

    /// The key as this change left it; `None` if it left none.
    #[must_use]
    pub const fn version(self) -> Option<KeyVersion> {
        match self {
            Self::Put(version) => Some(version),
            Self::Tombstone(_) => None,
        }
    }
}

type Run = Arc<[KeyChange]>;

/// Changes in ascending order, in runs whose lengths fall from front to back, so that there are
/// O(log n) of them, a search is O(log n), and an append copies O(log n) changes on average.
///
/// Invariants:
/// 1. There is a run, and no run is empty.
/// 2. Changes ascend strictly, within runs and from run to run.
#[derive(Clone, Debug)]
pub(crate) struct History(Arc<[Run]>);

impl History {
    /// The history of these changes, which must ascend and not be none.
    pub(crate) fn new(changes: &[KeyChange]) -> Self {
        assert!(!changes.is_empty(), "a history has a change");
        let history = Self([changes.into()].into());
        history.debug_check();
        history
    }

    /// Appends a change, which must be later than all others.
    pub(crate) fn push(&mut self, change: KeyChange) {
        assert!(self.last().at() < change.at(), "a key's changes ascend");
        let mut runs = self.0.to_vec();
        match runs.last_mut() {
            Some(run) if run.len() < RUN_ENTRIES => {
                *run = run.iter().copied().chain([change]).collect();
            }
            _ => runs.push([change].into()),
        }
        while let [.., longer, last] = runs.as_mut_slice()
            && last.len() >= RUN_ENTRIES.min(longer.len())
            && longer.len() <= last.len()
        {
            *longer = longer.iter().chain(last.iter()).copied().collect();
            runs.pop();
        }
        self.0 = runs.into();
        self.debug_check();
    }

    /// The last change.
    pub(crate) fn last(&self) -> KeyChange {
        let last = self.0.last().and_then(|run| run.last());
        #[expect(clippy::expect_used, reason = "invariant 1")]
        *last.expect("a history has a change")
    }

    /// The last change of all transactions up to `at`.
    pub(crate) fn find(&self, at: Revision) -> Option<KeyChange> {
        let last = self.last();
        if last.at().main <= at {
            return Some(last);
        }
        let starts_by = |run: &&Run| run.first().is_some_and(|first| first.at().main <= at);
        let run = self.0.iter().rev().find(starts_by)?;
        let after = run.partition_point(|change| change.at().main <= at);
        run.get(after.checked_sub(1)?).copied()
    }

    /// The changes, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = KeyChange> + Clone + '_ {
        self.0.iter().flat_map(|run| run.iter().copied())
    }

    /// How many changes there are.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|run| run.len()).sum()
    }

    /// Panics if an invariant is broken.
    pub(crate) fn check_invariants(&self) {
        assert!(
            !self.0.is_empty() && self.0.iter().all(|run| !run.is_empty()),
            "1"
        );
        assert!(self.iter().is_sorted_by(|a, b| a.at() < b.at()), "2");
    }

    fn debug_check(&self) {
        // A long history is checked whole when it is compacted, not at every append.
        if cfg!(debug_assertions) && self.0.len() <= 2 {
            self.check_invariants();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revision::SubRevision;

    fn tombstone(main: u64) -> KeyChange {
        KeyChange::Tombstone(FullRevision::new(
            Revision::new(main).unwrap(),
            SubRevision::FIRST,
        ))
    }

    #[test]
    fn a_long_history_finds_every_change_in_few_runs() {
        let mut history = History::new(&[tombstone(2)]);
        for main in 2..10_000 {
            history.push(tombstone(2 * main));
        }
        history.check_invariants();
        assert!(history.0.len() < 20, "{} runs", history.0.len());
        assert_eq!(history.len(), 9_999);
        assert_eq!(history.find(Revision::FIRST), None);
        for main in 2..20_000 {
            let expected = if main < 4 { 2 } else { main / 2 * 2 };
            let found = history.find(Revision::new(main).unwrap());
            assert_eq!(found, Some(tombstone(expected)), "at {main}");
        }
    }

    #[test]
    fn a_copy_does_not_see_later_changes() {
        let mut history = History::new(&[tombstone(2)]);
        let copy = history.clone();
        history.push(tombstone(3));
        assert_eq!(copy.iter().collect::<Vec<_>>(), [tombstone(2)]);
        assert_eq!(history.last(), tombstone(3));
    }
}
