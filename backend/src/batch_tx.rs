//! The writer's guard.

use std::cell::OnceCell;

use bytes::Bytes;
use parking_lot::MutexGuard;

use crate::KEY_BYTES_MAX;
use crate::backend::{Backend, Writer};
use crate::engine::{Found, KeyBounds, Order, Visit};
use crate::error::{CommitError, Poisoned, ReadError};
use crate::read_tx::ReadTx;
use crate::table::Table;

/// The one writer: while it lives no other writes.
///
/// What it writes becomes visible to readers, and part of the next commit, together when it ends;
/// dropping it ends it. It reads its own writes.
///
/// The thread that has one must neither ask for a second nor commit: it would wait for itself.
pub struct BatchTx<'a> {
    backend: &'a Backend,
    writer: MutexGuard<'a, Writer>,
    /// What was there before this batch, opened when first needed.
    before: OnceCell<ReadTx>,
    ended: bool,
}

impl<'a> BatchTx<'a> {
    pub(crate) fn new(backend: &'a Backend, writer: MutexGuard<'a, Writer>) -> Self {
        Self {
            backend,
            writer,
            before: OnceCell::new(),
            ended: false,
        }
    }

    /// Writes a value.
    ///
    /// # Panics
    ///
    /// If the key is empty or longer than [`KEY_BYTES_MAX`], which callers rule out.
    pub fn put(&mut self, table: Table, key: &[u8], value: Bytes) {
        self.set(table, key, Some(value));
    }

    /// Deletes a key, whether it is there or not.
    ///
    /// # Panics
    ///
    /// If the key is empty or longer than [`KEY_BYTES_MAX`], which callers rule out.
    pub fn delete(&mut self, table: Table, key: &[u8]) {
        self.set(table, key, None);
    }

    /// The value of a key, with this batch's own writes.
    ///
    /// # Errors
    ///
    /// If the engine cannot be read.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        match self.writer.active.get(table, key) {
            Some(pending) => Ok(pending.cloned()),
            None => self.before()?.get(table, key),
        }
    }

    /// Reads many keys as [`ReadTx::get_many`], with this batch's own writes.
    ///
    /// # Errors
    ///
    /// If the engine cannot be read.
    pub fn get_many<'t>(
        &'t self,
        table: Table,
        keys: &[&[u8]],
        found: &mut Found<'_, 't>,
    ) -> Result<(), ReadError> {
        self.before()?
            .get_many_below(&self.writer.active, table, keys, found)
    }

    /// Visits the entries within `bounds` in ascending order, with this batch's own writes, until
    /// `visit` breaks.
    ///
    /// # Errors
    ///
    /// If the engine cannot be read.
    pub fn scan(
        &self,
        table: Table,
        bounds: KeyBounds<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ReadError> {
        self.before()?
            .scan_below(&self.writer.active, Order::Ascending, table, bounds, visit)
    }

    /// Ends the batch: readers see it.
    ///
    /// # Errors
    ///
    /// [`Poisoned`] if a commit failed before; the batch is then not seen by anyone.
    pub fn end(mut self) -> Result<(), Poisoned> {
        self.finish()
    }

    /// Gives the batch up in the middle. Half of it may be in buffers, so the backend is poisoned: no
    /// part of it is ever committed.
    pub fn abandon(mut self) {
        self.ended = true;
        self.backend.poison(CommitError::BatchAbandoned);
    }

    fn set(&mut self, table: Table, key: &[u8], value: Option<Bytes>) {
        assert!(
            (1..=KEY_BYTES_MAX).contains(&key.len()),
            "a key of {} bytes for table {}",
            key.len(),
            table.name()
        );
        self.writer
            .active
            .set(table, Bytes::copy_from_slice(key), value);
    }

    fn before(&self) -> Result<&ReadTx, ReadError> {
        if let Some(before) = self.before.get() {
            return Ok(before);
        }
        let opened = self.backend.read()?;
        Ok(self.before.get_or_init(|| opened))
    }

    fn finish(&mut self) -> Result<(), Poisoned> {
        self.ended = true;
        self.backend.publish(&mut self.writer)
    }
}

impl Drop for BatchTx<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.backend.poison(CommitError::WriterPanicked);
        } else if !self.ended {
            // The poisoned backend has told its hook and refuses whatever comes next.
            let _ = self.finish();
        }
    }
}

impl std::fmt::Debug for BatchTx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchTx")
            .field("ops", &self.writer.active.ops())
            .finish_non_exhaustive()
    }
}
