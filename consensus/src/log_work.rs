//! Work for the log and what came of it: the seam between a state machine that never waits and a
//! disk that takes its time.
//!
//! [`crate::Driver::begin`] gives work, [`crate::SharedLog::perform`] does it, in whatever thread,
//! and [`crate::Driver::done`] takes what came of it. Work is performed and reported in the order
//! in which it was given. What waits may be [joined](LogWork::join) first: one write and one sync
//! then serve all of it.

use raft::eraftpb;

use crate::log_index::LogIndex;
use crate::wal::{LogWrite, Marker, MarkerOrigin, Wal, WalError};

/// Counts what must be durable, in the order in which it becomes so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WriteNumber(pub(crate) u64);

/// Names a read from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReadNumber(pub(crate) u64);

/// Entries that are needed and no longer in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogRead {
    /// The first.
    pub(crate) from: LogIndex,
    /// The one after the last.
    pub(crate) to: LogIndex,
    /// How many bytes of them at most; at least one entry in any case.
    pub(crate) bytes_max: usize,
}

/// What the entries that are read are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadFor {
    /// The application: they are committed, and must be there.
    Application,
    /// A follower: they may have been dropped since, which then is found out anyway.
    Follower,
}

/// A read that is to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadWork {
    pub(crate) number: ReadNumber,
    pub(crate) read: LogRead,
    pub(crate) reader: ReadFor,
}

/// A read that was done.
#[derive(Debug)]
pub(crate) struct ReadDone {
    pub(crate) number: ReadNumber,
    pub(crate) entries: Vec<eraftpb::Entry>,
}

/// What is to be written to the log, and then read from it.
#[derive(Debug, Default)]
pub struct LogWork {
    /// What is durable once `write` is.
    pub(crate) number: Option<WriteNumber>,
    pub(crate) write: LogWrite,
    pub(crate) reads: Vec<ReadWork>,
}

impl LogWork {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.number.is_none() && self.write.is_empty() && self.reads.is_empty()
    }

    /// Whether something is to be written, and so synced.
    #[must_use]
    pub fn writes(&self) -> bool {
        !self.write.is_empty()
    }

    /// About how many bytes are to be written; for whoever bounds what is joined.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.write
            .entries
            .iter()
            .map(|entry| entry.data.len())
            .sum()
    }

    /// Adds work that was given later.
    pub fn join(&mut self, later: Self) {
        self.number = later.number.or(self.number);
        if is_snapshot(later.write.marker.as_ref()) {
            // Nobody has a use any more for what the snapshot takes the place of.
            self.reads.clear();
        }
        join_writes(&mut self.write, later.write);
        self.reads.extend(later.reads);
    }
}

/// What came of work for the log.
#[derive(Debug, Default)]
pub struct LogDone {
    /// What is durable now.
    pub(crate) persisted: Option<WriteNumber>,
    /// What was read.
    pub(crate) reads: Vec<ReadDone>,
}

impl LogDone {
    /// Whether nothing came of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.persisted.is_none() && self.reads.is_empty()
    }
}

impl Wal {
    /// Does `work`: makes durable what is to be written, with one write and one sync, gives back
    /// the segments that are not needed any more, and reads.
    ///
    /// # Errors
    ///
    /// [`WalError`], after which the member must stop: what is on disk is not known.
    pub fn perform(&mut self, work: LogWork) -> Result<LogDone, WalError> {
        self.append(&work.write)?;
        if work.write.marker.is_some() {
            self.release()?;
        }
        let mut reads = Vec::with_capacity(work.reads.len());
        for ReadWork {
            number,
            read,
            reader,
        } in work.reads
        {
            let entries = match self.read(read.from, read.to, read.bytes_max) {
                Ok(entries) => entries,
                Err(WalError::NoEntry { .. }) if reader == ReadFor::Follower => Vec::new(),
                Err(error) => return Err(error),
            };
            reads.push(ReadDone { number, entries });
        }
        Ok(LogDone {
            persisted: work.number,
            reads,
        })
    }
}

fn is_snapshot(marker: Option<&Marker>) -> bool {
    marker.is_some_and(|marker| marker.origin == MarkerOrigin::Snapshot)
}

