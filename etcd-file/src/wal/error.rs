//! What can be wrong with a log.

use std::io;
use std::path::PathBuf;

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The disk.
    #[error("reading {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it reported.
        source: io::Error,
    },
    /// The bytes are not those of a log.
    #[error("{path}, offset {offset}: {damage}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        damage: WalDamage,
    },
    /// There is no log.
    #[error("{path} has no log")]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// A file between others is not there.
    #[error("{path}: file number {sequence} of the log is missing")]
    Gap {
        /// The directory.
        path: PathBuf,
        /// The first number without a file.
        sequence: u64,
    },
    /// Nothing says whose log it is.
    #[error("{path}: no record says whose log it is")]
    NoMetadata {
        /// The directory.
        path: PathBuf,
    },
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalDamage {
    /// It goes on beyond the file.
    #[error("a record of {bytes} bytes is cut short at {length}")]
    Short {
        /// Its length, padding included.
        bytes: u64,
        /// The file's.
        length: u64,
    },
    /// It is longer than can be.
    #[error("a record of {0} bytes is too long")]
    TooLong(u64),
    /// It is no message.
    #[error("the record does not decode")]
    Undecodable,
    /// Its checksum is another.
    #[error("the checksum is {stored:#x}, {computed:#x} by the bytes")]
    Checksum {
        /// In the record.
        stored: u32,
        /// As it should be.
        computed: u32,
    },
    /// It is of no known type.
    #[error("record type {0} is not known")]
    Type(i64),
    /// Two records disagree about whose log it is.
    #[error("the log is of more than one member")]
    OtherMember,
    /// An entry without a place.
    #[error("an entry says no index")]
    NoIndex,
    /// An entry leaves others out.
    #[error("entry {found} follows entry {before}")]
    EntryGap {
        /// The entry.
        found: u64,
        /// The last one before.
        before: u64,
    },
}
