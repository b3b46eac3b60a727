//! Transactions: choose branches, check them, then carry them out.
//!
//! The three steps are apart because etcd promises that a transaction leaves nothing behind when it
//! fails: every compare, nested ones too, is evaluated against the state before the transaction;
//! then every operation of the chosen branches is checked against that same state; only then is
//! anything written, and from there on nothing can fail but the disk.

use std::cmp::Ordering;

use bytes::Bytes;
use cairn_index::{KeyRange, Revision};
use cairn_mvcc::{
    KvFields, LeaseId, MalformedKv, RangeSummary, ReadAt, ReadError, StoredKv, WriteTxn,
};
use cairn_proto::etcdserverpb::ResponseHeader;
use cairn_proto::stored::{self, EncodedKeyValue, EncodedKvs, EncodedKvsBuilder};

use super::Failure;
use super::reader::Reader;
use crate::error::ApplyError;
use crate::request::{
    Compare, DeleteRange, NegativeRevision, Operation, Put, Range, Set, Target, Txn,
};

/// The branches that a transaction takes.
pub struct Chosen<'a> {
    /// Whether the success branch was taken.
    pub succeeded: bool,
    steps: Vec<Step<'a>>,
}

/// An operation of a branch that is taken.
enum Step<'a> {
    Range(&'a Range),
    Put(&'a Put),
    DeleteRange(&'a DeleteRange),
    Txn(Chosen<'a>),
}

/// Evaluates all compares of `txn`, level by level along the branches taken.
///
/// # Errors
///
/// [`ReadError`] if the store cannot be read.
pub fn choose<'a>(txn: &'a Txn, state: &impl Reader) -> Result<Chosen<'a>, ReadError> {
    let mut succeeded = true;
    for compare in &txn.compares {
        if !holds(compare, state)? {
            succeeded = false;
            break;
        }
    }
    let branch = if succeeded {
        &txn.success
    } else {
        &txn.failure
    };
    let steps = branch
        .iter()
        .map(|operation| {
            Ok(match operation {
                Operation::Range(range) => Step::Range(range),
                Operation::Put(put) => Step::Put(put),
                Operation::DeleteRange(delete) => Step::DeleteRange(delete),
                Operation::Txn(txn) => Step::Txn(choose(txn, state)?),
            })
        })
        .collect::<Result<_, ReadError>>()?;
    Ok(Chosen { succeeded, steps })
}

/// Whether every key of the compare's range meets its condition. A range without a key is one
/// missing key: all its numbers are 0, and its value meets no condition, not even `!=`.
fn holds(compare: &Compare, state: &impl Reader) -> Result<bool, ReadError> {
    let mut all_hold = None;
    state.each(&compare.range, &mut |kv| {
        if !matches!(all_hold, Some(Ok(false) | Err(_))) {
            let order = order(&compare.target, &kv);
            all_hold = Some(order.map(|order| compare.relation.is_met_by(order)));
        }
    })?;
    if let Some(all_hold) = all_hold {
        return Ok(all_hold?);
    }
    let missing = match &compare.target {
        Target::Value(_) => return Ok(false),
        Target::Version(operand)
        | Target::Create(operand)
        | Target::Mod(operand)
        | Target::Lease(operand) => 0.cmp(operand),
        Target::Unknown => Ordering::Equal,
    };
    Ok(compare.relation.is_met_by(missing))
}

fn order(target: &Target, kv: &StoredKv<'_>) -> Result<Ordering, MalformedKv> {
    Ok(match target {
        Target::Version(operand) => kv.version().to_wire().cmp(operand),
        Target::Create(operand) => kv.create_revision().to_wire().cmp(operand),
        Target::Mod(operand) => kv.mod_revision().to_wire().cmp(operand),
        Target::Value(operand) => kv.fields()?.value.cmp(operand.as_ref()),
        Target::Lease(operand) => kv.fields()?.lease.map_or(0, LeaseId::to_wire).cmp(operand),
        Target::Unknown => Ordering::Equal,
    })
}

impl Chosen<'_> {
    /// Checks that every operation can be carried out on `state`.
    ///
    /// # Errors
    ///
    /// The first operation's error.
    pub fn check(
        &self,
        state: &impl Reader,
        lease_exists: &impl Fn(LeaseId) -> bool,
    ) -> Result<(), Failure> {
        for step in &self.steps {
            match step {
                Step::Range(range) => check_range(range, state)?,
                Step::Put(put) => check_put(put, state, lease_exists)?,
                Step::DeleteRange(_) => {}
                Step::Txn(chosen) => chosen.check(state, lease_exists)?,
            }
        }
        Ok(())
    }

    /// Carries out a transaction that only reads, on the state that it was checked against.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn read(&self, state: &impl Reader) -> Result<stored::TxnResponse, ReadError> {
        let mut responses = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let response = match step {
                Step::Range(range) => read_range(range, state)?,
                // `Txn::is_read_only` is what lets a transaction come here.
                Step::Txn(_) | Step::Put(_) | Step::DeleteRange(_) => continue,
            };
            responses.push(stored::ResponseOp {
                response: Some(response),
            });
        }
        Ok(self.response(header(state.current()), responses))
    }

    /// Carries out a checked transaction.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if storage fails; the member must then stop, for the transaction is half done.
    pub fn write(&self, txn: &mut WriteTxn<'_, '_>) -> Result<stored::TxnResponse, ReadError> {
        let mut response = self.write_level(txn)?;
        response.header = header(txn.now());
        Ok(response)
    }

    /// The header of a nested transaction's answer is there and empty, as etcd has it.
    fn write_level(&self, txn: &mut WriteTxn<'_, '_>) -> Result<stored::TxnResponse, ReadError> {
        use stored::response_op::Response;

        let mut responses = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let response = match step {
                Step::Range(range) => read_range(range, txn)?,
                Step::Put(put) => Response::ResponsePut(write_put(put, txn)?),
                Step::DeleteRange(delete) => {
                    Response::ResponseDeleteRange(write_delete_range(delete, txn)?)
                }
                Step::Txn(chosen) => Response::ResponseTxn(chosen.write_level(txn)?),
            };
            responses.push(stored::ResponseOp {
                response: Some(response),
            });
        }
        Ok(self.response(Some(ResponseHeader::default()), responses))
    }

    fn response(
        &self,
        header: Option<ResponseHeader>,
        responses: Vec<stored::ResponseOp>,
    ) -> stored::TxnResponse {
        stored::TxnResponse {
            header,
            succeeded: self.succeeded,
            responses,
        }
    }
}

