//! Where in the order of revisions an operation's answer puts it.

use crate::{Operation, Outcome, Request, Response, Revision, TxnOpResponse, TxnResponse};

/// An operation's place among the revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It made this revision.
    Made(Revision),
    /// It made this revision, or it came after it and found nothing to do.
    MadeOrAfter(Revision),
    /// It came after this revision and before the next.
    After(Revision),
    /// It read this revision, at any time once that was there.
    Of(Revision),
    /// It may have made any revision since it was called, or none.
    Open,
    /// It has none.
    Nowhere,
}

impl Place {
    /// The place that the answer names, or what is wrong with the answer.
    pub(crate) fn of(op: &Operation) -> Result<Self, String> {
        let answer = match &op.outcome {
            Outcome::Ok(answer) => answer,
            Outcome::Unknown { .. } if op.request.may_write() => return Ok(Self::Open),
            Outcome::Unknown { .. } | Outcome::Refused { .. } => return Ok(Self::Nowhere),
        };
        let place: fn(Revision) -> Self = match (&op.request, &answer.body) {
            (Request::Put(_), Response::Put(_)) => Self::Made,
            (Request::Range(request), Response::Range(_)) if request.serializable => Self::Of,
            (Request::Range(_), Response::Range(_)) => Self::After,
            (Request::DeleteRange(_), Response::DeleteRange(done)) if done.deleted > 0 => {
                Self::Made
            }
            (Request::DeleteRange(_), Response::DeleteRange(_)) => Self::After,
            (Request::Txn(_), Response::Txn(done)) if wrote(done) => Self::Made,
            (Request::Txn(txn), Response::Txn(_)) if txn.is_serializable() => Self::Of,
            (Request::Txn(_), Response::Txn(_))
            | (Request::Compact(_), Response::Done)
            | (Request::LeaseGrant { .. }, Response::LeaseGrant { .. })
            | (Request::Lock { .. }, Response::Lock(_)) => Self::After,
            (Request::LeaseRevoke(_) | Request::Unlock(_), Response::Done) => Self::MadeOrAfter,
            (Request::LeaseKeepAlive(_), Response::LeaseKeepAlive(_))
            | (Request::LeaseTimeToLive { .. }, Response::LeaseTimeToLive { .. })
            | (Request::HashKv(_), Response::HashKv(_))
            | (Request::Other(_), _) => return Ok(Self::Nowhere),
            (request, body) => return Err(format!("`{request}` was answered with `{body}`")),
        };
        match answer.revision {
            Some(revision) if revision >= Revision::FRESH => Ok(place(revision)),
            Some(revision) => Err(format!("there is no revision {revision}")),
            None => Err("the answer has no revision".to_owned()),
        }
    }
}

/// Whether an answer to a transaction says that it changed something.
fn wrote(done: &TxnResponse) -> bool {
    done.responses.iter().any(|response| match response {
        TxnOpResponse::Range(_) => false,
        TxnOpResponse::Put(_) => true,
        TxnOpResponse::DeleteRange(done) => done.deleted > 0,
        TxnOpResponse::Txn(done) => wrote(done),
    })
}
