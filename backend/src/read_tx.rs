//! A consistent view of buffer and engine.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::backend::Published;
use crate::buffer::Buffer;
use crate::damaged_row::DamagedRow;
use crate::engine::{Engine, EngineSnapshot, Found, KeyBounds, Order, Visit};
use crate::error::ReadError;
use crate::merge;
use crate::stored_value::StoredValue;
use crate::table::Table;

/// The tables as they were when the last batch before it ended, whatever is written since.
///
/// While it lives, LMDB reuses no page freed since, and its map cannot grow: hold it for one
/// request, not for a stream, and not while writing or committing on the same thread.
pub struct ReadTx {
    published: Arc<Published>,
    snapshot: Box<dyn EngineSnapshot>,
    _reading: Option<Reading>,
}

/// Counts a view while it is open.
struct Reading(Arc<AtomicUsize>);

impl Reading {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ReadTx {
    /// Opens a view of what `load` gives, and is counted in `reading`.
    ///
    /// The engine is opened after the buffers are loaded, so that nothing is missed; but it may by
    /// then hold a later batch. A batch is sealed, and its seal published, before the engine
    /// learns of it. So if no seal came between the load and the opening, the engine holds all
    /// before the sealed buffer, and the sealed buffer wholly or not at all, which the view
    /// covers. Otherwise it tries again; that happens once per commit, not per write.
    ///
    /// An installation publishes another engine, so what is loaded and opened always belong
    /// together; that it too counts as a seal only makes the view a newer one.
    pub(crate) fn open(
        reading: &Arc<AtomicUsize>,
        load: impl Fn() -> Arc<Published>,
    ) -> Result<Self, ReadError> {
        let mut published = load();
        loop {
            let snapshot = published.engine.snapshot()?;
            let since = load();
            if since.seals == published.seals {
                return Ok(Self {
                    published,
                    snapshot,
                    _reading: Some(Reading::begin(reading)),
                });
            }
            published = since;
        }
    }

    /// A view of what an engine holds, with nothing buffered.
    pub(crate) fn of(snapshot: Box<dyn EngineSnapshot>, engine: Arc<dyn Engine>) -> Self {
        Self {
            published: Arc::new(Published::empty(engine)),
            snapshot,
            _reading: None,
        }
    }

    /// Whether the database was begun by a version that wrote no checksums.
    #[must_use]
    pub fn is_before_checksums(&self) -> bool {
        self.snapshot.is_before_checksums()
    }

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// If the engine cannot be read.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        if let Some(pending) = self.pending(table, key) {
            return Ok(pending.cloned());
        }
        Ok(self.snapshot.get(table, key)?.map(Bytes::copy_from_slice))
    }

    /// What `read` makes of the value of a key, without copying it.
    ///
    /// # Errors
    ///
    /// If the engine cannot be read.
    pub fn get_with<R>(
        &self,
        table: Table,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, ReadError> {
        if let Some(pending) = self.pending(table, key) {
            return Ok(pending.map(|value| read(value)));
        }
        Ok(self.snapshot.get(table, key)?.map(read))
    }

    /// Reads the values of keys, which must ascend, without copying them: `found` is called with
    /// the place and the value of each that is there, in any order.
    ///
    /// Close keys together cost a small part of what they cost one by one.
    ///
    /// # Errors
    ///
    /// If the engine cannot be read.
    pub fn get_many<'a>(
        &'a self,
        table: Table,
        keys: &[&[u8]],
        found: &mut Found<'_, 'a>,
    ) -> Result<(), ReadError> {
        self.get_many_below(&self.published.active, table, keys, found)
    }

    /// Visits the entries within `bounds` in ascending order until `visit` breaks.
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
        self.scan_in(Order::Ascending, table, bounds, visit)
    }

    /// Reads every row of a table with `read`, which says what is wrong with one that is no good.
    ///
    /// # Errors
    ///
    /// [`ReadError::Damaged`] at the first row that is no good, or if the engine cannot be read.
    pub fn read_table<E: Into<String>>(
        &self,
        table: Table,
        mut read: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), ReadError> {
        let mut damaged = None;
        let all = (Bound::Unbounded, Bound::Unbounded);
        self.scan(table, all, &mut |key, value| match read(key, value) {
            Ok(()) => ControlFlow::Continue(()),
            Err(reason) => {
                damaged = Some(DamagedRow::new(table, key, reason));
                ControlFlow::Break(())
            }
        })?;
        damaged.map_or(Ok(()), |row| Err(row.into()))
    }

    /// Visits the entries within `bounds` in `order` until `visit` breaks.
    ///
    /// # Errors
    ///
    /// If the engine cannot be read.
    pub fn scan_in(
        &self,
        order: Order,
        table: Table,
        bounds: KeyBounds<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ReadError> {
        self.scan_below(&self.published.active, order, table, bounds, visit)
    }

    /// Scans this view with `active` in place of its own active buffer.
    pub(crate) fn scan_below(
        &self,
        active: &Buffer,
        order: Order,
        table: Table,
        bounds: KeyBounds<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<(), ReadError> {
        let sealed = self.published.sealed.as_deref();
        merge::scan(
            [Some(active), sealed],
            &*self.snapshot,
            table,
            bounds,
            order,
            visit,
        )
    }

    /// Reads many keys of this view with `active` in place of its own active buffer.
    pub(crate) fn get_many_below<'a>(
        &'a self,
        active: &'a Buffer,
        table: Table,
        keys: &[&[u8]],
        found: &mut Found<'_, 'a>,
    ) -> Result<(), ReadError> {
        debug_assert!(keys.is_sorted(), "keys ascend");
        let sealed = self.published.sealed.as_deref();
        let layers = || [Some(active), sealed].into_iter().flatten();
        let first_pending = layers().filter_map(|layer| layer.first_key(table)).min();
        let may_be_pending =
            first_pending.map_or(keys.len(), |first| keys.partition_point(|key| *key < first));
        let (stored, rest) = keys.split_at(may_be_pending);
        self.snapshot.get_many(table, stored, found)?;
        let mut places = Vec::with_capacity(rest.len());
        let mut not_pending = Vec::with_capacity(rest.len());
        for (place, key) in (may_be_pending..).zip(rest) {
            match layers().find_map(|layer| layer.get(table, key)) {
                Some(Some(value)) => found(place, StoredValue::plain(value)),
                Some(None) => {}
                None => {
                    places.push(place);
                    not_pending.push(*key);
                }
            }
        }
        self.snapshot
            .get_many(table, &not_pending, &mut |nth, value| {
                if let Some(place) = places.get(nth) {
                    found(*place, value);
                }
            })
    }

    fn pending(&self, table: Table, key: &[u8]) -> Option<Option<&Bytes>> {
        let Published { active, sealed, .. } = &*self.published;
        active
            .get(table, key)
            .or_else(|| sealed.as_ref()?.get(table, key))
    }
}

impl std::fmt::Debug for ReadTx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadTx")
            .field("seals", &self.published.seals)
            .finish_non_exhaustive()
    }
}
