//! Why a request fails, by where it fails. What clients are told is in `api/status.rs`.

use cairn_auth::AuthError;
use cairn_mvcc::ReadError;

use crate::logging::Chain;
use crate::member::auth::CredentialError;
use cairn_replica::apply::{Failure, FatalError};
use cairn_replica::consensus::NotTaken;
pub(crate) use cairn_replica::error::ApplyError;
use cairn_replica::request::RequestError;

/// Any way in which a request can fail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Before the log.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// On its way through the log.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// When it was applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Because of who asks.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// In handling a password or signing a token.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// While it read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// As a change of the members, by what this member knows of the others.
    #[error(transparent)]
    Reconfiguration(#[from] ReconfigurationError),
    /// As a downgrade.
    #[error(transparent)]
    Downgrade(#[from] DowngradeError),
    /// At the leader that it was taken to, which said why.
    #[error("{}", .0.message())]
    Leader(tonic::Status),
    /// Because this member is a learner, and clients are to ask others.
    #[error("the member is a learner")]
    NotForLearner,
    /// In the member's own upkeep.
    #[error(transparent)]
    Maintenance(#[from] MaintenanceError),
}

/// What a member answers that is asked for what only a leader can do: clients see it, and members
/// know it from each other's refusals.
pub(crate) const NOT_LEADER_TEXT: &str = "etcdserver: not leader";

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
    /// As [`Self::Timeout`], and a leader failed meanwhile.
    #[error("the request timed out, perhaps for a leader that failed")]
    TimeoutLeaderFailed,
    /// As [`Self::Timeout`], and those that are needed for an answer were not connected.
    #[error("the request timed out, perhaps for a lost connection")]
    TimeoutConnectionLost,
    /// Applying is too far behind the log to take more.
    #[error("too many requests wait to be applied")]
    TooManyRequests,
    /// A put or grant while the space alarm is on, or that would go over the quota.
    #[error("the database is over its quota")]
    NoSpace,
}

/// A change of the members that this member does not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReconfigurationError {
    /// Addresses that are none.
    #[error("not addresses of a member")]
    BadUrls,
    /// Fewer members than a quorum of the changed group have ever started.
    #[error("too few members have started")]
    NotEnoughStarted,
    /// Too few members can be reached to lose or gain one.
    #[error("too few members can be reached")]
    Unhealthy,
    /// Only the leader can do this.
    #[error("not the leader")]
    NotLeader,
    /// The learner's log is too short.
    #[error("the learner is not in sync")]
    LearnerNotReady,
}

/// A downgrade that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DowngradeError {
    /// Not a version.
    #[error("not a version")]
    WrongFormat,
    /// Only one minor version down is possible.
    #[error("not one minor version down")]
    InvalidTarget,
    /// The members have not agreed on a version yet.
    #[error("no cluster version yet")]
    NoClusterVersion,
    /// One is under way.
    #[error("a downgrade is under way")]
    InProgress,
}

/// A maintenance call that fails.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// The new leader did not begin to lead in time.
    #[error("the leader transfer took too long")]
    LeaderTransferTimeout,
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
            Failure::Fatal(
                error @ (FatalError::Write(_) | FatalError::Unreadable { .. } | FatalError::V2(_)),
            ) => Self::Maintenance(MaintenanceError::Storage(Chain(&error).to_string())),
        }
    }
}
