//! What a rule expects of an answer.

use std::fmt::Debug;

use anyhow::{Result, bail, ensure};
use tonic::{Code, Status};

/// An error as clients see it.
pub(super) type Refusal = (Code, &'static str);

pub(super) const COMPACTED: Refusal = (
    Code::OutOfRange,
    "etcdserver: mvcc: required revision has been compacted",
);
pub(super) const FUTURE: Refusal = (
    Code::OutOfRange,
    "etcdserver: mvcc: required revision is a future revision",
);
pub(super) const EMPTY_KEY: Refusal = (Code::InvalidArgument, "etcdserver: key is not provided");
pub(super) const KEY_NOT_FOUND: Refusal = (Code::InvalidArgument, "etcdserver: key not found");
pub(super) const DUPLICATE_KEY: Refusal = (
    Code::InvalidArgument,
    "etcdserver: duplicate key given in txn request",
);
pub(super) const LEASE_NOT_FOUND: Refusal =
    (Code::NotFound, "etcdserver: requested lease not found");
pub(super) const DENIED: Refusal = (Code::PermissionDenied, "etcdserver: permission denied");

/// Fails unless both are equal.
pub(super) fn same<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Result<()> {
    ensure!(
        found == expected,
        "{what}: {found:?} instead of {expected:?}"
    );
    Ok(())
}

/// Fails unless an answer is this error.
pub(super) fn refused<T: Debug>(
    what: &str,
    answer: Result<T, Status>,
    expected: Refusal,
) -> Result<()> {
    match answer {
        Ok(answer) => bail!("{what}: answered {answer:?} instead of {expected:?}"),
        Err(status) => same(what, &(status.code(), status.message()), &expected),
    }
}
