//! Writes that are not yet in the engine.

use bytes::Bytes;
use im::OrdMap;

use crate::engine::{self, KeyBounds, Order};
use crate::table::{PerTable, Table};

/// What a table's pending writes are: a value, or `None` where the key is deleted.
type Pending = OrdMap<Bytes, Option<Bytes>>;

/// A key with its pending write.
pub(crate) type PendingEntry<'a> = (&'a [u8], Option<&'a Bytes>);

/// The last write to each key since the buffer was begun; a clone is a snapshot and costs O(1).
#[derive(Clone, Debug, Default)]
pub struct Buffer {
    tables: PerTable<Pending>,
    ops: usize,
    bytes: usize,
}

impl Buffer {
    /// Notes a value, or with `None` a deletion.
    pub(crate) fn set(&mut self, table: Table, key: Bytes, value: Option<Bytes>) {
        self.ops += 1;
        self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        self.tables[table].insert(key, value);
    }

    /// How many writes went in.
    #[must_use]
    pub fn ops(&self) -> usize {
        self.ops
    }

    /// How many bytes of keys and values went in.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops == 0
    }

    /// The pending writes of a table in key order.
    pub fn iter(&self, table: Table) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        self.tables[table]
            .iter()
            .map(|(key, value)| (key, value.as_ref()))
    }

    /// What is pending for a key: `Some(None)` is a deletion.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Option<Option<&Bytes>> {
        self.tables[table].get(key).map(Option::as_ref)
    }

    /// The first key of a table that something is pending for.
    pub(crate) fn first_key(&self, table: Table) -> Option<&[u8]> {
        self.tables[table].get_min().map(|(key, _)| key.as_ref())
    }

    /// The pending writes within `bounds`.
    pub(crate) fn scan<'a>(
        &'a self,
        table: Table,
        bounds: KeyBounds<'_>,
        order: Order,
    ) -> Box<dyn Iterator<Item = PendingEntry<'a>> + 'a> {
        let pending = &self.tables[table];
        if pending.is_empty() || engine::is_empty(bounds) {
            return Box::new(std::iter::empty());
        }
        let entries = pending
            .range::<_, [u8]>(bounds)
            .map(|(key, value)| (key.as_ref(), value.as_ref()));
        match order {
            Order::Ascending => Box::new(entries),
            Order::Descending => Box::new(entries.rev()),
        }
    }
}
