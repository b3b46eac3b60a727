//! A request of a client, done to the model.

use super::{State, States, Writing};
use crate::{Data, KeyRange, LeaseId, PutRequest, Refusal, Request, Response};

/// The key that stands for a session in a lock's queue, as etcd names it.
pub(crate) fn lock_key(name: &Data, lease: LeaseId) -> Data {
    let mut key = name.as_slice().to_vec();
    key.extend(format!("/{:x}", lease.0).bytes());
    key.into()
}

/// Does a request to a state; `past` holds all states until then. The answer is there if the model
/// knows it: it knows nothing of clocks, terms and hashes.
pub(crate) fn perform(
    past: &States,
    state: &State,
    request: &Request,
) -> Result<(Writing, Option<Response>), Refusal> {
    let mut writing = Writing::on(state);
    let answer = match request {
        Request::Range(range) => Some(Response::Range(writing.range(past, range)?)),
        Request::Put(put) => Some(Response::Put(writing.put_answer(put)?)),
        Request::DeleteRange(delete) => Some(Response::DeleteRange(writing.delete_range(delete))),
        Request::Txn(txn) => Some(Response::Txn(writing.txn(past, txn)?)),
        Request::LeaseRevoke(lease) => {
            writing.end_lease(*lease);
            Some(Response::Done)
        }
        Request::Unlock(key) => {
            writing.delete(&KeyRange::One(key.clone()));
            Some(Response::Done)
        }
        Request::Lock { name, lease } => {
            let mut put = PutRequest::new(lock_key(name, *lease), "");
            put.lease = Some(*lease);
            if state.key(&put.key).is_none() {
                writing.put(&put)?;
            }
            None
        }
        Request::Compact(_)
        | Request::LeaseGrant { .. }
        | Request::LeaseKeepAlive(_)
        | Request::LeaseTimeToLive { .. }
        | Request::HashKv(_)
        | Request::Other(_) => None,
    };
    Ok((writing, answer))
}
