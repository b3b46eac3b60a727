//! bbolt's database file: a B+tree of buckets in pages.
//!
//! # Bytes
//!
//! Little-endian, as every machine writes it that etcd runs on (but s390x, whose files are refused).
//! The file is a row of pages of one size, which the meta pages say: 4096 bytes on most machines.
//!
//! ```text
//! page      ┌ header, 16 bytes ┬ elements ┬ data of the elements ┐
//! header    id (8), kind (2: 1 branch, 2 leaf, 4 meta, 16 freelist), elements (2), overflow (4)
//! leaf      each element: kind (4: 1 is a bucket), position of the data (4), key (4), value (4 bytes long)
//! branch    each element: position of the key (4), its length (4), page of the child (8)
//! bucket    a value of 16 bytes: root page (8), sequence (8); root 0: the only page follows, inline
//! meta      magic, version, page size, flags (4 each), root bucket (16), freelist (8), pages (8),
//!           transaction (8), FNV-1a of all that (8)
//! freelist  ids of free pages (8 each); more than 65534: the first says how many
//! ```
//!
//! A page whose elements need more room goes on in `overflow` pages behind it. Positions count from
//! the element itself. Pages 0 and 1 are meta pages; the valid one with the later transaction counts.
//! The freelist may be left out (page 2^64-1): whatever the tree does not reach is free then.

mod builder;
mod census;
mod cursor;
mod database;
mod error;
mod meta;
mod page;

pub use builder::{BuildError, FileWriter, Layout, LayoutCounter, PAGE_BYTES};
pub use census::Census;
pub use cursor::{Cursor, Item, Value};
pub use database::{Bucket, Database};
pub use error::{BoltError, Damage};
pub use meta::Meta;

/// The longest key, in bytes; bbolt's limit.
pub const KEY_BYTES_MAX: usize = 32_768;
