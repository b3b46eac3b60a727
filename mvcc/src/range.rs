//! The way of a range: index rows → filters → order and limit → stored bytes → reader.
//!
//! The index knows all that filters and most orders ask for, so only pairs that are returned are
//! read from storage; sorting by value alone reads every candidate.

use std::ops::ControlFlow;

use cairn_index::Revision;

use crate::error::ReadError;
use crate::index_view::IndexView;
use crate::key_cursor::KeyCursor;
use crate::pair_writer::{AHEAD_ROWS_MAX, PairWriter};
use crate::range_order::{Best, Row};
use crate::range_query::{RangeQuery, SortTarget};
use crate::stored_kv::{KvFields, StoredKv};
use crate::values::Values;

/// What a range read says beside the pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeSummary {
    /// The current revision of the store, also if an older one was read.
    pub revision: Revision,
    /// How many keys the range has, whatever limit and filters left of them.
    pub count: u64,
    /// Whether the limit cut pairs off.
    pub more: bool,
}

/// How many keys there were, and whether the limit cut some off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) more: bool,
}

/// Takes pairs as they are found.
pub(crate) type Sink<'s> = &'s mut dyn FnMut(StoredKv<'_>);

/// Answers a query at a revision that was checked.
pub(crate) fn answer(
    query: &RangeQuery,
    at: Revision,
    index: &IndexView,
    values: &impl Values,
    sink: Sink<'_>,
) -> Result<Tally, ReadError> {
    if query.count_only {
        let count = index.count(&query.range, at);
        return Ok(Tally { count, more: false });
    }
    let mut sink = |pair: StoredKv<'_>| {
        sink(pair);
        ControlFlow::Continue(())
    };
    if query.in_key_order() {
        let mut cursor = KeyCursor::to_the_end(query.range.clone());
        let tally = cursor.read(query, at, index, values, usize::MAX, &mut sink)?;
        // Without a limit on the chunk the cursor always comes to an end.
        return Ok(tally.unwrap_or_default());
    }
    let (rows, tally) = sorted(query, at, index, values)?;
    let mut writer = PairWriter::new(query, values);
    for chunk in rows.chunks(AHEAD_ROWS_MAX) {
        writer.write_all(chunk, &mut sink)?;
    }
    Ok(tally)
}

/// The rows of an answer in the order asked for.
pub(crate) fn sorted<'i>(
    query: &RangeQuery,
    at: Revision,
    index: &'i IndexView,
    values: &impl Values,
) -> Result<(Vec<Row<'i>>, Tally), ReadError> {
    let mut best = Best::new(query);
    let mut rows = index.rows(&query.range, at);
    let candidates_max = query.candidates_max();
    let mut seen = 0;
    let candidates = rows.by_ref().take(candidates_max.unwrap_or(usize::MAX));
    for (key, version) in candidates {
        seen += 1;
        if !query.admits(&version) {
            continue;
        }
        if query.target == SortTarget::Value {
            let offer = |encoded: &[u8]| {
                KvFields::parse(encoded).map(|fields| best.offer_value(key, version, fields.value))
            };
            values.value(version.modified, offer)??;
        } else {
            best.offer(key, version);
        }
    }
    let count = if rows.next().is_some() {
        index.count(&query.range, at)
    } else {
        seen
    };
    let more = best.more();
    Ok((best.into_rows(), Tally { count, more }))
}