fn check_range(range: &Range, state: &impl Reader) -> Result<(), ApplyError> {
    match range.negative {
        Some(NegativeRevision::MinusOne) if state.compacted().is_none() => return Ok(()),
        Some(NegativeRevision::MinusOne | NegativeRevision::Lower) => {
            return Err(ApplyError::Compacted);
        }
        None => {}
    }
    let revision = match range.query.at {
        ReadAt::Latest => return Ok(()),
        ReadAt::Revision(revision) => revision,
    };
    if revision > state.current() {
        return Err(ApplyError::Future);
    }
    if state.compacted().is_some_and(|point| point.hides(revision)) {
        return Err(ApplyError::Compacted);
    }
    Ok(())
}

/// Checks that `put` can be carried out on `state`.
///
/// # Errors
///
/// [`Failure::Refused`] if its lease does not exist, or its key does not and must.
pub fn check_put(
    put: &Put,
    state: &impl Reader,
    lease_exists: &impl Fn(LeaseId) -> bool,
) -> Result<(), Failure> {
    if let Set::To(Some(lease)) = put.lease
        && !lease_exists(lease)
    {
        return Err(ApplyError::LeaseNotFound.into());
    }
    if put.must_exist() && latest(&put.key, state)?.is_none() {
        return Err(ApplyError::KeyNotFound.into());
    }
    Ok(())
}

/// Writes a put that was checked.
///
/// # Errors
///
/// [`ReadError`] if storage fails.
pub fn write_put(put: &Put, txn: &mut WriteTxn<'_, '_>) -> Result<stored::PutResponse, ReadError> {
    let previous = if put.needs_previous() {
        latest(&put.key, txn)?
    } else {
        None
    };
    let lease = match (&put.lease, &previous) {
        (Set::To(lease), _) => *lease,
        (Set::Kept, Some(previous)) => previous.lease,
        (Set::Kept, None) => None,
    };
    let value = match (&put.value, &previous) {
        (Set::To(value), _) => value.clone(),
        (Set::Kept, Some(previous)) => previous.value.clone(),
        (Set::Kept, None) => Bytes::new(),
    };
    txn.put(&put.key, &value, lease);
    let prev_kv = previous
        .filter(|_| put.prev_kv)
        .map(|previous| previous.encoded);
    Ok(stored::PutResponse {
        header: header(txn.now()),
        prev_kv,
    })
}

/// Deletes a range.
///
/// # Errors
///
/// [`ReadError`] if storage fails.
pub fn write_delete_range(
    delete: &DeleteRange,
    txn: &mut WriteTxn<'_, '_>,
) -> Result<stored::DeleteRangeResponse, ReadError> {
    let mut prev_kvs = Vec::new();
    if delete.prev_kv {
        txn.each(&delete.range, &mut |kv| prev_kvs.push(encoded(&kv)))?;
    }
    let deleted = txn.delete_range(&delete.range).deleted();
    let deleted = i64::try_from(deleted).unwrap_or(i64::MAX);
    Ok(stored::DeleteRangeResponse {
        header: header(txn.now()),
        deleted,
        prev_kvs,
    })
}

/// Answers a range of a transaction.
fn read_range(
    range: &Range,
    state: &impl Reader,
) -> Result<stored::response_op::Response, ReadError> {
    let mut kvs = EncodedKvsBuilder::new();
    let summary = state.range(&range.query, &mut |kv| kvs.push(kv.encoded))?;
    let response = range_response(&summary, kvs.finish());
    Ok(stored::response_op::Response::ResponseRange(response))
}

/// A range's answer, its header carrying the revision alone.
pub fn range_response(summary: &RangeSummary, kvs: EncodedKvs) -> stored::RangeResponse {
    stored::RangeResponse {
        header: header(summary.revision),
        kvs,
        more: summary.more,
        count: i64::try_from(summary.count).unwrap_or(i64::MAX),
    }
}

/// A key's state before a put.
struct Previous {
    encoded: EncodedKeyValue,
    value: Bytes,
    lease: Option<LeaseId>,
}

fn latest(key: &Bytes, state: &impl Reader) -> Result<Option<Previous>, ReadError> {
    let mut encoded_kv = None;
    state.each(&KeyRange::One(key.clone()), &mut |kv| {
        encoded_kv = Some(encoded(&kv));
    })?;
    let Some(encoded) = encoded_kv else {
        return Ok(None);
    };
    let fields = KvFields::parse(&encoded.0)?;
    let value = encoded.0.slice_ref(fields.value);
    let lease = fields.lease;
    Ok(Some(Previous {
        value,
        lease,
        encoded,
    }))
}

fn encoded(kv: &StoredKv<'_>) -> EncodedKeyValue {
    EncodedKeyValue(Bytes::copy_from_slice(kv.encoded))
}

/// A header that carries a revision alone; the API fills in the rest of the outermost one.
fn header(revision: Revision) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        revision: revision.to_wire(),
        ..ResponseHeader::default()
    })
}
