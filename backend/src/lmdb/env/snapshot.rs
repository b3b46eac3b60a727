//! A read transaction, and scans that hold few pages.

mod walk;

use std::ops::Bound;
use std::sync::Arc;

use heed::types::Bytes;
use heed::{Error, RoRange, RoRevRange, RoTxn, WithoutTls};

use rustix::mm::Advice;

use super::{Env, Gate};
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
}

impl LmdbSnapshot {
    /// The value of a key.
    pub(in crate::lmdb) fn find(&self, table: Table, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        // LMDB refuses the empty key, which no table has.
        if key.is_empty() {
            return Ok(None);
        }
        self.env.tables[table].get(&self.txn, key)
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
                return Ok(Range::None.into());
            }
            (Bound::Included([]) | Bound::Excluded([]), high) => (Bound::Unbounded, high),
            bounds => bounds,
        };
        let table = self.env.tables[table];
        let range = match order {
            Order::Ascending => Range::Ascending(table.range(&self.txn, &bounds)?),
            Order::Descending => Range::Descending(table.rev_range(&self.txn, &bounds)?),
        };
        Ok(range.into())
    }
}

impl EngineSnapshot for LmdbSnapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<&[u8]>, ReadError> {
        Ok(self.find(table, key)?)
    }

    fn get_many<'a>(
        &'a self,
        table: Table,
        keys: &[&[u8]],
        found: &mut Found<'_, 'a>,
    ) -> Result<(), ReadError> {
        let mut walk = Walk::new(self.env.tables[table], &self.txn);
        for (place, key) in keys.iter().enumerate() {
            if let Some(value) = walk.find(key)? {
                found(place, value);
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
    range: Range<'a>,
    held: Held,
}

enum Range<'a> {
    None,
    Ascending(RoRange<'a, Bytes, Bytes>),
    Descending(RoRevRange<'a, Bytes, Bytes>),
}

impl<'a> From<Range<'a>> for Entries<'a> {
    fn from(range: Range<'a>) -> Self {
        Self {
            range,
            held: Held::default(),
        }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = match &mut self.range {
            Range::None => None,
            Range::Ascending(range) => range.next(),
            Range::Descending(range) => range.next(),
        };
        if let Some(Ok((_, value))) = entry {
            self.held.note(value);
        }
        entry
    }
}

/// The part of the map that a scan has read since it last gave pages back.
#[derive(Default)]
struct Held {
    bytes: usize,
    /// The values at the lowest and at the highest address.
    ends: Option<(*const u8, *const u8)>,
}

impl Held {
    /// Notes a value, which lies in the map; with enough of them, gives their pages back.
    fn note(&mut self, value: &[u8]) {
        let at = value.as_ptr();
        let (low, high) = self.ends.unwrap_or((at, at));
        self.ends = Some((low.min(at), high.max(at)));
        self.bytes += value.len();
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
        let first = low.map_addr(|low| low.next_multiple_of(PAGE_BYTES));
        let bytes = (high.addr() / PAGE_BYTES * PAGE_BYTES).saturating_sub(first.addr());
        #[expect(unsafe_code, reason = "advice on memory that others read")]
        // SAFETY: both ends are values of one read transaction, so they and all between them lie
        // in the map, which does not move while the transaction's gate is held. The map is shared,
        // of a file, and only read: a page that is dropped is read back as it was, to the same
        // address, when someone next touches it. So no reader can tell.
        let released = unsafe { rustix::mm::madvise(first.cast_mut().cast(), bytes, RELEASE) };
        // Advice that is not taken costs memory and nothing else.
        let _ = released;
    }
}
