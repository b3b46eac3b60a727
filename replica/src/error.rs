//! Why a log entry is refused. What clients are told is the server's business.

use cairn_auth::AuthError;

use crate::membership::MembershipError;
use crate::request::RequestError;

/// A log entry that every member refuses in the same way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A put keeps the value or lease of a key that does not exist.
    #[error("key not found")]
    KeyNotFound,
    /// A put names a lease that does not exist.
    #[error("lease not found")]
    LeaseNotFound,
    /// A lease is granted under an id that is taken.
    #[error("lease exists")]
    LeaseExists,
    /// A lease is to live longer than any may.
    #[error("time to live too large")]
    LeaseTtlTooLarge,
    /// The term in which a leader decided this has ended.
    #[error("the term has ended")]
    TermEnded,
    /// A range in a transaction, or a compaction, asks for a revision that is gone.
    #[error("the revision has been compacted")]
    Compacted,
    /// A range in a transaction, or a compaction, asks for a revision to come.
    #[error("the revision is in the future")]
    Future,
    /// The space alarm is on.
    #[error("the database is over its quota")]
    NoSpace,
    /// The corruption alarm is on.
    #[error("the cluster is corrupt")]
    Corrupt,
    /// A change of the members that cannot be made.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The entry is of a kind that this version does not know, or is malformed.
    #[error("the log entry cannot be applied by this version")]
    Unsupported,
    /// The rules of users and roles refuse it.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// An entry that breaks the rules of the API: none of this version wrote it.
    #[error(transparent)]
    Malformed(#[from] RequestError),
}
