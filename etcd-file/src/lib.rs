//! etcd's own files, read and written: bbolt databases ([`bolt`]), write-ahead logs ([`wal`]) and
//! raft's snapshot files ([`snap`]).
//!
//! Whatever is in a file, reading it gives rows or an error that names the place; it does not panic,
//! and takes memory for a page and a tree's depth, not for the file. Writing gives a file in order,
//! from its first byte to its last, so that it can be sent while it is made.
//!
//! Not here: what buckets, rows and entries mean.
#![forbid(unsafe_code)]

pub mod bolt;
mod messages;
pub mod snap;
mod source;
pub mod wal;

pub use messages::{ConfState, Entry, HardState, Metadata, Snapshot, SnapshotMetadata};
pub use source::Source;
