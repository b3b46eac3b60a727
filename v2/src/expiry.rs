//! Ending what has expired.

use std::num::NonZeroUsize;

use bytes::Bytes;
use cairn_mvcc::{Committed, ReadError, Store, WriteBatch};

use crate::error::{Failure, StorageError};
use crate::event::Action;
use crate::layout;
use crate::path::NodePath;
use crate::state::{Snapshot, State, find};
use crate::stats::{Counter, Stats};
use crate::timestamp::Timestamp;
use crate::tree::Tree;

/// How many nodes one request ends, with all below each; the leader asks again if there are more.
pub const EXPIRED_MAX: usize = 1000;

/// Whether something has expired at `now`.
///
/// # Errors
///
/// [`StorageError`] if the store cannot be read.
pub fn due(store: &Store, now: Timestamp) -> Result<bool, StorageError> {
    loop {
        match first(&Snapshot::new(store)) {
            Ok(first) => return Ok(first.is_some_and(|(deadline, _)| deadline <= now)),
            // A compaction came in between.
            Err(StorageError::Read(ReadError::Compacted { .. })) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Ends what has expired at `cutoff`, the earliest first, each in a transaction of its own, which is
/// handed to `each`.
///
/// # Errors
///
/// [`StorageError`]: the member must stop.
pub fn expire(
    cutoff: Timestamp,
    batch: &mut WriteBatch<'_>,
    stats: &Stats,
    each: &mut dyn FnMut(Committed),
) -> Result<(), StorageError> {
    for _ in 0..EXPIRED_MAX {
        let mut txn = batch.txn();
        let Some((deadline, path)) = first(&txn)?.filter(|(deadline, _)| *deadline <= cutoff)
        else {
            return Ok(());
        };
        let node = find(&txn, &path)?.filter(|node| node.expiration == Some(deadline));
        let Some(node) = node else {
            return Err(StorageError::Damaged(layout::deadline_key(deadline, &path)));
        };
        match Tree::new(&mut txn, cutoff).remove(&path, &node, Action::Expire) {
            Ok(_) => {}
            Err(Failure::Storage(error)) => return Err(error),
            // Nothing refuses a removal.
            Err(Failure::Refused(_)) => {
                return Err(StorageError::Damaged(layout::node_key(&path)));
            }
        }
        stats.count(Counter::ExpireCount);
        each(txn.end());
    }
    Ok(())
}

fn first(state: &impl State) -> Result<Option<(Timestamp, NodePath)>, StorageError> {
    let mut key = None;
    let mut take = |found: &[u8], _: &[u8]| key = Some(Bytes::copy_from_slice(found));
    state.each(layout::deadlines(), NonZeroUsize::new(1), &mut take)?;
    let Some(key) = key else { return Ok(None) };
    match layout::deadline(&key) {
        Some(deadline) => Ok(Some(deadline)),
        None => Err(StorageError::Damaged(key)),
    }
}
