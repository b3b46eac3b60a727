//! The storage engine: tables of ordered bytes, a buffered batch transaction, and snapshots.
//!
//! Writes go into a [`Buffer`] of persistent maps and reach the [`Engine`] (LMDB, or memory for
//! tests and simulation) in batches, so that a write costs no disk sync; durability is the
//! replicated log's, which replays what a crash took. Readers see buffer and engine as one
//! consistent view and neither wait for a writer nor make one wait.
//!
//! What is not here: revisions, encodings, leases, users. A key and its value are bytes.

mod backend;
mod batch_tx;
mod buffer;
mod committer;
mod engine;
mod error;
mod lmdb;
mod memory;
mod merge;
mod read_tx;
mod signal;
mod table;

pub use backend::{Backend, BackendOptions, CommitHook, PoisonHook};
pub use batch_tx::BatchTx;
pub use buffer::Buffer;
pub use committer::Committer;
pub use engine::{
    Engine, EngineSize, EngineSnapshot, EntryIter, Found, KeyBounds, Order, SnapshotReader, Visit,
};
pub use error::{CommitError, DefragmentError, OpenError, Poisoned, ReadError, SnapshotError};
pub use lmdb::{LmdbEngine, LmdbOptions, SnapshotFile};
pub use memory::MemoryEngine;
pub use read_tx::ReadTx;
pub use table::{PerTable, Table};

/// The longest key a table takes, in bytes: LMDB's limit.
pub const KEY_BYTES_MAX: usize = 511;
