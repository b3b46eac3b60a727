//! Who is told that he holds a lock is the oldest that waits for it.
//!
//! That is all a lock can promise: that its holder's key was there and had the lowest create revision of
//! the queue at the revision of the answer. Whoever acts on it later must carry that revision
//! along, for the lease may have ended since.

use super::order::Order;
use crate::model::lock_key;
use crate::timeline::Concerned;
use crate::verdict::{Rule, Verdict};
use crate::{Data, History, KeyRange, OpId, Operation, Request, Response};

/// Checks all locks that were granted.
pub(super) fn check(history: &History, order: &Order, verdict: &mut Verdict) {
    for (id, op) in history.ops.iter().enumerate() {
        if let Some((text, concerned)) = wrong(op, order) {
            let text = format!("{} {text}", OpId(id));
            verdict.violation(history, Rule::Lock, text, &concerned.op(OpId(id)));
        }
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
