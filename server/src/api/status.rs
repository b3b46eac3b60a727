//! The one place where errors become what clients see: etcd's codes and etcd's exact texts.
//!
//! Clients compare the texts, so they are part of the interface (etcd's `rpctypes`). Every match here
//! is exhaustive: an error without a code does not compile.

use cairn_auth::AuthError;
use cairn_mvcc::ReadError;
use tonic::{Code, Status};

use crate::logging::Chain;
use crate::member::error::{
    ApplyError, DowngradeError, Error, MaintenanceError, NOT_LEADER_TEXT, ProposeError,
    ReconfigurationError,
};
use cairn_replica::membership::MembershipError;
use cairn_replica::request::RequestError;

/// A code and a text of etcd's.
type Wire = (Code, &'static str);

const KEY_NOT_FOUND: Wire = (Code::InvalidArgument, "etcdserver: key not found");
const COMPACTED: Wire = (
    Code::OutOfRange,
    "etcdserver: mvcc: required revision has been compacted",
);
const FUTURE: Wire = (
    Code::OutOfRange,
    "etcdserver: mvcc: required revision is a future revision",
);
const NO_SPACE: Wire = (
    Code::ResourceExhausted,
    "etcdserver: mvcc: database space exceeded",
);
/// etcd declares this one `ResourceExhausted`, yet it has always reached the wire as `Unknown`.
const TOO_MANY_REQUESTS: Wire = (Code::Unknown, "etcdserver: too many requests");

/// etcd declares this one `FailedPrecondition`; it too has always been `Unknown` on the wire.
const NOT_ENOUGH_STARTED: Wire = (
    Code::Unknown,
    "etcdserver: re-configuration failed due to not enough started members",
);
const NOT_LEADER: Wire = (Code::FailedPrecondition, NOT_LEADER_TEXT);

/// An error that clients know by a code and a text.
trait OnWire {
    /// Its code and text.
    fn wire(&self) -> Wire;
}

impl OnWire for RequestError {
    fn wire(&self) -> Wire {
        match self {
            Self::EmptyKey => (Code::InvalidArgument, "etcdserver: key is not provided"),
            Self::ReservedKey => (Code::InvalidArgument, "etcdserver: key is reserved"),
            Self::ValueProvided => (Code::InvalidArgument, "etcdserver: value is provided"),
            Self::LeaseProvided => (Code::InvalidArgument, "etcdserver: lease is provided"),
            Self::InvalidSortOption => (Code::InvalidArgument, "etcdserver: invalid sort option"),
            Self::TooManyOperations { .. } => (
                Code::InvalidArgument,
                "etcdserver: too many operations in txn request",
            ),
            Self::DuplicateKey => (
                Code::InvalidArgument,
                "etcdserver: duplicate key given in txn request",
            ),
            Self::EmptyOperation => KEY_NOT_FOUND,
            Self::TooLarge { .. } => (Code::InvalidArgument, "etcdserver: request is too large"),
        }
    }
}

impl OnWire for ProposeError {
    fn wire(&self) -> Wire {
        match self {
            Self::NoLeader => (Code::Unavailable, "etcdserver: no leader"),
            Self::LeaderChanged => (Code::Unavailable, "etcdserver: leader changed"),
            Self::Stopped => (Code::Unavailable, "etcdserver: server stopped"),
            Self::Timeout => (Code::Unavailable, "etcdserver: request timed out"),
            Self::TimeoutLeaderFailed => (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to previous leader failure",
            ),
            Self::TimeoutConnectionLost => (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to connection lost",
            ),
            Self::TooManyRequests => TOO_MANY_REQUESTS,
            Self::NoSpace => NO_SPACE,
        }
    }
}

impl OnWire for ApplyError {
    fn wire(&self) -> Wire {
        match self {
            Self::KeyNotFound => KEY_NOT_FOUND,
            Self::LeaseNotFound => (Code::NotFound, "etcdserver: requested lease not found"),
            Self::LeaseExists => (Code::FailedPrecondition, "etcdserver: lease already exists"),
            Self::LeaseTtlTooLarge => (Code::OutOfRange, "etcdserver: too large lease TTL"),
            Self::TermEnded => (Code::Unavailable, "etcdserver: leader changed"),
            Self::Compacted => COMPACTED,
            Self::Future => FUTURE,
            Self::NoSpace => NO_SPACE,
            Self::Corrupt => (Code::DataLoss, "etcdserver: corrupt cluster"),
            Self::Unsupported => (Code::FailedPrecondition, "etcdserver: not capable"),
            Self::Auth(error) => error.wire(),
            Self::Malformed(error) => error.wire(),
            Self::Membership(error) => error.wire(),
        }
    }
}

impl OnWire for MembershipError {
    fn wire(&self) -> Wire {
        match self {
            Self::IdRemoved | Self::IdNotFound | Self::Malformed => {
                (Code::NotFound, "etcdserver: member not found")
            }
            Self::IdExists => (
                Code::FailedPrecondition,
                "etcdserver: member ID already exist",
            ),
            Self::PeerUrlExists => (
                Code::FailedPrecondition,
                "etcdserver: Peer URLs already exists",
            ),
            Self::NotLearner => (
                Code::FailedPrecondition,
                "etcdserver: can only promote a learner member",
            ),
            Self::TooManyLearners => (
                Code::FailedPrecondition,
                "etcdserver: too many learner members in cluster",
            ),
            Self::LastVoter => NOT_ENOUGH_STARTED,
        }
    }
}

impl OnWire for ReconfigurationError {
    fn wire(&self) -> Wire {
        match self {
            Self::BadUrls => (
                Code::InvalidArgument,
                "etcdserver: given member URLs are invalid",
            ),
            Self::NotEnoughStarted => NOT_ENOUGH_STARTED,
            Self::Unhealthy => (Code::Unavailable, "etcdserver: unhealthy cluster"),
            Self::NotLeader => NOT_LEADER,
            Self::LearnerNotReady => (
                Code::FailedPrecondition,
                "etcdserver: can only promote a learner member which is in sync with leader",
            ),
        }
    }
}

impl OnWire for DowngradeError {
    fn wire(&self) -> Wire {
        match self {
            Self::WrongFormat => (
                Code::InvalidArgument,
                "etcdserver: wrong downgrade target version format",
            ),
            Self::InvalidTarget => (
                Code::InvalidArgument,
                "etcdserver: invalid downgrade target version",
            ),
            Self::NoClusterVersion => (
                Code::FailedPrecondition,
                "etcdserver: cluster version not found during downgrade",
            ),
            Self::InProgress => (
                Code::FailedPrecondition,
                "etcdserver: cluster has a downgrade job in progress",
            ),
        }
    }
}

impl OnWire for AuthError {
    fn wire(&self) -> Wire {
        use Code::{FailedPrecondition, InvalidArgument};
        match self {
            Self::RootUserNotExist => (FailedPrecondition, "etcdserver: root user does not exist"),
            Self::RootRoleNotExist => (
                FailedPrecondition,
                "etcdserver: root user does not have root role",
            ),
            Self::UserAlreadyExist => (FailedPrecondition, "etcdserver: user name already exists"),
            Self::UserEmpty => (InvalidArgument, "etcdserver: user name is empty"),
            Self::UserNotFound => (FailedPrecondition, "etcdserver: user name not found"),
            Self::RoleAlreadyExist => (FailedPrecondition, "etcdserver: role name already exists"),
            Self::RoleNotFound => (FailedPrecondition, "etcdserver: role name not found"),
            Self::RoleEmpty => (InvalidArgument, "etcdserver: role name is empty"),
            // etcd's engine takes longer keys.
            Self::NameTooLong { .. } => (
                InvalidArgument,
                "etcdserver: a user or role name has more than 511 bytes",
            ),
            Self::PermissionNotGiven => (InvalidArgument, "etcdserver: permission not given"),
            Self::AuthFailed => (
                InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password",
            ),
            // etcd has no code for it, so its inner text gets out.
            Self::NoPasswordUser => (
                Code::Unknown,
                "auth: authentication failed, password was given for no password user",
            ),
            Self::PermissionDenied => (Code::PermissionDenied, "etcdserver: permission denied"),
            Self::RoleNotGranted => (
                FailedPrecondition,
                "etcdserver: role is not granted to the user",
            ),
            Self::PermissionNotGranted => (
                FailedPrecondition,
                "etcdserver: permission is not granted to the role",
            ),
            Self::AuthNotEnabled => (
                FailedPrecondition,
                "etcdserver: authentication is not enabled",
            ),
            Self::AuthOldRevision => (InvalidArgument, "etcdserver: revision of auth store is old"),
            Self::InvalidAuthToken => (Code::Unauthenticated, "etcdserver: invalid auth token"),
            Self::InvalidAuthMgmt => (InvalidArgument, "etcdserver: invalid auth management"),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (code, text) = match &error {
            Error::Leader(status) => return status.clone(),
            Error::Request(error) => error.wire(),
            Error::Propose(error) => error.wire(),
            Error::Apply(error) => error.wire(),
            Error::Auth(error) => error.wire(),
            // etcd lets the inner text out.
            Error::Credential(error) => return Self::new(Code::Unknown, error.to_string()),
            Error::Read(ReadError::Compacted { .. }) => COMPACTED,
            Error::Read(ReadError::Future { .. }) => FUTURE,
            // Storage is at fault: the process is about to stop.
            Error::Read(
                error @ (ReadError::Missing(_)
                | ReadError::MalformedKv(_)
                | ReadError::InvalidKey(_)
                | ReadError::Backend(_)),
            ) => return Self::new(Code::Unknown, Chain(error).to_string()),
            Error::Maintenance(MaintenanceError::LeaderTransferTimeout) => (
                Code::Unavailable,
                "etcdserver: request timed out, leader transfer took too long",
            ),
            Error::Maintenance(MaintenanceError::BadLeaderTransferee) => (
                Code::FailedPrecondition,
                "etcdserver: bad leader transferee",
            ),
            Error::Maintenance(MaintenanceError::NotLeader) => NOT_LEADER,
            Error::NotForLearner => (
                Code::FailedPrecondition,
                "etcdserver: rpc not supported for learner",
            ),
            Error::Reconfiguration(error) => error.wire(),
            Error::Downgrade(error) => error.wire(),
            Error::Maintenance(MaintenanceError::Storage(error)) => {
                return Self::new(Code::Unknown, error.clone());
            }
        };
        Self::new(code, text)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cairn_backend::{CommitError, Poisoned};
    use cairn_mvcc::WriteError;
    use cairn_replica::apply::{Failure, FatalError};

    use super::*;

    #[test]
    fn every_text_carries_etcds_prefix_and_no_two_errors_share_code_and_text_by_accident() {
        let requests = [
            RequestError::EmptyKey,
            RequestError::ReservedKey,
            RequestError::ValueProvided,
            RequestError::LeaseProvided,
            RequestError::InvalidSortOption,
            RequestError::TooManyOperations {
                operations: 2,
                operations_max: 1,
            },
            RequestError::DuplicateKey,
            RequestError::EmptyOperation,
            RequestError::TooLarge {
                bytes: 2,
                bytes_max: 1,
            },
        ];
        let mut texts: Vec<_> = requests.iter().map(OnWire::wire).collect();
        assert!(
            texts
                .iter()
                .all(|(_, text)| text.starts_with("etcdserver: "))
        );
        assert!(texts.iter().all(|(code, _)| *code == Code::InvalidArgument));
        texts.sort_by_key(|(_, text)| *text);
        texts.dedup_by_key(|(_, text)| *text);
        assert_eq!(texts.len(), requests.len());
    }

    /// Where storage is at fault, clients see all of it: they have no log of this member.
    #[test]
    fn what_fails_in_storage_is_told_with_its_causes() {
        const SAID: &str = "No space left on device (os error 28)";
        let full = || std::io::Error::from_raw_os_error(28);
        let poisoned = Poisoned {
            cause: Arc::new(CommitError::Swap {
                path: "/data/db".into(),
                source: full(),
            }),
        };
        let unread = || ReadError::Backend(cairn_backend::ReadError::Lmdb(full().into()));
        let unwritten = Failure::Fatal(FatalError::Write(WriteError::Poisoned(poisoned)));
        for (error, parts) in [
            (Error::from(unwritten), ["/data/db", SAID]),
            (Error::from(unread()), ["cannot read the database", SAID]),
            (
                Error::from(Failure::Fatal(FatalError::Read(unread()))),
                ["cannot read the database", SAID],
            ),
        ] {
            let status = Status::from(error);
            for part in parts {
                assert!(status.message().contains(part), "{part}: {status:?}");
            }
        }
    }

    #[test]
    fn too_many_requests_reaches_the_wire_as_unknown() {
        let status = Status::from(Error::from(ProposeError::TooManyRequests));
        assert_eq!(status.code(), Code::Unknown);
        assert_eq!(status.message(), "etcdserver: too many requests");
    }
}
