//! etcd's errors by name: their texts are part of its interface, and here is where they are read.

/// A gRPC status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "gRPC's names, in gRPC's order")]
pub enum Code {
    Ok,
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl Code {
    /// Reads a code as it is on the wire; numbers without a name are [`Code::Unknown`], as in gRPC.
    #[must_use]
    pub fn from_number(number: i32) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::Cancelled,
            3 => Self::InvalidArgument,
            4 => Self::DeadlineExceeded,
            5 => Self::NotFound,
            6 => Self::AlreadyExists,
            7 => Self::PermissionDenied,
            8 => Self::ResourceExhausted,
            9 => Self::FailedPrecondition,
            10 => Self::Aborted,
            11 => Self::OutOfRange,
            12 => Self::Unimplemented,
            13 => Self::Internal,
            14 => Self::Unavailable,
            15 => Self::DataLoss,
            16 => Self::Unauthenticated,
            _ => Self::Unknown,
        }
    }

    /// The code as it is on the wire.
    #[must_use]
    pub fn number(self) -> i32 {
        self as i32
    }

    /// The name as Go's client prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Cancelled => "Canceled",
            Self::Unknown => "Unknown",
            Self::InvalidArgument => "InvalidArgument",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::PermissionDenied => "PermissionDenied",
            Self::ResourceExhausted => "ResourceExhausted",
            Self::FailedPrecondition => "FailedPrecondition",
            Self::Aborted => "Aborted",
            Self::OutOfRange => "OutOfRange",
            Self::Unimplemented => "Unimplemented",
            Self::Internal => "Internal",
            Self::Unavailable => "Unavailable",
            Self::DataLoss => "DataLoss",
            Self::Unauthenticated => "Unauthenticated",
        }
    }
}

/// Declares the enum and both ways between a name and its text.
macro_rules! etcd_errors {
    ($($(#[$doc:meta])+ $name:ident = $code:ident, $text:literal;)+) => {
        /// What etcd says went wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum EtcdError {
            $($(#[$doc])+ $name,)+
        }

        impl EtcdError {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The error that a server means by a text.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$name),)+
                    _ => None,
                }
            }

            /// The text on the wire.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// The code that etcd declares for it. On the wire some come as [`Code::Unknown`].
            #[must_use]
            pub fn code(self) -> Code {
                match self {
                    $(Self::$name => Code::$code,)+
                }
            }
        }
    };
}

