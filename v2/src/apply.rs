//! Applying a request: one transaction, one event or one refusal.

use cairn_mvcc::WriteTxn;

use crate::error::{ErrorKind, Failure};
use crate::event::Event;
use crate::path::NodePath;
use crate::request::{Operation, TtlOption};
use crate::stats::Stats;
use crate::timestamp::Timestamp;
use crate::tree::{NewNode, Tree};

/// What a request did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What watchers are told of it, and its client.
    pub event: Event,
    /// The index of the store after it.
    pub index: u64,
}

/// Carries out an operation on the node at `path`, made at `time`, and counts it.
///
/// # Errors
///
/// [`Failure::Refused`]: nothing was written. [`Failure::Storage`]: the member must stop.
pub fn apply(
    operation: Operation,
    path: &NodePath,
    time: Timestamp,
    txn: &mut WriteTxn<'_, '_>,
    stats: &Stats,
) -> Result<Done, Failure> {
    let index = txn.revision().number();
    let kind = OperationKind::of(&operation);
    let done = carry_out(operation, path, &mut Tree::new(txn, time));
    match &done {
        Ok(_) => stats.count_write(kind, None),
        Err(Failure::Refused(error)) => stats.count_write(kind, Some(error.kind)),
        Err(Failure::Storage(_)) => {}
    }
    Ok(Done {
        event: done?,
        index,
    })
}

fn carry_out(
    operation: Operation,
    path: &NodePath,
    tree: &mut Tree<'_, '_, '_>,
) -> Result<Event, Failure> {
    match operation {
        Operation::Create {
            dir,
            value,
            unique,
            expiration,
        } => {
            let new = NewNode {
                dir,
                value,
                expiration,
            };
            tree.create(path, unique, new)
        }
        Operation::Set { dir, value, ttl } => {
            let TtlOption {
                expiration,
                refresh,
            } = ttl;
            let new = NewNode {
                dir,
                value,
                expiration,
            };
            tree.set(path, new, refresh)
        }
        Operation::Update { value, ttl } => tree.update(path, value, ttl),
        Operation::CompareAndSwap {
            compare,
            value,
            ttl,
        } => tree.compare_and_swap(path, &compare, value, ttl),
        Operation::Delete { dir, recursive } => tree.delete(path, dir, recursive),
        Operation::CompareAndDelete { compare } => tree.compare_and_delete(path, &compare),
    }
}

/// Kinds of writes, as statistics tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OperationKind {
    Create,
    Set,
    Update,
    CompareAndSwap,
    Delete,
    CompareAndDelete,
}

impl OperationKind {
    const fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Create { .. } => Self::Create,
            Operation::Set { .. } => Self::Set,
            Operation::Update { .. } => Self::Update,
            Operation::CompareAndSwap { .. } => Self::CompareAndSwap,
            Operation::Delete { .. } => Self::Delete,
            Operation::CompareAndDelete { .. } => Self::CompareAndDelete,
        }
    }

    /// Whether etcd counts a refusal of this kind as a success: some of its checks leave before they
    /// note the failure.
    pub(crate) const fn hides(self, error: ErrorKind) -> bool {
        matches!(
            (self, error),
            (
                Self::Update | Self::CompareAndSwap | Self::Delete,
                ErrorKind::RootReadOnly
            ) | (Self::Update, ErrorKind::NotFile)
                | (
                    Self::CompareAndDelete,
                    ErrorKind::NotFile | ErrorKind::CompareFailed
                )
        )
    }
}
