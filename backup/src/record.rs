//! The objects of the sequence: entries of the log, or the beginning of a timeline.
//!
//! A *timeline* is a stretch of log entries without a gap. A new one begins where the writer could not
//! go on after the last: entries were lost to it, or the cluster is another one now (restored, or begun
//! anew). It begins with an object that says so, and needs a base of its own.

use bytes::Bytes;
use cairn_consensus::{LogIndex, RawEntry, RawKind, Term};
use prost::Message;
use ring::digest::{SHA256, digest};

use crate::error::Error;
use crate::name::Sequence;
use crate::sealed::Digest;

/// An entry by which a history is recognised. Entries that say something differ between histories: the
/// number of their request is made of a member and a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Its index.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// The SHA-256 of its data.
    pub digest: Bytes,
}

impl Anchor {
    /// The anchor that an entry is, if it says something.
    #[must_use]
    pub fn of(entry: &RawEntry) -> Option<Self> {
        (!entry.data.is_empty()).then(|| Self {
            index: entry.index,
            term: entry.term,
            digest: Bytes::copy_from_slice(digest(&SHA256, &entry.data).as_ref()),
        })
    }
}

/// Where a history is, as a record or base says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The last entry.
    pub(crate) index: LogIndex,
    /// Its term.
    pub(crate) term: Term,
    /// The revision of the store after it.
    pub(crate) revision: u64,
    /// When it was applied, in milliseconds since 1970.
    pub(crate) time_ms: u64,
}

/// An entry with what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) entry: RawEntry,
    /// The revision of the store after it.
    pub(crate) revision: u64,
    /// When it was applied, in milliseconds since 1970.
    pub(crate) time_ms: u64,
}

/// An object of the sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The checksum of the object before; zeros if there is none.
    pub(crate) previous: Digest,
    /// The first object of the timeline: this one, if it begins it.
    pub(crate) timeline: Sequence,
    /// Where it begins.
    pub(crate) after: Position,
    /// An entry at or before its end by which the history is recognised.
    pub(crate) anchor: Option<Anchor>,
    /// The entries; none begin a timeline.
    pub(crate) entries: Vec<Logged>,
}

impl Record {
    /// Where its last entry is.
    pub(crate) fn end(&self) -> Position {
        self.entries.last().map_or_else(
            || self.after.clone(),
            |last| Position {
                index: last.entry.index,
                term: last.entry.term,
                revision: last.revision,
                time_ms: last.time_ms,
            },
        )
    }

    /// Writes it behind what is in `out`. Entries are made messages one by one: there are many.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let head = wire::Record {
            previous: Bytes::copy_from_slice(&self.previous),
            timeline: self.timeline.0,
            after: Some(wire::Position::of(&self.after)),
            anchor: self.anchor.as_ref().map(wire::Anchor::of),
            entries: Vec::new(),
        };
        head.encode_raw(out);
        for entry in &self.entries {
            prost::encoding::message::encode(wire::ENTRIES, &wire::Entry::of(entry), out);
        }
    }

    /// Reads the object `name`.
    pub(crate) fn decode(name: &str, content: Bytes) -> Result<Self, Error> {
        let wire = wire::Record::decode(content).map_err(|error| Error::damaged(name, error))?;
        let previous = wire.previous.as_ref().try_into();
        let previous = previous.map_err(|_| Error::damaged(name, "no checksum before it"))?;
        let after = wire
            .after
            .ok_or_else(|| Error::damaged(name, "it does not say where it begins"))?
            .position();
        let mut index = after.index;
        let mut entries = Vec::with_capacity(wire.entries.len());
        for entry in wire.entries {
            index = index.next();
            let entry = entry.logged(index);
            entries.push(entry.ok_or_else(|| Error::damaged(name, "an entry of no known kind"))?);
        }
        Ok(Self {
            previous,
            timeline: Sequence(wire.timeline),
            after,
            anchor: wire.anchor.map(wire::Anchor::anchor),
            entries,
        })
    }
}

/// The messages; numbers of fields are never changed.
pub(crate) mod wire {
    use super::{Bytes, LogIndex, Logged, Message, RawEntry, RawKind, Term};

