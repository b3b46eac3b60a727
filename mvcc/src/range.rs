//! The way of a range: index rows → filters → order and limit → stored bytes → reader.
//!
//! The index knows all that filters and most orders ask for, so only pairs that are returned are
//! read from storage; sorting by value alone reads every candidate.

use std::ops::ControlFlow;

use cairn_backend::{BatchTx, ReadTx, Table};
use cairn_index::{FullRevision, KeyVersion, Revision};

use crate::bucket_key::BucketKey;
use crate::error::ReadError;
use crate::index_view::IndexView;
use crate::key_cursor::KeyCursor;
use crate::range_order::{Best, Row};
use crate::range_query::{RangeQuery, SortTarget};
use crate::stored_kv::{KvFields, StoredKv};

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

/// Where the values of changes are read.
pub(crate) trait Values {
    fn value<R>(&self, at: FullRevision, f: impl FnOnce(&[u8]) -> R) -> Result<R, ReadError>;
}

impl Values for ReadTx {
    fn value<R>(&self, at: FullRevision, f: impl FnOnce(&[u8]) -> R) -> Result<R, ReadError> {
        let key = BucketKey::put(at);
        self.get_with(Table::Key, key.as_bytes(), f)?
            .ok_or(ReadError::Missing(at))
    }
}

impl Values for BatchTx<'_> {
    fn value<R>(&self, at: FullRevision, f: impl FnOnce(&[u8]) -> R) -> Result<R, ReadError> {
        let key = BucketKey::put(at);
        let value = self.get(Table::Key, key.as_bytes())?;
        value.map(|value| f(&value)).ok_or(ReadError::Missing(at))
    }
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
    if query.in_key_order() {
        let mut cursor = KeyCursor::new(query.range.clone());
        let tally = cursor.read(query, at, index, values, usize::MAX, &mut |pair| {
            sink(pair);
            ControlFlow::Continue(())
        })?;
        // Without a limit on the chunk the cursor always comes to an end.
        return Ok(tally.unwrap_or_default());
    }
    let (rows, tally) = sorted(query, at, index, values)?;
    let mut writer = PairWriter::new(query, values);
    for Row { key, version } in rows {
        writer.write(key, version, &mut *sink)?;
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

/// Reads, or makes, the encoded pair of a row.
pub(crate) struct PairWriter<'q, V> {
    query: &'q RangeQuery,
    values: &'q V,
    scratch: Vec<u8>,
}

impl<'q, V: Values> PairWriter<'q, V> {
    pub(crate) const fn new(query: &'q RangeQuery, values: &'q V) -> Self {
        Self {
            query,
            values,
            scratch: Vec::new(),
        }
    }

    pub(crate) fn write<R>(
        &mut self,
        key: &[u8],
        version: KeyVersion,
        take: impl FnOnce(StoredKv<'_>) -> R,
    ) -> Result<R, ReadError> {
        if !self.query.keys_only {
            let taken = self.values.value(version.modified, |encoded| {
                take(StoredKv {
                    key,
                    encoded,
                    version,
                })
            });
            return taken;
        }
        self.scratch.clear();
        if self.query.needs_no_values() {
            KvFields::of_version(key, version).encode_into(&mut self.scratch);
        } else {
            let scratch = &mut self.scratch;
            let without_value = |encoded: &[u8]| {
                KvFields::parse(encoded).map(|fields| {
                    KvFields {
                        value: b"",
                        ..fields
                    }
                    .encode_into(scratch);
                })
            };
            self.values.value(version.modified, without_value)??;
        }
        let encoded = &self.scratch;
        Ok(take(StoredKv {
            key,
            encoded,
            version,
        }))
    }
}
