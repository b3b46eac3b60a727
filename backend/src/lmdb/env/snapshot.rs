//! A read transaction, and scans that hold few pages.

mod walk;

use std::cell::Cell;
use std::ops::Bound;
use std::sync::Arc;

use heed::types::Bytes;
use heed::{Error, RoRange, RoRevRange, RoTxn, WithoutTls};

use rustix::mm::Advice;

use super::{Env, Gate, RowError};
use crate::engine::{EngineSnapshot, EntryIter, Found, KeyBounds, Order};
use crate::error::ReadError;
use crate::table::Table;

use walk::Walk;

/// How much a scan reads before it gives pages back: enough to make that cheap, and not the whole
/// database, which a restart or a hash reads.
const SCAN_HELD_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Addresses are rounded to this, which every system's pages divide.
const PAGE_BYTES: usize = 64 * 1024;

/// What tells the system that mapped pages may go.
#[cfg(target_os = "linux")]
const RELEASE: Advice = Advice::LinuxDontNeed;
#[cfg(not(target_os = "linux"))]
const RELEASE: Advice = Advice::DontNeed;

/// A read transaction over the tables. Fields are dropped in order: the transaction ends, then
/// the gate opens, then the file may be closed.
pub(in crate::lmdb) struct LmdbSnapshot {
    pub(super) txn: RoTxn<'static, WithoutTls>,
    pub(super) _gate: Gate,
    pub(super) env: Arc<Env>,
    /// What ended scans have read. A read in many short scans holds no more than one long one.
    pub(super) held: Cell<Held>,
}

impl LmdbSnapshot {
    /// The value of a key.
    pub(in crate::lmdb) fn find(
        &self,
        table: Table,
        key: &[u8],
    ) -> Result<Option<&[u8]>, RowError> {
        // LMDB refuses the empty key, which no table has.
        if key.is_empty() {
            return Ok(None);
        }
        let stored = self.env.tables[table].get(&self.txn, key)?;
        let value = stored.map(|stored| self.env.value(table, key, stored));
        Ok(value.transpose()?)
    }

    /// The entries within bounds.
    pub(in crate::lmdb) fn entries(
        &self,
        table: Table,
        (low, high): KeyBounds<'_>,
        order: Order,
    ) -> Result<Entries<'_>, Error> {
        // As above: there is nothing at the empty key, so a bound there is none below, all above.
        let bounds = match (low, high) {
            (_, Bound::Included([]) | Bound::Excluded([])) => {
                return Ok(self.entries_of(table, Range::None));
            }
            (Bound::Included([]) | Bound::Excluded([]), high) => (Bound::Unbounded, high),
            bounds => bounds,
        };
        let stored = self.env.tables[table];
        let range = match order {
            Order::Ascending => Range::Ascending(stored.range(&self.txn, &bounds)?),
            Order::Descending => Range::Descending(stored.rev_range(&self.txn, &bounds)?),
        };
        Ok(self.entries_of(table, range))
    }

    fn entries_of<'a>(&'a self, table: Table, range: Range<'a>) -> Entries<'a> {
        Entries {
            rows: Rows {
                range,
                held: Held::default(),
                of_snapshot: &self.held,
            },
            env: &self.env,
            table,
        }
    }
}

impl EngineSnapshot for LmdbSnapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<&[u8]>, ReadError> {
        Ok(self.find(table, key)?)
    }

    fn is_before_checksums(&self) -> bool {
        !self.env.is_checked
    }

    fn get_many<'a>(
        &'a self,
        table: Table,
        keys: &[&[u8]],
        found: &mut Found<'_, 'a>,
    ) -> Result<(), ReadError> {
        let mut walk = Walk::new(self.env.tables[table], &self.txn);
        for (place, key) in keys.iter().enumerate() {
            if let Some(stored) = walk.find(key)? {
                found(place, self.env.stored_value(stored));
            }
        }
        Ok(())
    }

    fn scan<'a>(
        &'a self,
        table: Table,
        bounds: KeyBounds<'_>,
        order: Order,
    ) -> Result<EntryIter<'a>, ReadError> {
        Ok(Box::new(
            self.entries(table, bounds, order)?.map(|entry| Ok(entry?)),
        ))
    }
}

