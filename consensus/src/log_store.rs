//! The log as raft sees it: terms of all entries, the entries of the tail, no I/O.
//!
//! The tail is bounded in entries and bytes. What has left it is in the write-ahead log only:
//! terms are kept here in any case (one number a change of term), so that raft never waits for the
//! disk to compare logs; entries are asked for ([`LogRead`]) and supplied when they were read.

use std::cell::RefCell;
use std::collections::VecDeque;

use raft::eraftpb;
use raft::{GetEntriesContext, RaftState, StorageError};

use crate::log_index::LogIndex;
use crate::log_measure::LogMeasure;
use crate::log_work::LogRead;
use crate::term::Term;
use crate::wal::{Marker, MarkerOrigin, Record};

/// How many entries stay in memory: as many as are kept for slow followers by default.
const TAIL_ENTRIES_MAX: usize = 5000;

/// How many bytes of entries stay in memory.
const TAIL_BYTES_MAX: usize = 16 << 20;

/// What an entry takes in memory besides its data.
const ENTRY_BYTES: usize = size_of::<eraftpb::Entry>();

/// How much is read back at once for a follower: several messages, since each read waits for its
/// turn at the disk.
const FETCH_BYTES: usize = 4 << 20;

/// A read that raft asked for on behalf of a follower.
pub(crate) struct Fetch {
    pub(crate) read: LogRead,
    pub(crate) context: GetEntriesContext,
}

/// The log.
///
/// Invariants:
/// 1. The log is the entries after `marker` up to `last`; it may be empty.
/// 2. `terms` has the first index of each run of one term after `marker`, both rising.
/// 3. `conf_changes` are the indexes of the configuration changes after `marker`, rising.
/// 4. `tail` are the last entries of the log, or all, without gaps.
pub(crate) struct LogStore {
    initial: RaftState,
    /// The last marker that was recovered.
    recovered_marker: (u64, u64),
    marker: (u64, u64),
    last: u64,
    terms: VecDeque<(u64, u64)>,
    conf_changes: VecDeque<u64>,
    tail: VecDeque<eraftpb::Entry>,
    tail_bytes: usize,
    measure: LogMeasure,
    /// What was read back last for the application, and for followers.
    staged: Vec<eraftpb::Entry>,
    staged_for_followers: Vec<eraftpb::Entry>,
    fetches: RefCell<Vec<Fetch>>,
    snapshot: RefCell<SnapshotOffer>,
}

/// What the application offers to followers that are behind the log.
#[derive(Default)]
struct SnapshotOffer {
    snapshot: Option<eraftpb::Snapshot>,
    /// Followers that were refused for want of a snapshot.
    wanted_by: Vec<u64>,
}

impl LogStore {
    pub(crate) fn new() -> Self {
        Self {
            initial: RaftState::default(),
            recovered_marker: (0, 0),
            marker: (0, 0),
            last: 0,
            terms: VecDeque::new(),
            conf_changes: VecDeque::new(),
            tail: VecDeque::new(),
            tail_bytes: 0,
            measure: LogMeasure::default(),
            staged: Vec::new(),
            staged_for_followers: Vec::new(),
            fetches: RefCell::new(Vec::new()),
            snapshot: RefCell::new(SnapshotOffer::default()),
        }
    }

    /// Takes a record of the write-ahead log, in the order of writing.
    ///
    /// The log's older segments may be gone, and the first that is left may begin with entries
    /// that were replaced later on: so an entry may leave a gap, and a later one may go back to
    /// before it. A marker that is still to come covers the gap, or the log lacks entries.
    pub(crate) fn recover(&mut self, record: Record) {
        match record {
            Record::Entry(entry) if entry.index <= self.recovered_marker.0 => {}
            Record::Entry(entry) => {
                if entry.index <= self.marker.0 || entry.index > self.last + 1 {
                    let before = entry.index - 1;
                    let (marker, term) = self.recovered_marker;
                    self.clear(before, if before == marker { term } else { 0 });
                }
                self.append(vec![entry]);
                self.trim(u64::MAX);
            }
            Record::HardState(state) => self.initial.hard_state = state,
            Record::Marker(marker) => {
                self.recovered_marker = (marker.index.get(), marker.term.get());
                self.mark(&marker);
            }
        }
    }

