//! How often what was done, since this member started.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::apply::OperationKind;
use crate::error::ErrorKind;

/// What is counted, in the order in which etcd shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Reads that found their node.
    GetsSuccess,
    /// Reads that did not.
    GetsFail,
    /// Sets.
    SetsSuccess,
    /// Sets that were refused.
    SetsFail,
    /// Deletions.
    DeleteSuccess,
    /// Deletions that were refused.
    DeleteFail,
    /// Updates.
    UpdateSuccess,
    /// Updates that were refused.
    UpdateFail,
    /// Creations.
    CreateSuccess,
    /// Creations that were refused.
    CreateFail,
    /// Comparisons that held.
    CompareAndSwapSuccess,
    /// Comparisons that did not.
    CompareAndSwapFail,
    /// Deletions whose comparison held.
    CompareAndDeleteSuccess,
    /// Deletions whose comparison did not.
    CompareAndDeleteFail,
    /// Nodes whose time was up.
    ExpireCount,
}

impl Counter {
    /// All, with their names.
    pub const ALL: [(Self, &str); 15] = [
        (Self::GetsSuccess, "getsSuccess"),
        (Self::GetsFail, "getsFail"),
        (Self::SetsSuccess, "setsSuccess"),
        (Self::SetsFail, "setsFail"),
        (Self::DeleteSuccess, "deleteSuccess"),
        (Self::DeleteFail, "deleteFail"),
        (Self::UpdateSuccess, "updateSuccess"),
        (Self::UpdateFail, "updateFail"),
        (Self::CreateSuccess, "createSuccess"),
        (Self::CreateFail, "createFail"),
        (Self::CompareAndSwapSuccess, "compareAndSwapSuccess"),
        (Self::CompareAndSwapFail, "compareAndSwapFail"),
        (Self::CompareAndDeleteSuccess, "compareAndDeleteSuccess"),
        (Self::CompareAndDeleteFail, "compareAndDeleteFail"),
        (Self::ExpireCount, "expireCount"),
    ];
}

/// The counters of a member. Each is exact; together they are of no one moment.
#[derive(Debug, Default)]
pub struct Stats([AtomicU64; Counter::ALL.len()]);

impl Stats {
    /// Counts one.
    pub fn count(&self, counter: Counter) {
        if let Some(count) = self.0.get(counter as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many there were.
    #[must_use]
    pub fn of(&self, counter: Counter) -> u64 {
        let count = self.0.get(counter as usize);
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }

    pub(crate) fn count_write(&self, kind: OperationKind, refused: Option<ErrorKind>) {
        let (success, fail) = match kind {
            OperationKind::Create => (Counter::CreateSuccess, Counter::CreateFail),
            OperationKind::Set => (Counter::SetsSuccess, Counter::SetsFail),
            OperationKind::Update => (Counter::UpdateSuccess, Counter::UpdateFail),
            OperationKind::CompareAndSwap => {
                (Counter::CompareAndSwapSuccess, Counter::CompareAndSwapFail)
            }
            OperationKind::Delete => (Counter::DeleteSuccess, Counter::DeleteFail),
            OperationKind::CompareAndDelete => (
                Counter::CompareAndDeleteSuccess,
                Counter::CompareAndDeleteFail,
            ),
        };
        match refused {
            Some(error) if !kind.hides(error) => self.count(fail),
            _ => self.count(success),
        }
        // etcd's creation counts a file on its way as a failed set too.
        if kind == OperationKind::Create && refused == Some(ErrorKind::NotDirectory) {
            self.count(Counter::SetsFail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_place() {
        for (place, (counter, _)) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, place);
        }
        let stats = Stats::default();
        stats.count(Counter::ExpireCount);
        assert_eq!(stats.of(Counter::ExpireCount), 1);
        assert_eq!(stats.of(Counter::GetsSuccess), 0);
    }
}
