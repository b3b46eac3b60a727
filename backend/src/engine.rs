//! The engine: what keeps committed tables.
//!
//! Two implementations, [`crate::LmdbEngine`] and [`crate::MemoryEngine`], pass one test suite.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use crate::applied::Applied;
use crate::buffer::Buffer;
use crate::error::{
    CommitError, DefragmentError, InstallError, OpenError, ReadError, ReceiveError,
};
use crate::stored_value::StoredValue;
use crate::table::Table;

/// From where to where keys are wanted.
pub type KeyBounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// What a scan calls with each key and its value, until it breaks.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// What a read of many keys calls with the place of a key that is there, and its value.
pub type Found<'f, 'a> = dyn FnMut(usize, StoredValue<'a>) + 'f;

/// A key and its value.
pub type Entry<'a> = (&'a [u8], &'a [u8]);

/// Keys and values in order.
pub type EntryIter<'a> = Box<dyn Iterator<Item = Result<Entry<'a>, ReadError>> + 'a>;

/// The order of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

/// How much room an engine takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineSize {
    /// What the database occupies on disk.
    pub total_bytes: u64,
    /// The part of it that holds data; the rest is free for new data.
    pub in_use_bytes: u64,
}

/// What keeps committed tables: atomic batches in, consistent snapshots out.
pub trait Engine: Send + Sync + 'static {
    /// The state after the last commit, or after one that is being made.
    ///
    /// # Errors
    ///
    /// If the engine cannot be read.
    fn snapshot(&self) -> Result<Box<dyn EngineSnapshot>, ReadError>;

    /// Writes the whole batch durably, or nothing of it.
    ///
    /// # Errors
    ///
    /// If it may not be durable; the caller must not write again.
    fn commit(&self, batch: &Buffer) -> Result<(), CommitError>;

    /// How much room the committed tables take.
    ///
    /// # Errors
    ///
    /// If the engine cannot be read.
    fn size(&self) -> Result<EngineSize, ReadError>;

    /// Gives free room back while reads and commits go on.
    ///
    /// # Errors
    ///
    /// [`DefragmentError::Swap`] must be treated as a failed commit; after any other error all is
    /// as before.
    fn defragment(&self) -> Result<(), DefragmentError>;

    /// Begins a second, empty database beside this one.
    ///
    /// # Errors
    ///
    /// If there is no place for it.
    fn receive(&self) -> Result<Box<dyn Incoming>, ReceiveError>;

    /// The databases beside this one that are finished, in their order.
    fn received(&self) -> Vec<Applied>;

    /// What a finished database holds; `None` if there is none such.
    ///
    /// # Errors
    ///
    /// If it cannot be opened or read.
    fn read_received(&self, applied: Applied)
    -> Result<Option<Box<dyn EngineSnapshot>>, OpenError>;

    /// Puts a finished database durably in the place of this one: after a crash it is one of the
    /// two, whole. What is given holds it from now on. This one keeps the old state for whoever
    /// still reads it, and takes no more commits; a defragmentation of it comes to nothing.
    ///
    /// No commit may be under way.
    ///
    /// # Errors
    ///
    /// [`InstallError::Swap`] must be treated as a failed commit; after any other error all is as
    /// before.
    fn install(&self, applied: Applied) -> Result<Arc<dyn Engine>, InstallError>;

    /// Deletes a finished database, if it is there.
    ///
    /// # Errors
    ///
    /// If its file cannot be deleted.
    fn discard_received(&self, applied: Applied) -> Result<(), OpenError>;
}

/// A database that is being made beside the one in use. Dropped before it is finished, it is gone.
pub trait Incoming: Send {
    /// Appends entries, which come after all others of their table.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    fn append(&mut self, table: Table, entries: &[Entry<'_>]) -> Result<(), ReceiveError>;

    /// Makes it durable under the name of what it stands for; one of the same name gives way.
    ///
    /// # Errors
    ///
    /// If it cannot be made durable; it is then gone.
    fn finish(self: Box<Self>, applied: Applied) -> Result<(), ReceiveError>;
}

/// The tables at one moment.
pub trait EngineSnapshot: Send {
    /// The value of a key.
    ///
    /// # Errors
    ///
    /// If the engine cannot be read.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<&[u8]>, ReadError>;

    /// Whether it is of a file of before rows had checksums.
    fn is_before_checksums(&self) -> bool {
        false
    }

    /// The values of keys that ascend, in their order; those that are not there are passed over.
    ///
    /// # Errors
    ///
    /// If the engine cannot be read.
    fn get_many<'a>(
        &'a self,
        table: Table,
        keys: &[&[u8]],
        found: &mut Found<'_, 'a>,
    ) -> Result<(), ReadError> {
        for (place, key) in keys.iter().enumerate() {
            if let Some(value) = self.get(table, key)? {
                found(place, StoredValue::plain(value));
            }
        }
        Ok(())
    }

    /// The entries of a table within bounds that are not empty.
    ///
    /// # Errors
    ///
    /// If the engine cannot be read.
    fn scan<'a>(
        &'a self,
        table: Table,
        bounds: KeyBounds<'_>,
        order: Order,
    ) -> Result<EntryIter<'a>, ReadError>;
}

/// Whether no key can lie within `bounds`; ordered maps refuse such ranges.
pub(crate) fn is_empty(bounds: KeyBounds<'_>) -> bool {
    match bounds {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (
            Bound::Included(low) | Bound::Excluded(low),
            Bound::Included(high) | Bound::Excluded(high),
        ) => low >= high,
    }
}
