//! Entries of the log, as the application sees them.

use bytes::Bytes;
use raft::eraftpb;

use crate::conf_change::{ConfChange, UnreadableConfChange};
use crate::log_index::LogIndex;
use crate::term::Term;

/// A committed entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub index: LogIndex,
    /// The term it was proposed in.
    pub term: Term,
    /// What it says.
    pub kind: EntryKind,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Nothing: a leader's first entry, or a configuration change that raft turned down.
    Empty,
    /// What was proposed.
    Normal(Bytes),
    /// A configuration change; to be answered by [`crate::Driver::apply_conf_change`] or
    /// [`crate::Driver::reject_conf_change`].
    ConfChange(ConfChange),
}

impl Entry {
    pub(crate) fn from_raft(entry: eraftpb::Entry) -> Result<Self, UnreadableEntry> {
        let index = LogIndex::new(entry.index);
        let kind = match eraftpb::EntryType::try_from(entry.entry_type) {
            Ok(eraftpb::EntryType::EntryNormal) if entry.data.is_empty() => EntryKind::Empty,
            Ok(eraftpb::EntryType::EntryNormal) => EntryKind::Normal(entry.data),
            Ok(eraftpb::EntryType::EntryConfChange) => {
                let change = ConfChange::decode(entry.data)
                    .map_err(|source| UnreadableEntry::ConfChange { index, source })?;
                EntryKind::ConfChange(change)
            }
            Ok(eraftpb::EntryType::EntryConfChangeV2) | Err(_) => {
                return Err(UnreadableEntry::Type {
                    index,
                    number: entry.entry_type,
                });
            }
        };
        Ok(Self {
            index,
            term: Term::new(entry.term),
            kind,
        })
    }
}

/// An entry that this version does not understand.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableEntry {
    /// Its type is not one of ours.
    #[error("entry {index} is of type {number}, which is not known")]
    Type {
        /// Its place.
        index: LogIndex,
        /// The type.
        number: i32,
    },
    /// It should be a configuration change, and is not.
    #[error("entry {index} is unreadable")]
    ConfChange {
        /// Its place.
        index: LogIndex,
        /// Why.
        #[source]
        source: UnreadableConfChange,
    },
}
