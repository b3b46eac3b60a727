//! The last entries that a member applied.
//!
//! The apply thread puts in what it has applied, and waits for nobody: what is too much pushes out
//! what is oldest. The writer takes from it what comes after what it has written, and notices when that
//! is gone.

use std::collections::VecDeque;

use cairn_consensus::{LogIndex, RawEntry, Term};
use parking_lot::Mutex;

use crate::record::{Anchor, Logged};

/// What an entry takes beside its data.
const ENTRY_BYTES: usize = 128;

/// Where a member's history is when its tail begins.
#[derive(Clone, Debug)]
pub struct Start {
    /// The last entry that was applied.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// The last entry at or before it that says something, if it is known.
    pub anchor: Option<RawEntry>,
}

/// What is not yet in the backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// When the first of it was applied, in milliseconds since 1970; none if it is nothing.
    pub since_ms: Option<u64>,
    /// Bytes of entries that wait.
    pub bytes: usize,
}

/// The last entries that a member applied.
///
/// Invariants:
/// 1. The entries follow one another, the first of them `before.index`.
/// 2. `bytes` is what they take, and at most `bytes_max`.
pub struct Tail {
    bytes_max: usize,
    inner: Mutex<Inner>,
}

struct Inner {
    before: Start,
    entries: VecDeque<Logged>,
    bytes: usize,
}

/// What follows an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Following {
    /// These entries; perhaps none.
    Entries(Vec<Logged>),
    /// It is not known any more, or not yet.
    Unknown,
}

fn cost(logged: &Logged) -> usize {
    logged.entry.data.len() + ENTRY_BYTES
}

impl Tail {
    /// An empty tail of a member that has applied `start`.
    #[must_use]
    pub fn new(bytes_max: usize, start: Start) -> Self {
        Self {
            bytes_max,
            inner: Mutex::new(Inner {
                before: start,
                entries: VecDeque::new(),
                bytes: 0,
            }),
        }
    }

    /// Adds entries that were applied at `time_ms`, each with the revision of the store after it.
    ///
    /// # Panics
    ///
    /// If entries are left out, a mistake of the caller's.
    pub fn push(&self, entries: impl IntoIterator<Item = (RawEntry, u64)>, time_ms: u64) {
        let mut inner = self.inner.lock();
        for (entry, revision) in entries {
            assert!(entry.index == inner.last().next(), "the log has no gaps");
            let logged = Logged {
                entry,
                revision,
                time_ms,
            };
            inner.bytes += cost(&logged);
            inner.entries.push_back(logged);
        }
        while inner.bytes > self.bytes_max {
            inner.take_first();
        }
    }

    /// Begins anew: the member has another's database now.
    pub fn reset(&self, index: LogIndex, term: Term) {
        let mut inner = self.inner.lock();
        inner.entries.clear();
        inner.bytes = 0;
        inner.before = Start {
            index,
            term,
            anchor: None,
        };
    }

    /// What is not yet in a backup that goes up to `index`.
    #[must_use]
    pub fn lag(&self, index: LogIndex) -> Lag {
        let inner = self.inner.lock();
        let Some(skip) = inner.place_after(index) else {
            return Lag {
                since_ms: inner.entries.front().map(|first| first.time_ms),
                bytes: inner.bytes,
            };
        };
        Lag {
            since_ms: inner.entries.get(skip).map(|first| first.time_ms),
            bytes: match skip {
                0 => inner.bytes,
                skip => inner.entries.range(skip..).map(cost).sum(),
            },
        }
    }

    /// Whether a history that ends at `index` of `term`, and has `anchor` in it, is this one's.
    pub(crate) fn continues(&self, index: LogIndex, term: Term, anchor: Option<&Anchor>) -> bool {
        let inner = self.inner.lock();
        let Some(anchor) = anchor else { return false };
        inner.term_of(index) == Some(term)
            && inner.entry_at(anchor.index).and_then(Anchor::of).as_ref() == Some(anchor)
    }

    /// An entry at or before `index` by which this history is recognised.
    pub(crate) fn anchor(&self, index: LogIndex) -> Option<Anchor> {
        let inner = self.inner.lock();
        let within = inner.entries.iter().rev().map(|it| &it.entry);
        within
            .chain(inner.before.anchor.as_ref())
            .filter(|entry| entry.index <= index)
            .find_map(Anchor::of)
    }

    /// What follows `index`: whole entries, up to about `bytes_max`.
    pub(crate) fn following(&self, index: LogIndex, bytes_max: usize) -> Following {
        let inner = self.inner.lock();
        let Some(skip) = inner.place_after(index) else {
            return Following::Unknown;
        };
        let mut bytes = 0;
        let within = inner.entries.range(skip..).take_while(|entry| {
            let fits = bytes < bytes_max;
            bytes += cost(entry);
            fits
        });
        Following::Entries(within.cloned().collect())
    }

