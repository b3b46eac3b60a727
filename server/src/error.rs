//! Why a request fails, by where it fails. What clients are told is in [`crate::status`].

use cairn_mvcc::ReadError;

use cairn_replica::apply::{Failure, FatalError};
use cairn_replica::consensus::NotTaken;
pub use cairn_replica::error::ApplyError;
use cairn_replica::request::RequestError;

/// Any way in which a request can fail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// At the door.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// On its way through the log.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// When it was applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// While it read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// In the member's own upkeep.
    #[error(transparent)]
    Maintenance(#[from] MaintenanceError),
}

/// A request that did not get through the log, or of which that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// No member leads; the request was not proposed.
    #[error("no leader")]
    NoLeader,
    /// Leadership moved while the request was under way: it may or may not be applied.
    #[error("leader changed")]
    LeaderChanged,
    /// The member is shutting down.
    #[error("the member is stopping")]
    Stopped,
    /// No answer in time: it may or may not be applied.
    #[error("the request timed out")]
    Timeout,
    /// Applying is too far behind the log to take more.
    #[error("too many requests wait to be applied")]
    TooManyRequests,
    /// A put or grant while the space alarm is on, or that would go over the quota.
    #[error("the database is over its quota")]
    NoSpace,
}

/// A maintenance call that fails.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// The target of a leader transfer is no voting member.
    #[error("not a member that can lead")]
    BadLeaderTransferee,
    /// Only the leader can do this.
    #[error("not the leader")]
    NotLeader,
    /// The storage engine failed; the process is about to stop.
    #[error("storage: {0}")]
    Storage(String),
}

impl From<NotTaken> for ProposeError {
    fn from(refusal: NotTaken) -> Self {
        match refusal {
            NotTaken::NoLeader => Self::NoLeader,
            NotTaken::TooMany => Self::TooManyRequests,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => Self::Apply(error),
            Failure::Fatal(FatalError::Read(error)) => Self::Read(error),
            Failure::Fatal(FatalError::Write(error)) => {
                Self::Maintenance(MaintenanceError::Storage(error.to_string()))
            }
        }
    }
}
