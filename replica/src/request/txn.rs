//! A transaction, parsed: its limits checked, its branches free of keys written twice.

use std::collections::HashSet;

use bytes::Bytes;
use cairn_proto::etcdserverpb::{self as wire, request_op};

use super::key_spans::KeySpans;
use super::{Compare, DeleteRange, Put, Range, RequestError};

/// If all compares hold, the success operations in order, otherwise the failure ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Txn {
    /// The conditions.
    pub compares: Vec<Compare>,
    /// What is done if all of them hold.
    pub success: Vec<Operation>,
    /// What is done if one does not.
    pub failure: Vec<Operation>,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reads; sees what the operations before it wrote.
    Range(Range),
    /// Writes a key.
    Put(Put),
    /// Deletes keys.
    DeleteRange(DeleteRange),
    /// A transaction in the transaction, its compares evaluated before anything is written.
    Txn(Txn),
}

impl Txn {
    /// Parses a transaction of at most `operations_max` operations a level, where nested levels get
    /// what the level above leaves. The order of the checks is etcd's: counts and fields first, then
    /// keys written twice.
    ///
    /// # Errors
    ///
    /// [`RequestError`], the first that etcd would find.
    pub fn parse(request: wire::TxnRequest, operations_max: usize) -> Result<Self, RequestError> {
        let txn = Self::parse_level(request, operations_max)?;
        Writes::of_branch(&txn.success)?;
        Writes::of_branch(&txn.failure)?;
        Ok(txn)
    }

    /// Parses a transaction that a leader's API let through: no limit but the log's.
    ///
    /// # Errors
    ///
    /// [`RequestError`], for an entry that no API of ours wrote.
    pub fn parse_logged(request: wire::TxnRequest) -> Result<Self, RequestError> {
        Self::parse_level(request, usize::MAX)
    }

    /// Whether no branch writes. A nested transaction counts as a write, as etcd has it.
    pub fn is_read_only(&self) -> bool {
        self.operations()
            .all(|operation| matches!(operation, Operation::Range(_)))
    }

    /// Whether both branches hold nothing but serializable ranges.
    pub fn is_serializable(&self) -> bool {
        self.operations()
            .all(|operation| matches!(operation, Operation::Range(range) if range.serializable))
    }

    fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.success.iter().chain(&self.failure)
    }

    fn parse_level(request: wire::TxnRequest, operations_max: usize) -> Result<Self, RequestError> {
        let operations = request
            .compare
            .len()
            .max(request.success.len())
            .max(request.failure.len());
        let Some(left) = operations_max.checked_sub(operations) else {
            return Err(RequestError::TooManyOperations {
                operations,
                operations_max,
            });
        };
        let parse = |operation| Operation::parse(operation, left);
        Ok(Self {
            compares: request
                .compare
                .into_iter()
                .map(Compare::parse)
                .collect::<Result<_, _>>()?,
            success: request
                .success
                .into_iter()
                .map(parse)
                .collect::<Result<_, _>>()?,
            failure: request
                .failure
                .into_iter()
                .map(parse)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Operation {
    fn parse(operation: wire::RequestOp, operations_max: usize) -> Result<Self, RequestError> {
        match operation.request.ok_or(RequestError::EmptyOperation)? {
            request_op::Request::RequestRange(range) => Range::parse(range).map(Self::Range),
            request_op::Request::RequestPut(put) => Put::parse(put).map(Self::Put),
            request_op::Request::RequestDeleteRange(delete) => {
                DeleteRange::parse(delete).map(Self::DeleteRange)
            }
            request_op::Request::RequestTxn(txn) => {
                Txn::parse_level(txn, operations_max).map(Self::Txn)
            }
        }
    }
}

/// The keys that one branch writes, nested branches included.
#[derive(Default)]
struct Writes {
    puts: HashSet<Bytes>,
    deletes: KeySpans,
}

impl Writes {
    fn of_branch(branch: &[Operation]) -> Result<Self, RequestError> {
        let mut writes = Self::default();
        for operation in branch {
            if let Operation::DeleteRange(delete) = operation {
                writes.deletes.insert(&delete.range);
            }
        }
        for operation in branch {
            if let Operation::Txn(txn) = operation {
                writes.add_nested(txn)?;
            }
        }
        for operation in branch {
            if let Operation::Put(put) = operation {
                writes.add_put(put.key.clone())?;
            }
        }
        Ok(writes)
    }

    /// Only one of a nested transaction's branches runs, so a key may stand in both.
    fn add_nested(&mut self, txn: &Txn) -> Result<(), RequestError> {
        let success = Self::of_branch(&txn.success)?;
        let failure = Self::of_branch(&txn.failure)?;
        let keys: HashSet<Bytes> = success.puts.into_iter().chain(failure.puts).collect();
        for key in keys {
            self.add_put(key)?;
        }
        self.deletes.union(success.deletes);
        self.deletes.union(failure.deletes);
        Ok(())
    }

    fn add_put(&mut self, key: Bytes) -> Result<(), RequestError> {
        if self.deletes.contains(&key) || !self.puts.insert(key) {
            return Err(RequestError::DuplicateKey);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
