//! Transactions: which list is done, and what it answers.
//!
//! All compares, nested ones too, are of the state before; then the operations run in order, and a
//! read among them sees the writes before it.

use std::cmp::Ordering;

use super::{State, States, Writing};
use crate::{
    Compare, Comparison, KeyValue, Operand, Refusal, TxnOp, TxnOpResponse, TxnRequest, TxnResponse,
};

/// Runs a transaction. If it is refused, what it changed so far is of no account.
pub(super) fn run(
    writing: &mut Writing,
    past: &States,
    txn: &TxnRequest,
) -> Result<TxnResponse, Refusal> {
    let before = writing.state.clone();
    run_on(writing, past, &before, txn)
}

fn run_on(
    writing: &mut Writing,
    past: &States,
    before: &State,
    txn: &TxnRequest,
) -> Result<TxnResponse, Refusal> {
    let succeeded = txn.compares.iter().all(|compare| holds(before, compare));
    let ops = if succeeded {
        &txn.success
    } else {
        &txn.failure
    };
    let mut responses = Vec::with_capacity(ops.len());
    for op in ops {
        responses.push(match op {
            TxnOp::Range(range) => TxnOpResponse::Range(writing.range(past, range)?),
            TxnOp::Put(put) => TxnOpResponse::Put(writing.put_answer(put)?),
            TxnOp::DeleteRange(delete) => TxnOpResponse::DeleteRange(writing.delete_range(delete)),
            TxnOp::Txn(txn) => TxnOpResponse::Txn(run_on(writing, past, before, txn)?),
        });
    }
    Ok(TxnResponse {
        succeeded,
        responses,
    })
}

/// Whether a condition holds for all keys of its range. If there is none it is of zeros, but no
/// condition on a value holds then.
fn holds(state: &State, compare: &Compare) -> bool {
    let mut found = state.scan(&compare.range).peekable();
    if found.peek().is_none() {
        let is_of_value = matches!(compare.operand, Operand::Value(_));
        return !is_of_value && holds_for(&KeyValue::default(), compare);
    }
    found.all(|kv| holds_for(kv, compare))
}

fn holds_for(kv: &KeyValue, compare: &Compare) -> bool {
    let order = match &compare.operand {
        Operand::Version(version) => kv.version.cmp(version),
        Operand::Create(revision) => kv.create_revision.0.cmp(revision),
        Operand::Mod(revision) => kv.mod_revision.0.cmp(revision),
        Operand::Value(value) => kv.value.cmp(value),
        Operand::Lease(lease) => kv.lease.unwrap_or_default().0.cmp(lease),
    };
    match compare.is {
        Comparison::Equal => order == Ordering::Equal,
        Comparison::Greater => order == Ordering::Greater,
        Comparison::Less => order == Ordering::Less,
        Comparison::NotEqual => order != Ordering::Equal,
    }
}
