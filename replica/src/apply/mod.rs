//! Applying the log: the same entries give every member the same bytes.
//!
//! [`Applier`] owns the store's write side. It is sans-IO but for the storage engine below the
//! store: no clock, no chance, no network. Entries come in as a batch; what they changed becomes
//! visible to readers together with the index of the last one, so that a crash can neither lose half
//! of an entry nor apply one twice.

mod applier;
mod leases;
mod outcome;
pub mod permission;
mod reader;
pub mod txn;
mod v2;

pub use applier::{Applied, Applier, ConfChangeDone};
pub use leases::{LeaseChanges, SharedLeases};
pub use outcome::Outcome;
pub use reader::{Reader, SnapshotReader};

use cairn_consensus::LogIndex;
use cairn_mvcc::{ReadError, WriteError};

use crate::error::ApplyError;

/// Why an entry is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It is refused, by every member alike; nothing was written.
    #[error(transparent)]
    Refused(#[from] ApplyError),
    /// Storage failed: the member must stop, for what it holds is not known.
    #[error(transparent)]
    Fatal(#[from] FatalError),
}

/// Storage failed while an entry was applied.
#[derive(Debug, thiserror::Error)]
pub enum FatalError {
    /// While it was read.
    #[error("reading the store: {0}")]
    Read(#[from] ReadError),
    /// While the second API's tree was read.
    #[error("reading the v2 tree: {0}")]
    V2(#[from] cairn_v2::StorageError),
    /// While it was written.
    #[error("writing the store: {0}")]
    Write(#[from] WriteError),
    /// The entry cannot be understood. Whoever passes over it is no longer what the others are.
    #[error(
        "the committed log entry {index} cannot be read: {reason}; if members of a later version \
         are in the cluster, start this one in that version too, otherwise its log is damaged: \
         remove the member and add it again with an empty data directory"
    )]
    Unreadable {
        /// Its place in the log.
        index: LogIndex,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::Fatal(error.into())
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        Self::Fatal(error.into())
    }
}

#[cfg(test)]
mod tests;
