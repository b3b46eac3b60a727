//! Reading a range in key order, and where in it a read stands.

use std::ops::ControlFlow;

use cairn_index::{KeyRange, Revision};

use crate::error::ReadError;
use crate::index_view::IndexView;
use crate::range::{PairWriter, Tally, Values};
use crate::range_query::RangeQuery;
use crate::stored_kv::StoredKv;

/// A place in a range: what is before it was read, what is after it was not.
#[derive(Clone, Debug)]
pub(crate) struct KeyCursor {
    /// The keys after the place.
    rest: KeyRange,
    /// How many keys were before it, whether the filters let them through or not.
    seen: u64,
    /// How many of these were sent.
    sent: usize,
}

impl KeyCursor {
    pub(crate) const fn new(range: KeyRange) -> Self {
        Self {
            rest: range,
            seen: 0,
            sent: 0,
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
        let mut last: Option<&[u8]> = None;
        let start = self.rest.clone();
        for (key, version) in index.rows(&start, at) {
            if query.admits(&version) {
                let more = query.limit.is_some_and(|limit| self.sent >= limit.get());
                if more || left == 0 {
                    self.rest = last.map_or_else(|| start.clone(), |last| start.after(last));
                    let tally = more.then(|| Tally {
                        count: self.seen + index.count(&self.rest, at),
                        more,
                    });
                    return Ok(tally);
                }
                let flow = writer.write(key, version, &mut *sink)?;
                left = if flow.is_break() { 0 } else { left - 1 };
                self.sent += 1;
            }
            self.seen += 1;
            last = Some(key);
        }
        Ok(Some(Tally {
            count: self.seen,
            more: false,
        }))
    }
}
