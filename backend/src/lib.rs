//! The storage engine: tables of ordered bytes, a buffered batch transaction, and snapshots.
//!
//! Writes go into a [`Buffer`] of persistent maps and reach the [`Engine`] (LMDB, or memory for
//! tests and simulation) in batches, so that a write costs no disk sync; durability is the
//! replicated log's, which replays what a crash took. Readers see buffer and engine as one
//! consistent view and neither wait for a writer nor make one wait.
//!
//! A member that is far behind gets the database of another whole: a [`SnapshotSender`] reads one
//! state of it, a [`SnapshotReceiver`] builds it beside the one in use, and
//! [`Backend::begin_install`] puts it in that one's place while reads go on.
//!
//! What is not here: revisions, encodings, leases, users. A key and its value are bytes.

mod applied;
mod backend;
mod batch_tx;
mod buffer;
mod committer;
mod crc;
mod damaged_row;
mod engine;
mod error;
mod installing;
mod lmdb;
mod memory;
mod merge;
mod read_tx;
mod receiver;
mod row;
mod rows_checksum;
mod sender;
mod signal;
mod stored_value;
mod table;
mod transfer;

pub use applied::Applied;
pub use backend::{Backend, BackendOptions, CommitHook, PoisonHook, SpaceHook};
pub use batch_tx::BatchTx;
pub use buffer::Buffer;
pub use committer::Committer;
pub use damaged_row::{DAMAGED_ADVICE, DamagedRow};
pub use engine::{
    Engine, EngineSize, EngineSnapshot, Entry, EntryIter, Found, Incoming, KeyBounds, Order, Visit,
};
pub use error::{
    CommitError, DefragmentError, InstallError, OpenError, Poisoned, ReadError, ReceiveError,
    SnapshotError, TransferError, Uncommitted,
};
pub use installing::Installing;
pub use lmdb::{
    CheckError, CheckReport, Damage, DamageHook, LmdbEngine, LmdbOptions, check,
    tell_memory_signals,
};
pub use memory::MemoryEngine;
pub use read_tx::ReadTx;
pub use receiver::SnapshotReceiver;
pub use rows_checksum::RowsChecksum;
pub use sender::{CHUNK_BYTES, SnapshotSender};
pub use stored_value::StoredValue;
pub use table::{CLUSTER_ID_KEY, PerTable, STATE_CHECKSUM_KEY, Table};
pub use transfer::TransferHeader;

/// The longest key a table takes, in bytes: LMDB's limit.
pub const KEY_BYTES_MAX: usize = 511;