etcd_errors! {
    /// A request without a key.
    EmptyKey = InvalidArgument, "etcdserver: key is not provided";
    /// `ignore_value` or `ignore_lease` for a key that is not there.
    KeyNotFound = InvalidArgument, "etcdserver: key not found";
    /// `ignore_value` together with a value.
    ValueProvided = InvalidArgument, "etcdserver: value is provided";
    /// `ignore_lease` together with a lease.
    LeaseProvided = InvalidArgument, "etcdserver: lease is provided";
    /// A transaction larger than `--max-txn-ops`.
    TooManyOps = InvalidArgument, "etcdserver: too many operations in txn request";
    /// A transaction that writes one key twice.
    DuplicateKey = InvalidArgument, "etcdserver: duplicate key given in txn request";
    /// The client names a version that the server cannot read.
    InvalidClientApiVersion = InvalidArgument, "etcdserver: invalid client api version";
    /// A sort order that is none.
    InvalidSortOption = InvalidArgument, "etcdserver: invalid sort option";
    /// The revision asked for is compacted.
    Compacted = OutOfRange, "etcdserver: mvcc: required revision has been compacted";
    /// The revision asked for is yet to come.
    FutureRevision = OutOfRange, "etcdserver: mvcc: required revision is a future revision";
    /// The quota is used up: only reads and deletions are served.
    NoSpace = ResourceExhausted, "etcdserver: mvcc: database space exceeded";
    /// No such lease: it ended, or was never granted.
    LeaseNotFound = NotFound, "etcdserver: requested lease not found";
    /// A lease of that number is there already.
    LeaseExists = FailedPrecondition, "etcdserver: lease already exists";
    /// A time to live beyond etcd's limit.
    LeaseTtlTooLarge = OutOfRange, "etcdserver: too large lease TTL";
    /// The server ended the watch.
    WatchCancelled = Cancelled, "etcdserver: watch canceled";
    /// A member of that number is there already.
    MemberExists = FailedPrecondition, "etcdserver: member ID already exist";
    /// A member with these peer URLs is there already.
    PeerUrlExists = FailedPrecondition, "etcdserver: Peer URLs already exists";
    /// A change of members that could cost the quorum.
    MemberNotEnoughStarted = FailedPrecondition, "etcdserver: re-configuration failed due to not enough started members";
    /// URLs that are none.
    MemberBadUrls = InvalidArgument, "etcdserver: given member URLs are invalid";
    /// No such member.
    MemberNotFound = NotFound, "etcdserver: member not found";
    /// Only a learner can be promoted.
    MemberNotLearner = FailedPrecondition, "etcdserver: can only promote a learner member";
    /// The learner is too far behind to be promoted.
    LearnerNotReady = FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader";
    /// The cluster has as many learners as it may have.
    TooManyLearners = FailedPrecondition, "etcdserver: too many learner members in cluster";
    /// A member of another cluster.
    ClusterIdMismatch = FailedPrecondition, "etcdserver: cluster ID mismatch";
    /// A request larger than `--max-request-bytes`.
    RequestTooLarge = InvalidArgument, "etcdserver: request is too large";
    /// The server is behind with what it has accepted: nothing was done.
    TooManyRequests = ResourceExhausted, "etcdserver: too many requests";
    /// Auth cannot be enabled without a user root.
    RootUserMissing = FailedPrecondition, "etcdserver: root user does not exist";
    /// Auth cannot be enabled without the role root.
    RootRoleMissing = FailedPrecondition, "etcdserver: root user does not have root role";
    /// A user of that name is there already.
    UserExists = FailedPrecondition, "etcdserver: user name already exists";
    /// A request without a user.
    UserEmpty = InvalidArgument, "etcdserver: user name is empty";
    /// No such user.
    UserNotFound = FailedPrecondition, "etcdserver: user name not found";
    /// A role of that name is there already.
    RoleExists = FailedPrecondition, "etcdserver: role name already exists";
    /// No such role.
    RoleNotFound = FailedPrecondition, "etcdserver: role name not found";
    /// A request without a role.
    RoleEmpty = InvalidArgument, "etcdserver: role name is empty";
    /// A wrong name or password.
    AuthFailed = InvalidArgument, "etcdserver: authentication failed, invalid user ID or password";
    /// A grant without a permission.
    PermissionNotGiven = InvalidArgument, "etcdserver: permission not given";
    /// The user may not do this.
    PermissionDenied = PermissionDenied, "etcdserver: permission denied";
    /// The user does not have the role.
    RoleNotGranted = FailedPrecondition, "etcdserver: role is not granted to the user";
    /// The role does not have the permission.
    PermissionNotGranted = FailedPrecondition, "etcdserver: permission is not granted to the role";
    /// Auth is off.
    AuthNotEnabled = FailedPrecondition, "etcdserver: authentication is not enabled";
    /// The token ended, or is none of this server's.
    InvalidAuthToken = Unauthenticated, "etcdserver: invalid auth token";
    /// A change of users or roles that auth does not allow.
    InvalidAuthManagement = InvalidArgument, "etcdserver: invalid auth management";
    /// Users or roles changed while the request was on its way.
    AuthOldRevision = InvalidArgument, "etcdserver: revision of auth store is old";
    /// The member knows no leader.
    NoLeader = Unavailable, "etcdserver: no leader";
    /// Only the leader can do this.
    NotLeader = FailedPrecondition, "etcdserver: not leader";
    /// The leader changed while the request was on its way.
    LeaderChanged = Unavailable, "etcdserver: leader changed";
    /// The cluster is too old for this.
    NotCapable = FailedPrecondition, "etcdserver: not capable";
    /// The server is stopping.
    Stopped = Unavailable, "etcdserver: server stopped";
    /// The server gave up on the request.
    Timeout = Unavailable, "etcdserver: request timed out";
    /// The server gave up: the leader was lost meanwhile.
    TimeoutDueToLeaderFail = Unavailable, "etcdserver: request timed out, possibly due to previous leader failure";
    /// The server gave up: it lost others meanwhile.
    TimeoutDueToConnectionLost = Unavailable, "etcdserver: request timed out, possibly due to connection lost";
    /// The server gave up waiting to apply what is committed.
    TimeoutWaitAppliedIndex = Unavailable, "etcdserver: request timed out, waiting for the applied index took too long";
    /// Too few members are connected for a change of members.
    Unhealthy = Unavailable, "etcdserver: unhealthy cluster";
    /// The data of members differs.
    Corrupt = DataLoss, "etcdserver: corrupt cluster";
    /// A learner does not serve this.
    NotSupportedForLearner = FailedPrecondition, "etcdserver: rpc not supported for learner";
    /// The member cannot become the leader.
    BadLeaderTransferee = FailedPrecondition, "etcdserver: bad leader transferee";
    /// A version that is none.
    WrongDowngradeVersionFormat = InvalidArgument, "etcdserver: wrong downgrade target version format";
    /// A downgrade must go one minor version down.
    InvalidDowngradeTargetVersion = InvalidArgument, "etcdserver: invalid downgrade target version";
    /// The cluster has no version yet.
    ClusterVersionUnavailable = FailedPrecondition, "etcdserver: cluster version not found during downgrade";
    /// A downgrade is on its way.
    DowngradeInProcess = FailedPrecondition, "etcdserver: cluster has a downgrade job in progress";
    /// No downgrade is on its way.
    NoInflightDowngrade = FailedPrecondition, "etcdserver: no inflight downgrade job";
    /// The request was cancelled.
    RequestCancelled = Cancelled, "etcdserver: request canceled";
    /// The server saw the deadline pass.
    DeadlineExceeded = DeadlineExceeded, "etcdserver: context deadline exceeded";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_is_found_by_its_text() {
        for error in EtcdError::ALL {
            assert_eq!(EtcdError::from_text(error.text()), Some(*error));
        }
        assert_eq!(EtcdError::from_text("etcdserver: of a later version"), None);
    }

    #[test]
    fn codes_have_grpcs_numbers() {
        assert_eq!(Code::from_number(14), Code::Unavailable);
        assert_eq!(Code::from_number(99), Code::Unknown);
    }
}