    /// Lets go of what is at or before `index`: it is in the backup.
    pub(crate) fn trim(&self, index: LogIndex) {
        // Dropped when nobody waits for the lock.
        let mut gone = Vec::new();
        let mut inner = self.inner.lock();
        while inner.before.index < index
            && let Some(first) = inner.take_first()
        {
            gone.push(first);
        }
        drop(inner);
    }
}

impl Inner {
    fn last(&self) -> LogIndex {
        self.entries
            .back()
            .map_or(self.before.index, |last| last.entry.index)
    }

    /// The place of the first entry after `index`.
    fn place_after(&self, index: LogIndex) -> Option<usize> {
        if index < self.before.index || index > self.last() {
            return None;
        }
        usize::try_from(index.get() - self.before.index.get()).ok()
    }

    fn entry_at(&self, index: LogIndex) -> Option<&RawEntry> {
        let known = self.before.anchor.as_ref();
        if let Some(anchor) = known.filter(|anchor| anchor.index == index) {
            return Some(anchor);
        }
        let place = self.place_after(index)?.checked_sub(1)?;
        self.entries.get(place).map(|it| &it.entry)
    }

    fn term_of(&self, index: LogIndex) -> Option<Term> {
        if index == self.before.index {
            return Some(self.before.term);
        }
        let place = self.place_after(index)?.checked_sub(1)?;
        self.entries.get(place).map(|it| it.entry.term)
    }

    fn take_first(&mut self) -> Option<Logged> {
        let first = self.entries.pop_front()?;
        self.bytes -= cost(&first);
        self.before.index = first.entry.index;
        self.before.term = first.entry.term;
        if !first.entry.data.is_empty() {
            self.before.anchor = Some(first.entry.clone());
        }
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use cairn_consensus::RawKind;

    fn entry(index: u64, data: &'static [u8]) -> RawEntry {
        RawEntry {
            index: LogIndex::new(index),
            term: Term::new(1),
            kind: RawKind::Normal,
            data: Bytes::from_static(data),
        }
    }

    fn tail(entries_max: usize) -> Tail {
        Tail::new(
            entries_max * (ENTRY_BYTES + 1),
            Start {
                index: LogIndex::new(10),
                term: Term::new(1),
                anchor: Some(entry(9, b"a")),
            },
        )
    }

    fn indices(following: Following) -> Option<Vec<u64>> {
        match following {
            Following::Unknown => None,
            Following::Entries(entries) => {
                Some(entries.iter().map(|it| it.entry.index.get()).collect())
            }
        }
    }

    #[test]
    fn what_is_too_much_pushes_out_what_is_oldest_and_that_is_noticed() {
        let tail = tail(3);
        let following = |index| indices(tail.following(LogIndex::new(index), usize::MAX));
        assert_eq!(following(10), Some(vec![]));
        assert_eq!(following(9), None);
        assert_eq!(following(11), None, "not yet");
        tail.push((11..14).map(|index| (entry(index, b"x"), index)), 5);
        assert_eq!(following(10), Some(vec![11, 12, 13]));
        assert_eq!(
            indices(tail.following(LogIndex::new(10), 1)),
            Some(vec![11])
        );
        tail.push([(entry(14, b"x"), 14)], 6);
        assert_eq!(following(10), None);
        assert_eq!(following(11), Some(vec![12, 13, 14]));
        assert_eq!(tail.lag(LogIndex::new(13)).since_ms, Some(6));
        assert_eq!(tail.lag(LogIndex::new(14)), Lag::default());
        assert_eq!(
            tail.lag(LogIndex::new(3)).since_ms,
            Some(5),
            "what is left of it"
        );
        tail.trim(LogIndex::new(13));
        assert_eq!(following(12), None);
        assert_eq!(following(13), Some(vec![14]));
    }

    #[test]
    fn a_history_is_recognised_by_an_entry_that_says_something() {
        let tail = tail(10);
        let at = LogIndex::new;
        let term = Term::new(1);
        let before = tail.anchor(at(10)).unwrap();
        assert_eq!(before.index, at(9));
        assert!(tail.continues(at(10), term, Some(&before)));
        assert!(!tail.continues(at(10), Term::new(2), Some(&before)));
        assert!(!tail.continues(at(10), term, None));
        tail.push([(entry(11, b""), 1), (entry(12, b"x"), 2)], 1);
        assert!(tail.continues(at(11), term, Some(&before)));
        let last = tail.anchor(at(12)).unwrap();
        assert_eq!(
            (last.index, tail.anchor(at(11)).unwrap().index),
            (at(12), at(9))
        );
        let other = Anchor::of(&entry(12, b"y")).unwrap();
        assert!(!tail.continues(at(12), term, Some(&other)));
        tail.trim(at(12));
        assert!(tail.continues(at(12), term, Some(&last)));
        assert!(
            !tail.continues(at(13), term, Some(&last)),
            "not yet applied"
        );
        tail.reset(at(20), term);
        assert!(!tail.continues(at(20), term, Some(&last)));
    }
}
