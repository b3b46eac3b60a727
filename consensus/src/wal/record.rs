//! Records: what a frame's body consists of.
//!
//! A record is a type (one byte, never renumbered), the length of its payload (four bytes) and the
//! payload; all numbers are little-endian.
//!
//! | type | payload |
//! |---|---|
//! | 1 entry | entry type (1 byte: 0 normal, 1 configuration change), term (8), index (8), data |
//! | 2 hard state | term (8), vote (8; 0 is nobody), commit (8) |
//! | 3 marker | origin (1 byte: 0 compaction, 1 snapshot), index (8), term (8), auto-leave (1), then voters, learners, outgoing voters and next learners, each a count (4) and ids (8 each) |

use bytes::{Buf as _, Bytes};
use raft::eraftpb;

use crate::conf_change::ConfState;
use crate::log_index::LogIndex;
use crate::member_id::MemberId;
use crate::term::Term;

const ENTRY: u8 = 1;
const HARD_STATE: u8 = 2;
const MARKER: u8 = 3;

/// The bytes before a record's payload.
const RECORD_HEADER_BYTES: usize = 5;
/// What an entry takes besides its data.
pub(super) const ENTRY_OVERHEAD_BYTES: usize = RECORD_HEADER_BYTES + 17;

/// A record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    /// An entry: the log's last, or one in place of those from its index on.
    Entry(eraftpb::Entry),
    /// What raft must remember; the last one counts.
    HardState(eraftpb::HardState),
    /// Where the log begins; the last one counts.
    Marker(Marker),
}

/// Where the log begins: entries up to `index` are covered by the application's own data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marker {
    /// The last entry that is covered.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// The configuration when the marker was written.
    pub conf_state: ConfState,
    /// Why the log begins there.
    pub origin: MarkerOrigin,
}

/// Why the log begins where it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MarkerOrigin {
    /// The application has made the entries durable in its own way.
    #[default]
    Compaction,
    /// A leader's snapshot took the place of the whole log, entries after `index` included.
    Snapshot,
}

/// Why bytes are no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// A record ends in the middle.
    #[error("record is cut short")]
    Short,
    /// A record goes on after its end.
    #[error("record has {0} bytes too many")]
    Long(usize),
    /// A record of a type that is not known.
    #[error("record type {0} is not known")]
    Type(u8),
    /// A field with a value that means nothing.
    #[error("{field} cannot be {value}")]
    Value {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
}

pub(super) fn push_entry(body: &mut Vec<u8>, entry: &eraftpb::Entry) {
    push_header(body, ENTRY, 17 + entry.data.len());
    body.push(if entry.entry_type == 0 { 0 } else { 1 });
    body.extend_from_slice(&entry.term.to_le_bytes());
    body.extend_from_slice(&entry.index.to_le_bytes());
    body.extend_from_slice(&entry.data);
}

pub(super) fn push_hard_state(body: &mut Vec<u8>, state: &eraftpb::HardState) {
    push_header(body, HARD_STATE, 24);
    for field in [state.term, state.vote, state.commit] {
        body.extend_from_slice(&field.to_le_bytes());
    }
}

pub(super) fn push_marker(body: &mut Vec<u8>, marker: &Marker) {
    let conf = &marker.conf_state;
    let lists = [
        &conf.voters,
        &conf.learners,
        &conf.voters_outgoing,
        &conf.learners_next,
    ];
    let ids: usize = lists.iter().map(|list| list.len()).sum();
    push_header(body, MARKER, 18 + 4 * lists.len() + 8 * ids);
    body.push(match marker.origin {
        MarkerOrigin::Compaction => 0,
        MarkerOrigin::Snapshot => 1,
    });
    body.extend_from_slice(&marker.index.get().to_le_bytes());
    body.extend_from_slice(&marker.term.get().to_le_bytes());
    body.push(u8::from(conf.auto_leave));
    for list in lists {
        push_length(body, list.len());
        for member in list {
            body.extend_from_slice(&member.get().to_le_bytes());
        }
    }
}

fn push_header(body: &mut Vec<u8>, kind: u8, payload_bytes: usize) {
    body.push(kind);
    push_length(body, payload_bytes);
}

