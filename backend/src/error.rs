//! What can go wrong, one type per family of operations.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::applied::Applied;
use crate::damaged_row::{DAMAGED_ADVICE, DamagedRow};
use crate::lmdb::Damage;

/// Opening an engine or a backend.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or an earlier engine of this one, uses the directory.
    #[error("directory {} is in use by another process", directory.display())]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory or a file in it cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// LMDB refuses the file.
    #[error("cannot open database {}", path.display())]
    Lmdb {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: heed::Error,
    },
    /// The file ends before its last page.
    #[error("database {} is cut short: {size_bytes} of {expected_bytes} bytes", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// How long it is.
        size_bytes: u64,
        /// How long it says it is.
        expected_bytes: u64,
    },
    /// A page above the rows is not what was written.
    #[error("database {}: {damage}; {DAMAGED_ADVICE}", path.display())]
    DamagedPage {
        /// The file.
        path: PathBuf,
        /// The first such page.
        damage: Damage,
    },
    /// The file lacks a table that every database of ours has.
    #[error("database {} has no table {table}", path.display())]
    TableMissing {
        /// The file.
        path: PathBuf,
        /// The stored name of the table.
        table: &'static str,
    },
    /// It cannot be read.
    #[error("cannot read the opened database")]
    Read(#[source] ReadError),
}

/// Reading.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// LMDB refuses.
    #[error("cannot read the database")]
    Lmdb(#[from] heed::Error),
    /// The memory map could not be restored after it failed to grow.
    #[error("the database's memory map is lost")]
    MapLost,
    /// A row is not what was written.
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
}

/// Writing a batch to the engine. Each of these but [`CommitError::NoSpace`] poisons the backend.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// LMDB refuses.
    #[error("cannot write a batch to database {}", path.display())]
    Lmdb {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: heed::Error,
    },
    /// The file system is full, or this user's share of it. Nothing of the batch was written, and
    /// nothing is in doubt: it can be written again.
    #[error(
        "no space for a batch in database {}: {available_bytes} bytes are free", path.display()
    )]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// What the file system says is free.
        available_bytes: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What was to be copied is damaged.
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
    /// The memory map cannot grow with the database.
    #[error("cannot grow the memory map of database {} to {bytes} bytes", path.display())]
    Grow {
        /// The file.
        path: PathBuf,
        /// The size it should have had.
        bytes: usize,
        /// Why.
        #[source]
        source: heed::Error,
    },
    /// The memory map was lost by an earlier failure to grow.
    #[error("the database's memory map is lost")]
    MapLost,
    /// The directory could not be synced after a new file took the database's name.
    #[error("cannot sync the directory of the new database {}", path.display())]
    Swap {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A writer panicked, so half a batch may be buffered.
    #[error("a writer panicked in the middle of a batch")]
    WriterPanicked,
    /// The writer gave a batch up in the middle.
    #[error("a batch was given up in the middle")]
    BatchAbandoned,
    /// The engine was told to fail.
    #[error("injected fault")]
    Injected,
}

/// A commit failed, or a writer panicked: nothing more may be written.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the backend refuses writes after a failed commit")]
pub struct Poisoned {
    /// The failure.
    #[source]
    pub cause: Arc<CommitError>,
}

/// Why what is buffered is not durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Uncommitted {
    /// Nothing more may be written.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// There is no space. What is buffered stays so, readers see it, and the next commit tries
    /// again.
    #[error("what is buffered waits for space")]
    NoSpace {
        /// The failure.
        #[source]
        cause: Arc<CommitError>,
    },
}

/// Taking a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The database could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is nothing to send yet.
    #[error("no log entry was applied yet")]
    NothingApplied,
}

/// What a peer sends is not a whole database.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// It is not in the format.
    #[error("a chunk of the database is malformed or not in its place")]
    Malformed,
    /// It was changed on the way, or chunks are missing.
    #[error("the checksum of a chunk of the database is wrong")]
    Checksum,
    /// It is in a format of another version.
    #[error("the database comes in version {version} of the format")]
    Version {
        /// The version.
        version: u64,
    },
    /// It has a table that we have not.
    #[error("the database has an unknown table {name}")]
    UnknownTable {
        /// The name.
        name: String,
    },
    /// A key does not come after the one before.
    #[error("the rows of the database are out of order")]
    OutOfOrder,
    /// A key has a length that no key has.
    #[error("the database has a key of {bytes} bytes")]
    InvalidKey {
        /// The length.
        bytes: usize,
    },
    /// A row is no good.
    #[error("a row of the database is no good: {0}")]
    Damaged(#[from] DamagedRow),
    /// It ended too early.
    #[error("the database is incomplete")]
    Incomplete,
    /// It is not the state that was announced.
    #[error("the database stands for {stored}, not {announced}")]
    Misnamed {
        /// What the sender said.
        announced: Applied,
        /// What is in it.
        stored: Applied,
    },
}

/// Receiving a database. Ours is as before.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// What came is no good.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The new file could not be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The new file could not be written.
    #[error("cannot write the received database")]
    Write(#[from] CommitError),
    /// Others were received and neither installed nor discarded.
    #[error("too many received databases wait to be installed")]
    TooMany,
}

/// Installing a received database. Except for [`InstallError::Poisoned`] and
/// [`InstallError::Swap`], which stop all writing, all is as before.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The backend takes no more writes.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// There is none such.
    #[error("no database of {applied} was received")]
    NotReceived {
        /// What it should stand for.
        applied: Applied,
    },
    /// It is no newer than ours.
    #[error("the received database of {received} is not ahead of ours, of {ours}")]
    NotAhead {
        /// What the received one stands for.
        received: Applied,
        /// What ours stands for.
        ours: Applied,
    },
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What we have could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It could not be put in place.
    #[error("cannot rename the received database {}", path.display())]
    Rename {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is in place, but the engine can promise nothing more.
    #[error("the swap to the received database is not known to be durable")]
    Swap(#[source] CommitError),
}

/// Defragmenting. Except for [`DefragmentError::Poisoned`], the database is as it was.
#[derive(Debug, thiserror::Error)]
pub enum DefragmentError {
    /// The backend takes no more writes.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// The new file could not be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The old file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The new file could not be written.
    #[error("cannot write the defragmented copy")]
    Write(#[source] CommitError),
    /// The new file could not be put in place.
    #[error("cannot rename the defragmented copy {}", path.display())]
    Rename {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The new file is in place, but the engine can promise nothing more.
    #[error("the swap to the defragmented copy is not known to be durable")]
    Swap(#[source] CommitError),
    /// A received database took the place of the one that was being defragmented.
    #[error("the database was replaced")]
    Replaced,
    /// Writers changed more than can be kept in mind while the copy was made.
    #[error("{changes} changes overtook the defragmentation")]
    Overtaken {
        /// How many changes there were when it gave up.
        changes: usize,
    },
}