    /// The tag of a record's entries.
    pub(super) const ENTRIES: u32 = 5;

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Record {
        #[prost(bytes = "bytes", tag = "1")]
        pub(super) previous: Bytes,
        #[prost(uint64, tag = "2")]
        pub(super) timeline: u64,
        #[prost(message, tag = "3")]
        pub(super) after: Option<Position>,
        #[prost(message, tag = "4")]
        pub(super) anchor: Option<Anchor>,
        #[prost(message, repeated, tag = "5")]
        pub(super) entries: Vec<Entry>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Position {
        #[prost(uint64, tag = "1")]
        index: u64,
        #[prost(uint64, tag = "2")]
        term: u64,
        #[prost(uint64, tag = "3")]
        revision: u64,
        #[prost(uint64, tag = "4")]
        time_ms: u64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Anchor {
        #[prost(uint64, tag = "1")]
        index: u64,
        #[prost(uint64, tag = "2")]
        term: u64,
        #[prost(bytes = "bytes", tag = "3")]
        digest: Bytes,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Entry {
        #[prost(uint64, tag = "1")]
        term: u64,
        /// 0: the application's; 1: an encoded `raftpb.ConfChange`.
        #[prost(uint32, tag = "2")]
        kind: u32,
        #[prost(bytes = "bytes", tag = "3")]
        data: Bytes,
        #[prost(uint64, tag = "4")]
        revision: u64,
        #[prost(uint64, tag = "5")]
        time_ms: u64,
    }

    impl Position {
        pub(crate) fn of(position: &super::Position) -> Self {
            Self {
                index: position.index.get(),
                term: position.term.get(),
                revision: position.revision,
                time_ms: position.time_ms,
            }
        }

        pub(crate) fn position(self) -> super::Position {
            super::Position {
                index: LogIndex::new(self.index),
                term: Term::new(self.term),
                revision: self.revision,
                time_ms: self.time_ms,
            }
        }
    }

    impl Anchor {
        pub(super) fn of(anchor: &super::Anchor) -> Self {
            Self {
                index: anchor.index.get(),
                term: anchor.term.get(),
                digest: anchor.digest.clone(),
            }
        }

        pub(super) fn anchor(self) -> super::Anchor {
            super::Anchor {
                index: LogIndex::new(self.index),
                term: Term::new(self.term),
                digest: self.digest,
            }
        }
    }

    impl Entry {
        pub(super) fn of(logged: &Logged) -> Self {
            Self {
                term: logged.entry.term.get(),
                kind: match logged.entry.kind {
                    RawKind::Normal => 0,
                    RawKind::ConfChange => 1,
                },
                data: logged.entry.data.clone(),
                revision: logged.revision,
                time_ms: logged.time_ms,
            }
        }

        pub(super) fn logged(self, index: LogIndex) -> Option<Logged> {
            let kind = match self.kind {
                0 => RawKind::Normal,
                1 => RawKind::ConfChange,
                _ => return None,
            };
            Some(Logged {
                entry: RawEntry {
                    index,
                    term: Term::new(self.term),
                    kind,
                    data: self.data,
                },
                revision: self.revision,
                time_ms: self.time_ms,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let after = Position {
            index: LogIndex::new(7),
            term: Term::new(2),
            revision: 5,
            time_ms: 1_000,
        };
        let entry = RawEntry {
            index: LogIndex::new(8),
            term: Term::new(3),
            kind: RawKind::ConfChange,
            data: Bytes::from_static(b"change"),
        };
        let record = Record {
            previous: [9; 32],
            timeline: Sequence(4),
            after,
            anchor: Anchor::of(&entry),
            entries: vec![Logged {
                entry,
                revision: 6,
                time_ms: 1_001,
            }],
        };
        let mut encoded = Vec::new();
        record.encode(&mut encoded);
        let read = Record::decode("a", encoded.into()).unwrap();
        assert_eq!(read, record);
        assert_eq!(read.end().revision, 6);
        assert!(Record::decode("a", Bytes::from_static(b"\xff")).is_err());
        assert!(Record::decode("a", Bytes::new()).is_err());
    }
}
