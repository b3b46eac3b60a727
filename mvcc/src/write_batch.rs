//! Writing: a batch of transactions that readers get to see together.

use cairn_backend::{BatchTx, RowsChecksum};
use cairn_index::Revision;
use parking_lot::MutexGuard;

use crate::compaction_marks::Mark;
use crate::compaction_point::CompactionPoint;
use crate::error::{CompactError, WriteError};
use crate::store::Store;
use crate::write_txn::WriteTxn;

/// A batch of transactions, and whatever else must be stored in the same atomic step.
///
/// Readers see nothing of it until it ends, or is dropped. Its fields are dropped in order, which is
/// the order of publication: first the backend shows the bytes, then the store the revision, so
/// whoever reads the new revision finds its bytes; last the next writer may begin.
pub struct WriteBatch<'s> {
    pub(crate) tx: BatchTx<'s>,
    pub(crate) head: Head<'s>,
    _turn: MutexGuard<'s, ()>,
}

/// The store as the writer sees it.
pub(crate) struct Head<'s> {
    pub(crate) store: &'s Store,
    pub(crate) current: Revision,
    pub(crate) compacted: Option<CompactionPoint>,
}

impl<'s> WriteBatch<'s> {
    pub(crate) fn begin(store: &'s Store) -> Self {
        let turn = store.writers_turn();
        let tx = store.backend().write();
        let (current, compacted) = {
            let state = store.state().read();
            (state.current, state.compacted)
        };
        let head = Head {
            store,
            current,
            compacted,
        };
        Self {
            tx,
            head,
            _turn: turn,
        }
    }

    /// Begins a transaction: what it writes is one revision.
    #[must_use]
    pub fn txn(&mut self) -> WriteTxn<'_, 's> {
        WriteTxn::begin(self)
    }

    /// The other tables, to be written in the same atomic step.
    pub fn backend(&mut self) -> &mut BatchTx<'s> {
        &mut self.tx
    }

    /// The revision of the last write, seen by readers or not yet.
    #[must_use]
    pub const fn current(&self) -> Revision {
        self.head.current
    }

    /// How far history is compacted, seen by readers or not yet.
    #[must_use]
    pub const fn compaction_point(&self) -> Option<CompactionPoint> {
        self.head.compacted
    }

    /// The checksum of the live keys after the last write, as [`Store::live_checksum`].
    #[must_use]
    pub fn live_checksum(&self) -> RowsChecksum {
        self.head.store.live_checksum()
    }

    /// Forgets all revisions before `point`. From the end of the batch on they cannot be read; they
    /// are deleted by [`Store::compaction_step`].
    ///
    /// # Errors
    ///
    /// [`CompactError`] if history does not reach back to before `point`, or not yet up to it.
    pub fn schedule_compaction(
        &mut self,
        point: impl Into<CompactionPoint>,
    ) -> Result<(), CompactError> {
        let requested = point.into();
        let current = self.head.current;
        match self.head.compacted {
            Some(compacted) if requested <= compacted => Err(CompactError::Compacted {
                requested,
                compacted,
            }),
            _ if requested > current.into() => Err(CompactError::Future { requested, current }),
            _ => {
                Mark::Scheduled.write(requested, &mut self.tx);
                self.head.compacted = Some(requested);
                Ok(())
            }
        }
    }

    /// Gives the batch up in the middle: no part of it reaches the disk, and the backend takes no more
    /// writes. The process must stop.
    pub fn abandon(self) {
        let Self { tx, head, _turn } = self;
        tx.abandon();
        drop(head);
    }

    /// Shows readers what was written.
    ///
    /// # Errors
    ///
    /// [`WriteError::Poisoned`] if the backend has failed; readers then keep seeing what was before.
    pub fn end(self) -> Result<(), WriteError> {
        let Self { tx, head, _turn } = self;
        let ended = tx.end();
        drop(head);
        Ok(ended?)
    }
}

impl Drop for Head<'_> {
    fn drop(&mut self) {
        if self.store.backend().poisoned().is_none() {
            let mut state = self.store.state().write();
            state.publish(self.current, self.compacted);
        }
    }
}