/// Entries of a table. A long scan holds few pages in memory at a time.
pub(in crate::lmdb) struct Entries<'a> {
    rows: Rows<'a>,
    env: &'a Env,
    table: Table,
}

/// Entries as they are stored.
struct Rows<'a> {
    range: Range<'a>,
    held: Held,
    /// Where what is held is noted at the end.
    of_snapshot: &'a Cell<Held>,
}

enum Range<'a> {
    None,
    Ascending(RoRange<'a, Bytes, Bytes>),
    Descending(RoRevRange<'a, Bytes, Bytes>),
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        let mut held = self.of_snapshot.take();
        held.join(&self.held);
        self.of_snapshot.set(held);
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = match &mut self.rows.range {
            Range::None => None,
            Range::Ascending(range) => range.next(),
            Range::Descending(range) => range.next(),
        };
        let (key, stored) = match entry? {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error.into())),
        };
        self.rows.held.note(stored);
        let value = self.env.value(self.table, key, stored);
        Some(value.map(|value| (key, value)).map_err(RowError::from))
    }
}

/// The part of the map that scans of one transaction have read since pages were last given back.
#[derive(Default)]
pub(super) struct Held {
    bytes: usize,
    /// The lowest and the highest address of a value.
    ends: Option<(usize, usize)>,
}

impl Held {
    /// Notes a value, which lies in the map; with enough of them, gives their pages back.
    fn note(&mut self, value: &[u8]) {
        let at = value.as_ptr().addr();
        self.add(value.len(), (at, at));
    }

    /// Notes what another scan of the transaction holds.
    fn join(&mut self, other: &Self) {
        if let Some(ends) = other.ends {
            self.add(other.bytes, ends);
        }
    }

    fn add(&mut self, bytes: usize, ends: (usize, usize)) {
        let (low, high) = self.ends.unwrap_or(ends);
        self.ends = Some((low.min(ends.0), high.max(ends.1)));
        self.bytes += bytes;
        if self.bytes >= SCAN_HELD_BYTES_MAX {
            self.release();
        }
    }

    /// Gives the pages between the ends back to the system's cache, which keeps them: they count
    /// as this process's memory no more until they are read again.
    #[cold]
    fn release(&mut self) {
        let Some((low, high)) = std::mem::take(self).ends else {
            return;
        };
        let first = low.next_multiple_of(PAGE_BYTES);
        let bytes = (high / PAGE_BYTES * PAGE_BYTES).saturating_sub(first);
        let first = std::ptr::without_provenance_mut(first);
        #[expect(unsafe_code, reason = "advice on memory that others read")]
        // SAFETY: both ends are values of one read transaction, so they and all between them lie
        // in the map, which does not move while the transaction's gate is held. The map is shared,
        // of a file, and only read: a page that is dropped is read back as it was, to the same
        // address, when someone next touches it. So no reader can tell.
        let released = unsafe { rustix::mm::madvise(first, bytes, RELEASE) };
        // Advice that is not taken costs memory and nothing else.
        let _ = released;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_short_scans_of_a_snapshot_hold_no_more_than_a_long_one() {
        let value = vec![0; SCAN_HELD_BYTES_MAX / 4];
        let of_snapshot = Cell::default();
        let held_after = |scans: usize| {
            for _ in 0..scans {
                // Nothing is noted to be released, so that no memory is: the bytes alone count.
                let held = Held {
                    bytes: value.len(),
                    ends: Some((0, 0)),
                };
                drop(Rows {
                    range: Range::None,
                    held,
                    of_snapshot: &of_snapshot,
                });
            }
            let held = of_snapshot.take();
            let bytes = held.bytes;
            of_snapshot.set(held);
            bytes
        };
        assert_eq!(held_after(3), 3 * value.len());
        assert_eq!(held_after(1), 0);
        assert_eq!(held_after(2), 2 * value.len());
    }
}
