//! What can go wrong, one type per family of operations.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

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
    /// The file lacks a table that every database of ours has.
    #[error("database {} has no table {table}", path.display())]
    TableMissing {
        /// The file.
        path: PathBuf,
        /// The stored name of the table.
        table: &'static str,
    },
    /// The size of the file cannot be learnt.
    #[error("cannot learn the size of the database")]
    Size(#[source] ReadError),
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
}

/// Writing a batch to the engine. Each of these poisons the backend.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// LMDB refuses.
    #[error("cannot write a batch to the database")]
    Lmdb(#[from] heed::Error),
    /// The memory map cannot grow with the database.
    #[error("cannot grow the memory map to {bytes} bytes")]
    Grow {
        /// The size it should have had.
        bytes: usize,
        /// Why.
        #[source]
        source: heed::Error,
    },
    /// The memory map was lost by an earlier failure to grow.
    #[error("the database's memory map is lost")]
    MapLost,
    /// The directory could not be synced after the defragmented file took its name.
    #[error("cannot sync the directory of the defragmented database")]
    Swap(#[source] io::Error),
    /// A writer panicked, so half a batch may be buffered.
    #[error("a writer panicked in the middle of a batch")]
    WriterPanicked,
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

/// Taking a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// What is buffered could not be written first.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// The database could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The copy could not be written.
    #[error("cannot write the copy {}", path.display())]
    Io {
        /// The file of the copy.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// LMDB could not copy.
    #[error("cannot copy the database")]
    Lmdb(#[from] heed::Error),
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
    #[error("cannot rename the defragmented copy")]
    Rename(#[source] io::Error),
    /// The new file is in place, but the engine can promise nothing more.
    #[error("the swap to the defragmented copy is not known to be durable")]
    Swap(#[source] CommitError),
    /// Writers changed more than can be kept in mind while the copy was made.
    #[error("{changes} changes overtook the defragmentation")]
    Overtaken {
        /// How many changes there were when it gave up.
        changes: usize,
    },
}