/// Lengths are far below the limit: frames are at most a segment long.
#[expect(
    clippy::cast_possible_truncation,
    reason = "frames are bounded by the segment's length"
)]
fn push_length(body: &mut Vec<u8>, length: usize) {
    debug_assert!(u32::try_from(length).is_ok());
    body.extend_from_slice(&(length as u32).to_le_bytes());
}

/// Reads the next record off `body`; `None` at its end.
pub(super) fn take_record(body: &mut Bytes) -> Result<Option<Record>, BadRecord> {
    if body.is_empty() {
        return Ok(None);
    }
    let kind = take_u8(body)?;
    let length = take_u32(body)?;
    if body.len() < length {
        return Err(BadRecord::Short);
    }
    let mut payload = body.split_to(length);
    let record = match kind {
        ENTRY => Record::Entry(take_entry(&mut payload)?),
        HARD_STATE => Record::HardState(eraftpb::HardState {
            term: take_u64(&mut payload)?,
            vote: take_u64(&mut payload)?,
            commit: take_u64(&mut payload)?,
        }),
        MARKER => Record::Marker(take_marker(&mut payload)?),
        other => return Err(BadRecord::Type(other)),
    };
    if payload.is_empty() {
        Ok(Some(record))
    } else {
        Err(BadRecord::Long(payload.len()))
    }
}

fn take_entry(payload: &mut Bytes) -> Result<eraftpb::Entry, BadRecord> {
    let entry_type = match take_u8(payload)? {
        0 => eraftpb::EntryType::EntryNormal,
        1 => eraftpb::EntryType::EntryConfChange,
        other => {
            return Err(BadRecord::Value {
                field: "entry type",
                value: other.into(),
            });
        }
    };
    let mut entry = eraftpb::Entry {
        term: take_u64(payload)?,
        index: take_index(payload, "entry index")?.get(),
        data: std::mem::take(payload),
        ..eraftpb::Entry::default()
    };
    entry.set_entry_type(entry_type);
    if entry.index == 0 {
        return Err(BadRecord::Value {
            field: "entry index",
            value: 0,
        });
    }
    Ok(entry)
}

fn take_marker(payload: &mut Bytes) -> Result<Marker, BadRecord> {
    let origin = match take_u8(payload)? {
        0 => MarkerOrigin::Compaction,
        1 => MarkerOrigin::Snapshot,
        other => {
            return Err(BadRecord::Value {
                field: "marker origin",
                value: other.into(),
            });
        }
    };
    let index = take_index(payload, "marker index")?;
    let term = Term::new(take_u64(payload)?);
    let auto_leave = match take_u8(payload)? {
        0 => false,
        1 => true,
        other => {
            return Err(BadRecord::Value {
                field: "auto-leave",
                value: other.into(),
            });
        }
    };
    let conf_state = ConfState {
        voters: take_members(payload)?,
        learners: take_members(payload)?,
        voters_outgoing: take_members(payload)?,
        learners_next: take_members(payload)?,
        auto_leave,
    };
    Ok(Marker {
        index,
        term,
        conf_state,
        origin,
    })
}

fn take_members(payload: &mut Bytes) -> Result<Vec<MemberId>, BadRecord> {
    let count = take_u32(payload)?;
    if payload.len() / 8 < count {
        return Err(BadRecord::Short);
    }
    let mut members = Vec::with_capacity(count);
    for _ in 0..count {
        let id = take_u64(payload)?;
        members.push(MemberId::from_wire(id).ok_or(BadRecord::Value {
            field: "member",
            value: id,
        })?);
    }
    Ok(members)
}

/// An index that another can follow.
fn take_index(payload: &mut Bytes, field: &'static str) -> Result<LogIndex, BadRecord> {
    match take_u64(payload)? {
        value @ u64::MAX => Err(BadRecord::Value { field, value }),
        index => Ok(LogIndex::new(index)),
    }
}

fn take_u8(bytes: &mut Bytes) -> Result<u8, BadRecord> {
    bytes.try_get_u8().map_err(|_| BadRecord::Short)
}

fn take_u32(bytes: &mut Bytes) -> Result<usize, BadRecord> {
    let value = bytes.try_get_u32_le().map_err(|_| BadRecord::Short)?;
    usize::try_from(value).map_err(|_| BadRecord::Short)
}

fn take_u64(bytes: &mut Bytes) -> Result<u64, BadRecord> {
    bytes.try_get_u64_le().map_err(|_| BadRecord::Short)
}

#[cfg(test)]
mod tests;
