//! Who is told that he holds a lock is the oldest that waits for it.
//!
//! That is all a lock can promise: that its holder's key was there and had the lowest create revision of
//! the queue at the revision of the answer. Whoever acts on it later must carry that revision
//! along, for the lease may have ended since. Whoever does so, and writes only while the holder's key
//! still has that revision, writes alone: no holder's write comes after one of a later holder.

use super::order::Order;
use crate::model::lock_key;
use crate::timeline::Concerned;
use crate::verdict::{Rule, Verdict};
use crate::{
    Comparison, Data, History, KeyRange, OpId, Operand, Operation, Request, Response, Revision,
};

/// Checks all locks that were granted.
pub(super) fn check(history: &History, order: &Order, verdict: &mut Verdict) {
    for (id, op) in history.ops.iter().enumerate() {
        if let Some((text, concerned)) = wrong(op, order) {
            let text = format!("{} {text}", OpId(id));
            verdict.violation(history, Rule::Lock, text, &concerned.op(OpId(id)));
        }
    }
}

/// Looks at all that was written behind fences: transactions that compare the create revision of one
/// key with that of their holder.
pub(super) fn check_fences(history: &History, verdict: &mut Verdict) {
    let fenced = history.ops.iter().enumerate();
    let mut fenced: Vec<_> = fenced
        .filter_map(|(id, op)| fenced_by(op).map(|(lock, token, at)| (lock, at, token, OpId(id))))
        .collect();
    fenced.sort();
    for pair in fenced.windows(2) {
        let [(lock, _, before, earlier), (same, _, token, id)] = pair else {
            continue;
        };
        if lock == same && token < before {
            let text = format!(
                "{id} wrote as holder {token} of {lock}, after {earlier} had as holder {before}"
            );
            let concerned = Concerned::default().ops([*earlier, *id]);
            verdict.violation(history, Rule::Lock, text, &concerned);
        }
    }
}

/// The lock behind which an operation wrote, the holder's token, and the revision.
fn fenced_by(op: &Operation) -> Option<(&Data, i64, Revision)> {
    let (Request::Txn(txn), Some(answer)) = (&op.request, op.outcome.answer()) else {
        return None;
    };
    let Response::Txn(done) = &answer.body else {
        return None;
    };
    let [compare] = txn.compares.as_slice() else {
        return None;
    };
    match (&compare.range, compare.is, &compare.operand) {
        (KeyRange::One(lock), Comparison::Equal, Operand::Create(token))
            if *token > 0 && done.succeeded && txn.may_write() =>
        {
            Some((lock, *token, answer.revision?))
        }
        _ => None,
    }
}

fn wrong(op: &Operation, order: &Order) -> Option<(String, Concerned)> {
    let Request::Lock { name, lease } = &op.request else {
        return None;
    };
    let answer = op.outcome.answer()?;
    let Response::Lock(key) = &answer.body else {
        return None;
    };
    let none = Concerned::default();
    if *key != lock_key(name, *lease) {
        return Some((format!("answered with {key}, another's key"), none));
    }
    let revision = answer.revision?;
    let state = order.states.at(revision)?;
    let Some(held) = state.key(key) else {
        let text = format!("holds {name} by {key}, which is not there at revision {revision}");
        return Some((text, none.ops(order.op(revision))));
    };
    let mut queue = name.as_slice().to_vec();
    queue.push(b'/');
    let range = KeyRange::prefix(Data::from(queue));
    let mut others = state.scan(&range);
    let older = others.find(|other| other.create_revision < held.create_revision)?;
    let text = format!(
        "holds {name} by {held} at revision {revision}, but {older} is older and still there"
    );
    let writers = [held, older].map(|kv| order.op(kv.create_revision));
    Some((text, none.ops(writers.into_iter().flatten())))
}
