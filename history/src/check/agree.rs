//! Whether an answer is one that the model allows.
//!
//! Mostly there is one. Key-values that are equal in the order asked for may come in any order, and
//! with keys only, servers of etcd's API leave the lease out or not.

use crate::model::compare;
use crate::{
    KeyValue, RangeRequest, RangeResponse, Request, Response, TxnOp, TxnOpResponse, TxnRequest,
    TxnResponse,
};

/// Whether `seen` may stand for what the model answered.
pub(crate) fn agrees(request: &Request, model: &Response, seen: &Response) -> bool {
    match (request, model, seen) {
        (Request::Range(request), Response::Range(model), Response::Range(seen)) => {
            range_agrees(request, model, seen)
        }
        (Request::Txn(request), Response::Txn(model), Response::Txn(seen)) => {
            txn_agrees(request, model, seen)
        }
        _ => model == seen,
    }
}

fn range_agrees(request: &RangeRequest, model: &RangeResponse, seen: &RangeResponse) -> bool {
    if (model.count, model.more) != (seen.count, seen.more) || model.kvs.len() != seen.kvs.len() {
        return false;
    }
    let same = |model: &KeyValue, seen: &KeyValue| {
        let lease = request.keys_only && seen.lease.is_none();
        let lease = if lease { None } else { model.lease };
        KeyValue {
            lease,
            ..model.clone()
        } == *seen
    };
    let in_place = || model.kvs.iter().zip(&seen.kvs);
    let Some(sort) = request.sort else {
        return in_place().all(|(model, seen)| same(model, seen));
    };
    let ordered = in_place().all(|(model, seen)| compare(sort.by, model, seen).is_eq());
    // Beyond a limit, others of the same rank may have been taken.
    let known = |seen: &KeyValue| model.more || model.kvs.iter().any(|model| same(model, seen));
    let mut keys: Vec<_> = seen.kvs.iter().map(|kv| &kv.key).collect();
    keys.sort();
    keys.dedup();
    ordered && keys.len() == seen.kvs.len() && seen.kvs.iter().all(known)
}

fn txn_agrees(request: &TxnRequest, model: &TxnResponse, seen: &TxnResponse) -> bool {
    if model.succeeded != seen.succeeded || model.responses.len() != seen.responses.len() {
        return false;
    }
    let ops = if model.succeeded {
        &request.success
    } else {
        &request.failure
    };
    let answers = model.responses.iter().zip(&seen.responses);
    ops.iter()
        .zip(answers)
        .all(|(op, answers)| match (op, answers) {
            (TxnOp::Range(op), (TxnOpResponse::Range(model), TxnOpResponse::Range(seen))) => {
                range_agrees(op, model, seen)
            }
            (TxnOp::Txn(op), (TxnOpResponse::Txn(model), TxnOpResponse::Txn(seen))) => {
                txn_agrees(op, model, seen)
            }
            (_, (model, seen)) => model == seen,
        })
}
