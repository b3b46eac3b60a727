//! What can go wrong with a log.

use std::io;

use super::record::BadRecord;
use super::segment::{BadSegmentHeader, segment_name};
use crate::disk::Disk;
use crate::log_index::LogIndex;
use crate::member_id::Identity;

/// Why the log could not do something.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The disk failed.
    #[error("cannot {action} {file}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        file: String,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// What is on disk is not what was written there.
    #[error(
        "write-ahead log is corrupt: {file} at offset {offset}: {damage}; what was acknowledged \
         from there on cannot be read: restore the data directory from before the damage, or \
         remove this member from its cluster and add it again with an empty one"
    )]
    Corrupt {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        damage: Damage,
    },
    /// A segment between others is not there.
    #[error("write-ahead log is incomplete: segment {} is missing", segment_name(*.number))]
    Missing {
        /// Its number.
        number: u64,
    },
    /// The log belongs to another member or cluster than its own earlier segments.
    #[error("write-ahead log is mixed up: {file} belongs to member {}", .found.member)]
    Identity {
        /// The file.
        file: String,
        /// Whose it is.
        found: Identity,
    },
    /// There is no log.
    #[error("there is no write-ahead log")]
    NotFound,
    /// There is a log already.
    #[error("there is a write-ahead log already")]
    Exists,
    /// The options cannot be.
    #[error("a segment of {segment_bytes} bytes is too short")]
    SegmentBytes {
        /// What was asked for.
        segment_bytes: u64,
    },
    /// An entry that no segment can hold; nothing was written.
    #[error("an entry of {bytes} bytes is beyond the limit of {limit}")]
    TooLarge {
        /// The length of its data.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Entries that do not follow one another; nothing was written.
    #[error("entry {found} does not follow entry {before}")]
    NotConsecutive {
        /// The entry.
        found: LogIndex,
        /// The one it came after.
        before: LogIndex,
    },
    /// An entry that the log does not have was asked for.
    #[error("entry {index} is not in the log")]
    NoEntry {
        /// Its index.
        index: LogIndex,
    },
    /// An earlier write failed: what is on disk is not known.
    #[error("write-ahead log stopped after a failed write")]
    Poisoned,
}

/// What is wrong with bytes on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The segment's header.
    #[error(transparent)]
    SegmentHeader(#[from] BadSegmentHeader),
    /// The segment's header is that of another file.
    #[error("the header is that of segment {number}")]
    Misnamed {
        /// The number in the header.
        number: u64,
    },
    /// A frame that was durable is not whole.
    #[error("a frame that was durable is broken")]
    Frame,
    /// A frame that was durable is not whole: one that was written later stands behind it.
    #[error(
        "a frame that was durable is broken, since one that was written later is at offset {behind}"
    )]
    Followed {
        /// Where that one begins.
        behind: u64,
    },
    /// A frame that does not follow the one before it.
    #[error("a frame does not follow the one before it")]
    Chain,
    /// A whole frame with entries that do not follow one another.
    #[error("entry {found} stands behind entry {before} in one frame")]
    NotConsecutive {
        /// The entry.
        found: LogIndex,
        /// The one before it.
        before: LogIndex,
    },
    /// A whole frame with records that make no sense.
    #[error(transparent)]
    Record(#[from] BadRecord),
    /// Less than a segment.
    #[error("the file is {bytes} bytes long")]
    Length {
        /// How long it is.
        bytes: u64,
    },
}

pub(super) fn io_error(
    action: &'static str,
    disk: &dyn Disk,
    name: &str,
    source: io::Error,
) -> WalError {
    WalError::Io {
        action,
        file: disk.place(name),
        source,
    }
}
