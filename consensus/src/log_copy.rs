//! A stopped member's log as data, for programs that carry it over into another format, or out of
//! one.
//!
//! Entries are carried as they are: what they say is the application's.

use std::sync::Arc;

use bytes::Bytes;
use raft::eraftpb;

use crate::conf_change::ConfState;
use crate::disk::Disk;
use crate::entry::{Entry, EntryKind, UnreadableEntry};
use crate::log_index::LogIndex;
use crate::log_store::LogStore;
use crate::member_id::{Identity, MemberId};
use crate::node::{NodeError, recover};
use crate::node_options::NodeOptions;
use crate::term::Term;
use crate::wal::{LogWrite, Marker, MarkerOrigin, Wal, WalOptions};

/// How many bytes of entries are written or read at once.
const BATCH_BYTES: usize = 4 << 20;

/// What a log holds beside its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// Whose it is.
    pub identity: Identity,
    /// It begins after this entry.
    pub begins_after: LogIndex,
    /// The term of that entry.
    pub begins_after_term: Term,
    /// Who takes part.
    pub conf_state: ConfState,
    /// The latest term.
    pub term: Term,
    /// Whom the member voted for in it.
    pub vote: Option<MemberId>,
    /// The last entry known to be committed.
    pub commit: LogIndex,
}

/// An entry, uninterpreted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEntry {
    /// Its place.
    pub index: LogIndex,
    /// The term it was proposed in.
    pub term: Term,
    /// What its data is.
    pub kind: RawKind,
    /// What it says; nothing, for a leader's first entry.
    pub data: Bytes,
}

/// What an entry's data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawKind {
    /// The application's.
    Normal,
    /// An encoded `raftpb.ConfChange`.
    ConfChange,
}

/// Begins a log on an empty disk with what another held. If it fails half-way, what is on the disk
/// is worth nothing.
///
/// # Errors
///
/// That of `entries`; or if the disk fails, or entries do not follow one another.
pub fn begin_log<E: From<NodeError>>(
    disk: Arc<dyn Disk>,
    options: WalOptions,
    head: &LogHead,
    entries: impl Iterator<Item = Result<RawEntry, E>>,
) -> Result<(), E> {
    let hard_state = eraftpb::HardState {
        term: head.term.get(),
        vote: head.vote.map_or(0, MemberId::get),
        commit: head.commit.get(),
    };
    let marker = Marker {
        index: head.begins_after,
        term: head.begins_after_term,
        conf_state: head.conf_state.clone(),
        origin: MarkerOrigin::Compaction,
    };
    let first = LogWrite {
        hard_state: Some(hard_state),
        marker: Some(marker),
        entries: Vec::new(),
    };
    let wal = |error| E::from(NodeError::Wal(error));
    let mut log = Wal::create(disk, head.identity, options, &first).map_err(wal)?;
    let mut write = LogWrite::default();
    let mut bytes = 0;
    for entry in entries {
        let entry = entry?;
        bytes += entry.data.len();
        write.entries.push(entry.into_raft());
        if bytes >= BATCH_BYTES {
            log.append(&std::mem::take(&mut write)).map_err(wal)?;
            bytes = 0;
        }
    }
    log.append(&write).map_err(wal)
}

/// A log that is read.
pub struct LogCopy {
    wal: Wal,
    log: LogStore,
}

impl LogCopy {
    /// Opens the log on `disk`; `options` say what the application has applied.
    ///
    /// # Errors
    ///
    /// As [`crate::Node::open`]: the log is damaged, or is not the one that belongs to what was
    /// applied.
    pub fn open(disk: Arc<dyn Disk>, options: &NodeOptions) -> Result<Self, NodeError> {
        let (wal, log) = recover(disk, options)?;
        Ok(Self { wal, log })
    }

    /// What it holds beside its entries.
    #[must_use]
    pub fn head(&self) -> LogHead {
        let Marker {
            index,
            term,
            conf_state,
            ..
        } = self.wal.marker().clone();
        let state = self.log.hard_state();
        LogHead {
            identity: self.wal.identity(),
            begins_after: index,
            begins_after_term: term,
            conf_state,
            term: Term::new(state.term),
            vote: MemberId::from_wire(state.vote),
            commit: LogIndex::new(state.commit),
        }
    }