    /// Sets what raft starts from.
    pub(crate) fn set_initial(&mut self, state: RaftState) {
        self.initial = state;
    }

    /// Raises the commit index to what is known to be applied, and lowers it to what is there: a
    /// write of several frames, of which the first has the hard state, may have ended early.
    pub(crate) fn settle_commit(&mut self, applied: LogIndex) {
        let state = &mut self.initial.hard_state;
        state.commit = state.commit.max(applied.get()).min(self.last);
    }

    pub(crate) fn hard_state(&self) -> eraftpb::HardState {
        self.initial.hard_state
    }

    /// Appends consecutive entries; they replace those from the first one's index on.
    pub(crate) fn append(&mut self, entries: Vec<eraftpb::Entry>) {
        let Some(first) = entries.first() else { return };
        assert!(
            self.marker.0 < first.index && first.index <= self.last + 1,
            "entry {} does not fit a log from {} to {}",
            first.index,
            self.marker.0,
            self.last
        );
        if first.index <= self.last {
            self.truncate(first.index);
        }
        for entry in entries {
            if self.terms.back().is_none_or(|(_, term)| *term < entry.term) {
                self.terms.push_back((entry.index, entry.term));
            }
            if entry.entry_type != 0 {
                self.conf_changes.push_back(entry.index);
            }
            self.last = entry.index;
            self.measure.add(entry.index, entry.data.len());
            self.tail_bytes += ENTRY_BYTES + entry.data.len();
            self.tail.push_back(entry);
        }
        self.check_invariants();
    }

    /// Lets entries up to `persisted` leave memory, as far as the tail is too long.
    pub(crate) fn trim(&mut self, persisted: u64) {
        while self.tail.len() > TAIL_ENTRIES_MAX || self.tail_bytes > TAIL_BYTES_MAX {
            if self
                .tail
                .front()
                .is_none_or(|entry| entry.index > persisted)
            {
                break;
            }
            self.forget_first();
        }
        if self.tail.capacity() > 4 * TAIL_ENTRIES_MAX && self.tail.len() <= TAIL_ENTRIES_MAX {
            self.tail.shrink_to(TAIL_ENTRIES_MAX);
        }
    }

    /// Lets the log begin after the marker.
    pub(crate) fn mark(&mut self, marker: &Marker) {
        let (index, term) = (marker.index.get(), marker.term.get());
        if marker.origin == MarkerOrigin::Snapshot || index > self.last {
            self.clear(index, term);
            return;
        }
        if index == self.marker.0 {
            // A gap in recovery may have set it, without the term.
            self.marker.1 = term;
        }
        if index <= self.marker.0 {
            return;
        }
        while self.tail.front().is_some_and(|entry| entry.index <= index) {
            self.forget_first();
        }
        self.marker = (index, term);
        self.measure.forget_before(index + 1);
        while self
            .terms
            .get(1)
            .is_some_and(|(first, _)| *first <= index + 1)
        {
            self.terms.pop_front();
        }
        if index == self.last {
            self.terms.clear();
        } else if let Some((first, _)) = self.terms.front_mut() {
            *first = (*first).max(index + 1);
        }
        while self
            .conf_changes
            .front()
            .is_some_and(|change| *change <= index)
        {
            self.conf_changes.pop_front();
        }
        self.check_invariants();
    }

    /// Takes committed entries that were read back; they serve until the next are supplied.
    pub(crate) fn supply(&mut self, entries: Vec<eraftpb::Entry>) {
        self.staged = entries;
    }

    /// Takes entries that were read back for followers; they serve until the next are supplied.
    pub(crate) fn supply_followers(&mut self, entries: Vec<eraftpb::Entry>) {
        self.staged_for_followers = entries;
    }

    /// What must be read back to hand out the entries from `from` up to but without `to`.
    pub(crate) fn missing(&self, from: u64, to: u64, bytes_max: usize) -> Option<LogRead> {
        self.missing_beside(&self.staged, (from, to), bytes_max)
    }

