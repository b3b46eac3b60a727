//! Requests of the second API.

use cairn_mvcc::{Change, WriteBatch};
use cairn_v2::{ErrorKind, Method, Request, Stats};

use super::applier::NeedsSpace;
use super::{Failure, FatalError, Outcome};
use crate::error::ApplyError;

/// Whether a request makes the database larger.
pub(super) fn needs_space(request: &Request) -> NeedsSpace {
    match request.method() {
        Ok(Method::Put | Method::Post) => NeedsSpace::Yes,
        Ok(Method::Delete | Method::Sync) | Err(_) => NeedsSpace::No,
    }
}

/// Carries a request out: one transaction, or one for each node that has expired. No leases are
/// attached to what it writes.
pub(super) fn apply(
    request: &Request,
    batch: &mut WriteBatch<'_>,
    stats: &Stats,
    changes: &mut Vec<Change>,
) -> Result<Outcome, Failure> {
    let operation = request.operation().map_err(|_| ApplyError::Unsupported)?;
    let time = request.made_at();
    let Some(operation) = operation else {
        let mut each = |expired: cairn_mvcc::Committed| changes.extend(expired.changes);
        cairn_v2::expire(time, batch, stats, &mut each).map_err(FatalError::from)?;
        return Ok(Outcome::Done);
    };
    let path = match request.node() {
        Ok(path) => path,
        Err(deep) => {
            let index = batch.current().number();
            let refused = ErrorKind::InvalidField.about(deep.to_string(), index);
            return Ok(Outcome::V2(Err(refused)));
        }
    };
    let mut txn = batch.txn();
    let done = cairn_v2::apply(operation, &path, time, &mut txn, stats);
    changes.extend(txn.end().changes);
    match done {
        Ok(done) => Ok(Outcome::V2(Ok(done))),
        Err(cairn_v2::Failure::Refused(refused)) => Ok(Outcome::V2(Err(refused))),
        Err(cairn_v2::Failure::Storage(error)) => Err(FatalError::from(error).into()),
    }
}
