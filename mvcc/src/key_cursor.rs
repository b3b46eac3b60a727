//! Reading a range in key order, and where in it a read stands.

use std::ops::ControlFlow;

use cairn_index::{KeyRange, KeyVersion, Revision};

use crate::error::ReadError;
use crate::index_view::IndexView;
use crate::pair_writer::{AHEAD_ROWS_MAX, PairWriter};
use crate::range::Tally;
use crate::range_order::Row;
use crate::range_query::RangeQuery;
use crate::stored_kv::StoredKv;
use crate::values::Values;

/// How many rows are read ahead for a reader that nothing is known of.
const AHEAD_ROWS_FIRST: usize = 1024;

/// How many are read ahead for one that takes few.
const AHEAD_ROWS_MIN: usize = 8;

/// A place in a range: what is before it was read, what is after it was not.
#[derive(Clone, Debug)]
pub(crate) struct KeyCursor {
    /// The keys after the place.
    rest: KeyRange,
    /// How many keys were before it, whether the filters let them through or not.
    seen: u64,
    /// How many of these were sent.
    sent: usize,
    /// How many rows are read before they are sent: somewhat more than the reader took when it last
    /// broke off.
    ahead_rows: usize,
}

impl KeyCursor {
    /// The beginning of a range, for a reader that may break off.
    pub(crate) const fn new(range: KeyRange) -> Self {
        Self {
            rest: range,
            seen: 0,
            sent: 0,
            ahead_rows: AHEAD_ROWS_FIRST,
        }
    }

    /// The beginning of a range, for a reader that does not.
    pub(crate) fn to_the_end(range: KeyRange) -> Self {
        Self {
            ahead_rows: AHEAD_ROWS_MAX,
            ..Self::new(range)
        }
    }

    /// The keys not read yet.
    pub(crate) const fn rest(&self) -> &KeyRange {
        &self.rest
    }

    /// Sends at most `pairs_max` pairs, or fewer if `sink` breaks off: the tally of the whole range
    /// if that was the end of it, or the end of what the limit lets through.
    pub(crate) fn read(
        &mut self,
        query: &RangeQuery,
        at: Revision,
        index: &IndexView,
        values: &impl Values,
        pairs_max: usize,
        sink: &mut dyn FnMut(StoredKv<'_>) -> ControlFlow<()>,
    ) -> Result<Option<Tally>, ReadError> {
        let mut writer = PairWriter::new(query, values);
        let mut left = pairs_max;
        let start = self.rest.clone();
        let mut rows = Admitted {
            rows: index.rows(&start, at),
            query,
            seen: self.seen,
        };
        let mut next = rows.next();
        let (mut ahead, mut seen) = (Vec::new(), Vec::new());
        while next.is_some() {
            let limit = query.limit.map_or(usize::MAX, usize::from);
            let more = self.sent >= limit;
            let room = left.min(limit - self.sent).min(self.ahead_rows);
            if room == 0 {
                return Ok(more.then(|| Tally {
                    count: self.seen + index.count(&self.rest, at),
                    more,
                }));
            }
            ahead.clear();
            seen.clear();
            while ahead.len() < room
                && let Some((row, upto)) = next
            {
                ahead.push(row);
                seen.push(upto);
                next = rows.next();
            }
            let sent = writer.write_all(&ahead, sink)?;
            left = if sent.flow.is_break() {
                0
            } else {
                left - sent.rows
            };
            self.sent += sent.rows;
            let last = sent.rows.checked_sub(1);
            if let Some((row, upto)) = last.and_then(|last| ahead.get(last).zip(seen.get(last))) {
                self.seen = *upto;
                self.rest = start.after(row.key);
            }
            if sent.rows < ahead.len() {
                self.ahead_rows = (sent.rows + sent.rows / 8).max(AHEAD_ROWS_MIN);
                return Ok(None);
            }
            self.ahead_rows = (self.ahead_rows * 2).min(AHEAD_ROWS_MAX);
        }
        Ok(Some(Tally {
            count: rows.seen,
            more: false,
        }))
    }
}

/// The rows that the filters let through, each with the number of keys up to it.
struct Admitted<'q, I> {
    rows: I,
    query: &'q RangeQuery,
    seen: u64,
}

impl<'i, I: Iterator<Item = (&'i [u8], KeyVersion)>> Iterator for Admitted<'_, I> {
    type Item = (Row<'i>, u64);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (key, version) = self.rows.next()?;
            self.seen += 1;
            if self.query.admits(&version) {
                return Some((Row { key, version }, self.seen));
            }
        }
    }
}
