//! What can go wrong, by family of operation.

use std::io;

use cairn_backend::{Applied, DamagedRow, OpenError, Poisoned};
use cairn_index::{FullRevision, Revision};

use crate::bucket_key::InvalidBucketKey;
use crate::compaction_point::CompactionPoint;
use crate::stored_kv::MalformedKv;

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The revision was forgotten.
    #[error("revision {requested} has been compacted at {compacted}")]
    Compacted {
        /// The revision to read at.
        requested: Revision,
        /// How far history is compacted.
        compacted: CompactionPoint,
    },
    /// The revision was not written yet.
    #[error("revision {requested} is later than the current {current}")]
    Future {
        /// The revision to read at.
        requested: Revision,
        /// The revision of the store.
        current: Revision,
    },
    /// The index knows a change that the backend lacks.
    #[error("the change at {0} is not stored")]
    Missing(FullRevision),
    /// A stored value is not a `KeyValue`.
    #[error(transparent)]
    MalformedKv(#[from] MalformedKv),
    /// A stored key is not a change's.
    #[error(transparent)]
    InvalidKey(#[from] InvalidBucketKey),
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] cairn_backend::ReadError),
}

/// Why a write failed. The store is then behind its log, and the process must stop.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The backend has failed before and takes no writes.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
}

/// Why a compaction was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompactError {
    /// History was compacted as far already.
    #[error("{requested} has been compacted: history begins at {compacted}")]
    Compacted {
        /// How far to compact.
        requested: CompactionPoint,
        /// How far history is compacted.
        compacted: CompactionPoint,
    },
    /// The revision was not written yet.
    #[error("{requested} is later than the current revision {current}")]
    Future {
        /// How far to compact.
        requested: CompactionPoint,
        /// The revision of the store.
        current: Revision,
    },
}

/// Why a store could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The thread that builds the index could not be started.
    #[error("no thread for building the index")]
    Thread(#[source] io::Error),
    /// A row is [damaged](cairn_backend::ReadError::Damaged), or the backend failed.
    #[error(transparent)]
    Backend(#[from] cairn_backend::ReadError),
}

impl From<DamagedRow> for RestoreError {
    fn from(row: DamagedRow) -> Self {
        Self::Backend(row.into())
    }
}

/// Why a received database was not prepared or installed. Except for a poisoned backend, the store is
/// as before.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// None such was received.
    #[error("no database of {0} was received")]
    NotReceived(Applied),
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its content is damaged.
    #[error("the received database cannot be read: {0}")]
    Damaged(#[from] RestoreError),
    /// It is of another history: a later place in the log cannot have an earlier revision.
    #[error("the received database is at revision {received}, ours at {ours}")]
    GoesBack {
        /// Its revision.
        received: Revision,
        /// Our revision.
        ours: Revision,
    },
    /// It is of another history: a later place in the log cannot be compacted less far.
    #[error("the received database is compacted at {}, ours at {}", shown(*received), shown(*ours))]
    ForgetsCompaction {
        /// How far it is compacted.
        received: Option<CompactionPoint>,
        /// How far ours is.
        ours: Option<CompactionPoint>,
    },
    /// The backend refuses it.
    #[error(transparent)]
    Backend(#[from] cairn_backend::InstallError),
}

fn shown(point: Option<CompactionPoint>) -> String {
    point.map_or_else(|| "no revision".to_owned(), |point| point.to_string())
}

/// Why a database was not received. The store is as before, and nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// What came is no good, or cannot be written.
    #[error(transparent)]
    Transfer(#[from] cairn_backend::ReceiveError),
    /// It is another one.
    #[error("the database is of {received}, and that of {announced} was announced")]
    Misnamed {
        /// What it stands for.
        received: Applied,
        /// What it should.
        announced: Applied,
    },
    /// It cannot be installed.
    #[error(transparent)]
    Unfit(#[from] InstallError),
}