    fn missing_beside(
        &self,
        staged: &[eraftpb::Entry],
        (from, to): (u64, u64),
        bytes_max: usize,
    ) -> Option<LogRead> {
        let to = to.min(self.tail_first());
        let supplied = staged.first().is_some_and(|entry| entry.index <= from)
            && staged.last().is_some_and(|entry| entry.index >= from);
        (from < to && !supplied).then(|| LogRead {
            from: LogIndex::new(from),
            to: LogIndex::new(to),
            bytes_max,
        })
    }

    /// About how many bytes of log there are.
    pub(crate) fn bytes(&self) -> u64 {
        self.measure.bytes()
    }

    /// The first entry from which on there are at most about `bytes_max` bytes of log.
    pub(crate) fn first_within(&self, bytes_max: u64) -> LogIndex {
        let first = self.measure.first_within(bytes_max);
        LogIndex::new(first.unwrap_or(self.last + 1).max(self.first()))
    }

    /// Takes the reads that followers wait for.
    pub(crate) fn take_fetches(&mut self) -> Vec<Fetch> {
        std::mem::take(&mut *self.fetches.borrow_mut())
    }

    /// Offers a snapshot, or none any more, to followers that are behind the log.
    pub(crate) fn offer_snapshot(&mut self, snapshot: Option<eraftpb::Snapshot>) {
        self.snapshot.borrow_mut().snapshot = snapshot;
    }

    /// Takes the followers that were refused a snapshot since this was last asked.
    pub(crate) fn take_snapshot_wanted(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.snapshot.borrow_mut().wanted_by)
    }

    pub(crate) fn first(&self) -> u64 {
        self.marker.0 + 1
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The term of an entry, or of the marker.
    pub(crate) fn term_of(&self, index: u64) -> Option<Term> {
        if index == self.marker.0 {
            return Some(Term::new(self.marker.1));
        }
        let after = self.terms.partition_point(|(first, _)| *first <= index);
        let run = self.terms.get(after.checked_sub(1)?)?;
        (index <= self.last).then_some(Term::new(run.1))
    }

    /// Whether an entry from `from` up to `to` changes the configuration.
    pub(crate) fn changes_conf(&self, from: u64, to: u64) -> bool {
        let first = self.conf_changes.partition_point(|change| *change < from);
        self.conf_changes
            .get(first)
            .is_some_and(|change| *change <= to)
    }

    /// The first entry in memory, or the one after the last.
    fn tail_first(&self) -> u64 {
        self.tail.front().map_or(self.last + 1, |entry| entry.index)
    }

    fn clear(&mut self, index: u64, term: u64) {
        self.marker = (index, term);
        self.last = index;
        self.terms.clear();
        self.conf_changes.clear();
        self.tail.clear();
        self.tail_bytes = 0;
        self.measure.clear();
        self.staged.clear();
        self.staged_for_followers.clear();
    }

    fn forget_first(&mut self) {
        if let Some(entry) = self.tail.pop_front() {
            self.tail_bytes -= ENTRY_BYTES + entry.data.len();
        }
    }

    /// Drops the entries from `from` on.
    fn truncate(&mut self, from: u64) {
        while let Some(entry) = self.tail.pop_back_if(|entry| entry.index >= from) {
            self.tail_bytes -= ENTRY_BYTES + entry.data.len();
        }
        while self
            .terms
            .pop_back_if(|(first, _)| *first >= from)
            .is_some()
        {}
        while self
            .conf_changes
            .pop_back_if(|change| *change >= from)
            .is_some()
        {}
        self.staged.retain(|entry| entry.index < from);
        self.staged_for_followers.retain(|entry| entry.index < from);
        self.measure.truncate(from);
        self.last = from - 1;
    }

    /// The entries of `[low, high)` from `entries`, which begin at or before `low`, within
    /// `bytes_max`.
    fn collect<'a>(
        entries: impl Iterator<Item = &'a eraftpb::Entry>,
        (low, high): (u64, u64),
        bytes_max: u64,
    ) -> Vec<eraftpb::Entry> {
        let mut bytes = 0;
        let wanted = entries
            .skip_while(|entry| entry.index < low)
            .take_while(|e| e.index < high);
        let mut found: Vec<eraftpb::Entry> = Vec::new();
        for entry in wanted {
            bytes += (ENTRY_BYTES + entry.data.len()) as u64;
            if !found.is_empty() && bytes > bytes_max {
                break;
            }
            found.push(entry.clone());
        }
        found
    }

    /// Entries that say no more than what they are: enough to count configuration changes.
    fn outlines(&self, low: u64, high: u64) -> Vec<eraftpb::Entry> {
        let mut change = self
            .conf_changes
            .iter()
            .copied()
            .skip_while(|index| *index < low)
            .peekable();
        let mut outlines = Vec::new();
        for index in low..high {
            let mut entry = eraftpb::Entry {
                index,
                term: self.term_of(index).map_or(0, Term::get),
                ..eraftpb::Entry::default()
            };
            if change.next_if_eq(&index).is_some() {
                entry.set_entry_type(eraftpb::EntryType::EntryConfChange);
            }
            outlines.push(entry);
        }
        outlines
    }

    fn check_invariants(&self) {
        debug_assert!(self.marker.0 <= self.last, "invariant 1");
        debug_assert!(
            self.terms
                .iter()
                .is_sorted_by(|(i, t), (j, u)| i < j && t < u)
                && self
                    .terms
                    .front()
                    .is_none_or(|(first, _)| *first == self.marker.0 + 1)
                && self.terms.is_empty() == (self.marker.0 == self.last),
            "invariant 2"
        );
        debug_assert!(
            self.conf_changes
                .back()
                .is_none_or(|change| *change <= self.last),
            "invariant 3"
        );
        debug_assert!(
            self.tail
                .back()
                .is_none_or(|entry| entry.index == self.last)
                && self.tail_first() + self.tail.len() as u64 == self.last + 1,
            "invariant 4"
        );
    }
}