    /// Its last entry, or where it begins.
    #[must_use]
    pub fn last(&self) -> LogIndex {
        LogIndex::new(self.log.last())
    }

    /// The term of an entry, if it is there or the one before all.
    #[must_use]
    pub fn term_of(&self, index: LogIndex) -> Option<Term> {
        self.log.term_of(index.get())
    }

    /// Entries from `from` on, some megabytes of them; none after the last.
    ///
    /// # Errors
    ///
    /// [`NodeError`].
    pub fn read(&self, from: LogIndex) -> Result<Vec<RawEntry>, NodeError> {
        let end = self.last().next();
        if from >= end {
            return Ok(Vec::new());
        }
        let entries = self.wal.read(from, end, BATCH_BYTES)?;
        Ok(entries.into_iter().map(RawEntry::from_raft).collect())
    }
}

impl RawEntry {
    /// The entry, as the application sees it.
    ///
    /// # Errors
    ///
    /// [`UnreadableEntry`].
    pub fn interpret(self) -> Result<Entry, UnreadableEntry> {
        Entry::from_raft(self.into_raft())
    }

    fn into_raft(self) -> eraftpb::Entry {
        let mut entry = eraftpb::Entry {
            index: self.index.get(),
            term: self.term.get(),
            data: self.data,
            ..eraftpb::Entry::default()
        };
        entry.set_entry_type(match self.kind {
            RawKind::Normal => eraftpb::EntryType::EntryNormal,
            RawKind::ConfChange => eraftpb::EntryType::EntryConfChange,
        });
        entry
    }

    pub(crate) fn from_raft(entry: eraftpb::Entry) -> Self {
        // The log takes no other kind.
        let kind = if entry.entry_type == 0 {
            RawKind::Normal
        } else {
            RawKind::ConfChange
        };
        Self {
            index: LogIndex::new(entry.index),
            term: Term::new(entry.term),
            kind,
            data: entry.data,
        }
    }
}

impl From<Entry> for RawEntry {
    fn from(entry: Entry) -> Self {
        let Entry { index, term, kind } = entry;
        let (kind, data) = match kind {
            EntryKind::Empty => (RawKind::Normal, Bytes::new()),
            EntryKind::Normal(data) => (RawKind::Normal, data),
            EntryKind::ConfChange(change) => (RawKind::ConfChange, change.encode()),
        };
        Self {
            index,
            term,
            kind,
            data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{FaultDisk, ReadOnlyDisk};
    use crate::member_id::ClusterId;

    #[test]
    fn a_log_is_read_as_it_was_begun() {
        let me = MemberId::from_wire(7).unwrap();
        let head = LogHead {
            identity: Identity {
                cluster: ClusterId::new(9),
                member: me,
            },
            begins_after: LogIndex::new(100),
            begins_after_term: Term::new(3),
            conf_state: ConfState::of_voters([me]),
            term: Term::new(5),
            vote: Some(me),
            commit: LogIndex::new(102),
        };
        let entries: Vec<RawEntry> = (101..104)
            .map(|index| RawEntry {
                index: LogIndex::new(index),
                term: Term::new(4),
                kind: RawKind::Normal,
                data: Bytes::from(vec![1; 10]),
            })
            .collect();
        let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new(1));
        let given = entries.iter().cloned().map(Ok::<_, NodeError>);
        let options = WalOptions::default();
        begin_log(Arc::clone(&disk), options, &head, given).unwrap();
        let disk = Arc::new(ReadOnlyDisk::of(disk));
        let options = NodeOptions {
            applied: LogIndex::new(102),
            conf_state: ConfState::of_voters([me]),
            ..NodeOptions::default()
        };
        let copy = LogCopy::open(disk, &options).unwrap();
        assert_eq!(copy.head(), head);
        assert_eq!(copy.last(), LogIndex::new(103));
        assert_eq!(copy.read(LogIndex::new(101)).unwrap(), entries);
        assert_eq!(copy.read(LogIndex::new(104)).unwrap(), []);
    }
}