/// Makes of two writes, one after the other, one that leaves the log the same.
fn join_writes(first: &mut LogWrite, later: LogWrite) {
    first.hard_state = later.hard_state.or(first.hard_state);
    if is_snapshot(later.marker.as_ref()) {
        first.entries.clear();
        first.marker = later.marker;
    } else if let Some(marker) = later.marker
        && !is_snapshot(first.marker.as_ref())
    {
        // It covers nothing that is still to be written: a snapshot that is goes further.
        first.marker = Some(marker);
    }
    if let Some(replaced_from) = later.entries.first() {
        let from = replaced_from.index;
        while first.entries.pop_if(|entry| entry.index >= from).is_some() {}
    }
    first.entries.extend(later.entries);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::disk::FaultDisk;
    use crate::log_store::LogStore;
    use crate::member_id::{ClusterId, Identity, MemberId};
    use crate::term::Term;
    use crate::wal::{FrameAlignment, WalOptions};

    fn entry(index: u64, term: u64) -> eraftpb::Entry {
        eraftpb::Entry {
            index,
            term,
            data: Bytes::from(format!("{index} of {term}")),
            ..eraftpb::Entry::default()
        }
    }

    /// What a member may write next, by its draw: entries that follow or replace, a snapshot, or
    /// a cut of what is durable.
    fn next_write(draw: (u8, u64, u64), term: u64, log: &mut (u64, u64)) -> LogWrite {
        let (kind, back, count) = draw;
        let (first, last) = *log;
        let mut write = LogWrite {
            hard_state: Some(eraftpb::HardState {
                term,
                ..eraftpb::HardState::default()
            }),
            ..LogWrite::default()
        };
        if kind == 0 {
            let index = last + back;
            write.marker = Some(Marker {
                index: LogIndex::new(index),
                term: Term::new(term),
                origin: MarkerOrigin::Snapshot,
                ..Marker::default()
            });
            write.entries = (index + 1..=index + count)
                .map(|i| entry(i, term))
                .collect();
            *log = (index, index + count);
        } else {
            let from = (last + 1).saturating_sub(back).max(first + 1);
            write.entries = (from..from + count)
                .map(|index| entry(index, term))
                .collect();
            if count > 0 {
                log.1 = from + count - 1;
            }
        }
        write
    }

    fn log_of(writes: Vec<LogWrite>) -> (eraftpb::HardState, u64, Vec<eraftpb::Entry>) {
        let disk = Arc::new(FaultDisk::new(1));
        let identity = Identity {
            cluster: ClusterId::new(1),
            member: MemberId::from_wire(1).unwrap(),
        };
        let options = WalOptions {
            segment_bytes: 4096,
            frame_alignment: FrameAlignment::SECTOR,
            ..WalOptions::default()
        };
        let mut wal = Wal::create(disk.clone(), identity, options, &LogWrite::default()).unwrap();
        for write in writes {
            let work = LogWork {
                write,
                ..LogWork::default()
            };
            wal.perform(work).unwrap();
        }
        drop(wal);
        let mut log = LogStore::new();
        let wal = Wal::open(disk, options, &mut |record| log.recover(record)).unwrap();
        let (from, to) = (LogIndex::new(log.first()), LogIndex::new(log.last() + 1));
        let entries = wal.read(from, to, usize::MAX).unwrap();
        (log.hard_state(), log.first(), entries)
    }

    proptest! {
        #[test]
        fn joined_writes_leave_the_log_that_they_leave_one_by_one(
            draws in prop::collection::vec((0..6_u8, 0..5_u64, 0..5_u64), 1..12),
            cut in 0..12_usize,
        ) {
            let mut state = (0, 0);
            let writes: Vec<_> = (1..)
                .zip(draws)
                .map(|(term, draw)| next_write(draw, term, &mut state))
                .collect();
            let (before, together) = writes.split_at(cut.min(writes.len()));
            let mut joined = LogWork::default();
            for write in together {
                let write = write.clone();
                joined.join(LogWork { write, ..LogWork::default() });
            }
            let at_once = before.iter().cloned().chain([joined.write]).collect();
            prop_assert_eq!(log_of(at_once), log_of(writes));
        }
    }
}