impl raft::Storage for LogStore {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    /// Entries with a limit are to be sent or handed out, and are whole; those to be sent can be
    /// waited for (`can_async`), those to be handed out are none until they were read back.
    /// Entries without a limit are only looked at for configuration changes (raft-rs asks so
    /// before an election, and for any number of entries): they come without data.
    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        if low < self.first() {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last + 1 {
            return Err(StorageError::Unavailable.into());
        }
        let Some(bytes_max) = max_size.into() else {
            return Ok(self.outlines(low, high));
        };
        let tail_first = self.tail_first();
        if low >= tail_first {
            let skip = usize::try_from(low - tail_first).unwrap_or(usize::MAX);
            return Ok(Self::collect(
                self.tail.iter().skip(skip),
                (low, high),
                bytes_max,
            ));
        }
        let for_follower = context.can_async();
        let staged = if for_follower {
            &self.staged_for_followers
        } else {
            &self.staged
        };
        let Some(read) = self.missing_beside(staged, (low, high), FETCH_BYTES) else {
            return Ok(Self::collect(staged.iter(), (low, high), bytes_max));
        };
        if for_follower {
            self.fetches.borrow_mut().push(Fetch { read, context });
            return Err(StorageError::LogTemporarilyUnavailable.into());
        }
        // They are being read; there is nothing to hand out yet.
        Ok(Vec::new())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match self.term_of(index) {
            Some(term) => Ok(term.get()),
            None if index < self.marker.0 => Err(StorageError::Compacted.into()),
            None => Err(StorageError::Unavailable.into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last)
    }

    /// What was offered, if the log goes on from there and it knows of `to`: a member takes no
    /// snapshot of a group that it is not in.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<eraftpb::Snapshot> {
        let mut offer = self.snapshot.borrow_mut();
        let usable = offer.snapshot.as_ref().filter(|snapshot| {
            let metadata = snapshot.get_metadata();
            let group = metadata.get_conf_state();
            metadata.index >= request_index.max(self.marker.0)
                && (group.voters.contains(&to) || group.learners.contains(&to))
        });
        if let Some(snapshot) = usable {
            return Ok(snapshot.clone());
        }
        if !offer.wanted_by.contains(&to) {
            offer.wanted_by.push(to);
        }
        Err(StorageError::SnapshotTemporarilyUnavailable.into())
    }
}

#[cfg(test)]
mod tests;
