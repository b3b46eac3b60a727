//! Reading a range in chunks: for streams, and for answers too large to hold.
//!
//! Between chunks nothing is held but the place where to go on: no snapshot of the index, which
//! would make the writer copy, and no storage transaction, which would keep freed pages from being
//! used again. Every chunk is read at the revision that the first one found.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use bytes::Bytes;
use cairn_index::{KeyRange, KeyVersion, Revision};

use crate::error::ReadError;
use crate::key_cursor::KeyCursor;
use crate::pair_writer::PairWriter;
use crate::range::{self, RangeSummary, Tally};
use crate::range_query::{RangeQuery, ReadAt};
use crate::store::Store;
use crate::stored_kv::StoredKv;

/// A range read that goes on where it stopped.
///
/// A query that sorts is sorted when the scan begins, and the scan holds its rows, though not their
/// values. One in key order holds no rows.
#[derive(Clone)]
pub struct RangeScan {
    store: Store,
    query: RangeQuery,
    at: Revision,
    current: Revision,
    rest: Rest,
}

/// What is still to be read.
#[derive(Clone)]
enum Rest {
    /// In key order: what is after the cursor.
    Keys(KeyCursor),
    /// Sorted: these rows.
    Rows {
        rows: std::iter::Peekable<std::vec::IntoIter<(Bytes, KeyVersion)>>,
        tally: Tally,
    },
    Nothing(Tally),
}

/// Where a scan stands after a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanProgress {
    /// There is another chunk, of at least one pair.
    More,
    /// That was the last one.
    Done(RangeSummary),
}

impl RangeScan {
    pub(crate) fn begin(store: Store, query: RangeQuery) -> Result<Self, ReadError> {
        let view = store.view(query.at, &query.range)?;
        let rest = if query.count_only {
            let count = view.index.count(&query.range, view.at);
            Rest::Nothing(Tally { count, more: false })
        } else if query.in_key_order() {
            Rest::Keys(KeyCursor::new(query.range.clone()))
        } else {
            let (rows, tally) = range::sorted(&query, view.at, &view.index, &view.values)?;
            let rows = rows
                .into_iter()
                .map(|row| (Bytes::copy_from_slice(row.key), row.version));
            let rows = rows.collect::<Vec<_>>().into_iter().peekable();
            Rest::Rows { rows, tally }
        };
        let (at, current) = (view.at, view.current);
        Ok(Self {
            store,
            query,
            at,
            current,
            rest,
        })
    }

    /// The revision that every chunk is read at.
    #[must_use]
    pub const fn at(&self) -> Revision {
        self.at
    }

    /// Reads the next chunk: at most `pairs_max` pairs, or fewer if `sink` breaks off after one.
    /// After the last chunk it is empty for ever.
    ///
    /// # Errors
    ///
    /// [`ReadError::Compacted`] if a compaction has overtaken the scan; otherwise as
    /// [`Store::range`].
    pub fn next_chunk(
        &mut self,
        pairs_max: NonZeroUsize,
        sink: &mut dyn FnMut(StoredKv<'_>) -> ControlFlow<()>,
    ) -> Result<ScanProgress, ReadError> {
        if !matches!(self.rest, Rest::Nothing(_)) {
            let view = self
                .store
                .view(ReadAt::Revision(self.at), self.rest.range(&self.query))?;
            let pairs_max = pairs_max.get();
            let done = match &mut self.rest {
                Rest::Keys(cursor) => cursor.read(
                    &self.query,
                    view.at,
                    &view.index,
                    &view.values,
                    pairs_max,
                    sink,
                )?,
                Rest::Rows { rows, tally } => {
                    let mut writer = PairWriter::new(&self.query, &view.values);
                    for (key, version) in rows.by_ref().take(pairs_max) {
                        if writer.write(&key, version, &mut *sink)?.is_break() {
                            break;
                        }
                    }
                    rows.peek().is_none().then_some(*tally)
                }
                Rest::Nothing(tally) => Some(*tally),
            };
            if let Some(tally) = done {
                self.rest = Rest::Nothing(tally);
            }
        }
        Ok(match &self.rest {
            Rest::Nothing(tally) => ScanProgress::Done(RangeSummary {
                revision: self.current,
                count: tally.count,
                more: tally.more,
            }),
            Rest::Keys(_) | Rest::Rows { .. } => ScanProgress::More,
        })
    }
}

impl Rest {
    fn range<'r>(&'r self, query: &'r RangeQuery) -> &'r KeyRange {
        match self {
            Self::Keys(cursor) => cursor.rest(),
            Self::Rows { .. } | Self::Nothing(_) => &query.range,
        }
    }
}
