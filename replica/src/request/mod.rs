//! Requests as the server works with them: parsed once, before the log.
//!
//! Wire messages carry sentinels (revision 0, lease 0, `range_end` `"\0"`) and can be malformed. Each
//! file here turns one of them into a type that cannot be, or into a [`RequestError`]. The apply loop
//! parses log entries through the same functions, so that API and log never disagree. Nothing here
//! reads the store.

mod compare;
mod delete_range;
mod key_spans;
mod put;
mod range;
mod txn;

pub use compare::{Compare, Relation, Target};
pub use delete_range::DeleteRange;
pub use put::{Put, Set};
pub use range::{NegativeRevision, Range};
pub use txn::{Operation, Txn};

/// A request that is refused before it is looked at any further.
///
/// The texts that clients see are etcd's; they live in the server's `status.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A key is empty.
    #[error("a key is empty")]
    EmptyKey,
    /// A put is of a key that is the server's own.
    #[error("the key is the server's own")]
    ReservedKey,
    /// A put says to keep the value and brings one.
    #[error("ignore_value is set and a value is given")]
    ValueProvided,
    /// A put says to keep the lease and names one.
    #[error("ignore_lease is set and a lease is given")]
    LeaseProvided,
    /// A sort order or target that the protocol does not know.
    #[error("unknown sort order or sort target")]
    InvalidSortOption,
    /// More operations or compares than one transaction may have.
    #[error("{operations} operations where {operations_max} are allowed")]
    TooManyOperations {
        /// The largest of the numbers of compares, success and failure operations.
        operations: usize,
        /// What is left of `--max-txn-ops` at this level.
        operations_max: usize,
    },
    /// Two puts, or a put and a delete, of one branch meet in a key.
    #[error("a key is written twice in one transaction")]
    DuplicateKey,
    /// An operation of a transaction is of no kind.
    #[error("an operation of the transaction is empty")]
    EmptyOperation,
    /// The request, as the log would store it, is over `--max-request-bytes`.
    #[error("the request has {bytes} bytes where {bytes_max} are allowed")]
    TooLarge {
        /// Its encoded length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
}
