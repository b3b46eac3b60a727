//! The revisioned store: every write is a new revision, and every revision since the last
//! compaction can be read.
//!
//! [`Store`] joins the index (which change of which key a read finds) and the backend (the bytes of
//! that change). One owner writes, through [`WriteBatch`] and [`WriteTxn`]; any number of readers
//! read consistent views and never wait for the writer. What is stored under a revision is the
//! encoded `mvccpb.KeyValue`, so answers are spliced from stored bytes.
//!
//! Not here: leases and who holds them, watchers, the wire, time, and any thread but the two that
//! share the work of a restore.
#![forbid(unsafe_code)]

mod bucket_key;
mod change;
mod compaction;
mod compaction_marks;
mod compaction_point;
mod error;
mod hash_kv;
mod history;
mod index_view;
mod install;
mod key_cursor;
mod lease_id;
mod live_checksum;
mod pair_writer;
mod range;
mod range_order;
mod range_query;
mod range_scan;
mod receiving;
mod restore;
mod store;
mod stored_kv;
mod values;
mod view;
mod write_batch;
mod write_txn;

pub use bucket_key::{BucketKey, InvalidBucketKey};
pub use cairn_index::{
    FullRevision, InvalidRevision, KeyRange, KeyVersion, Revision, SYSTEM_PREFIX, SubRevision,
    Version, is_system_key,
};
pub use change::{Change, ChangeKind};
pub use compaction::{CompactionWork, Progress};
pub use compaction_point::CompactionPoint;
pub use error::{CompactError, InstallError, ReadError, ReceiveError, RestoreError, WriteError};
pub use hash_kv::HashKv;
pub use history::{EventLimits, Events};
pub use install::{Installed, Prepared};
pub use lease_id::LeaseId;
pub use range::RangeSummary;
pub use range_query::{RangeQuery, ReadAt, RevisionFilter, SortOrder, SortTarget};
pub use range_scan::{RangeScan, ScanProgress};
pub use receiving::Receiving;
pub use restore::Restored;
pub use store::Store;
pub use stored_kv::{KvFields, MalformedKv, StoredKv};
pub use write_batch::WriteBatch;
pub use write_txn::{Committed, DeleteDone, PutDone, WriteTxn};
