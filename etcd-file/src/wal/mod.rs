//! etcd's write-ahead log: a directory of files of records.
//!
//! # Bytes
//!
//! Files are named `<sequence>-<index>.wal`, both as 16 hexadecimal digits: a number that grows by
//! one, and the first entry that the file may have.
//!
//! ```text
//! file      ┌ frame ┬ frame ┬ … zeros to 64 MB ┐
//! frame     ┌ length, 8 bytes, little-endian ┬ record ┬ padding to a multiple of 8 ┐
//! length    the lower 56 bits: of the record; the highest bit: there is padding, and how much of it
//!           in bits 56 to 58
//! record    a message: type (1), CRC-32C (2), data (3)
//! ```
//!
//! The CRC is over the data of all records so far; a record of type 4 at the head of each file says
//! what it was at the end of the one before. Types: 1 metadata (whose log it is), 2 an entry,
//! 3 the hard state, 4 a CRC, 5 a snapshot, which has all entries up to its index.
//!
//! A length of zero ends a file's records. What is cut short at the end of the last file, or has a
//! sector of zeros in its last frame, is the torn tail of a write that nobody was told of.

mod error;
mod log;
mod reader;
mod writer;

pub use error::{WalDamage, WalError};
pub use log::{Log, SnapshotPoint};
pub use writer::LogFile;

const METADATA: i64 = 1;
const ENTRY: i64 = 2;
const STATE: i64 = 3;
const CRC: i64 = 4;
const SNAPSHOT: i64 = 5;

/// Bytes before a record.
const FRAME_HEADER_BYTES: u64 = 8;
/// What a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;
/// The longest record: twice what etcd's requests can be set to.
const RECORD_BYTES_MAX: u64 = 1 << 31;

/// The name of a file.
#[must_use]
pub fn file_name(sequence: u64, index: u64) -> String {
    format!("{sequence:016x}-{index:016x}.wal")
}

/// Sequence and index of a file's name; none if it is of another kind.
#[must_use]
pub fn parse_name(name: &str) -> Option<(u64, u64)> {
    crate::snap::parse_name(&format!("{}.snap", name.strip_suffix(".wal")?))
}
