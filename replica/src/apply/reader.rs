//! What a transaction reads through: the state that it is changing, or one pinned state.

use cairn_index::{KeyRange, Revision};
use cairn_mvcc::{
    CompactionPoint, RangeQuery, RangeSummary, ReadAt, ReadError, Store, StoredKv, WriteTxn,
};

/// A consistent state of the store.
pub trait Reader {
    /// The newest revision of this state.
    fn current(&self) -> Revision;

    /// How far the store's history has been compacted.
    fn compacted(&self) -> Option<CompactionPoint>;

    /// Hands what `query` asks for to `sink`, in the query's order.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    fn range(
        &self,
        query: &RangeQuery,
        sink: &mut dyn FnMut(StoredKv<'_>),
    ) -> Result<RangeSummary, ReadError>;

    /// Hands every key of `range` to `sink`, as it is now.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    fn each(
        &self,
        range: &KeyRange,
        sink: &mut dyn FnMut(StoredKv<'_>),
    ) -> Result<RangeSummary, ReadError> {
        self.range(&RangeQuery::new(range.clone()), sink)
    }
}

impl Reader for WriteTxn<'_, '_> {
    fn current(&self) -> Revision {
        self.now()
    }

    fn compacted(&self) -> Option<CompactionPoint> {
        Self::compaction_point(self)
    }

    fn range(
        &self,
        query: &RangeQuery,
        sink: &mut dyn FnMut(StoredKv<'_>),
    ) -> Result<RangeSummary, ReadError> {
        Self::range(self, query, sink)
    }
}

/// The store at one revision: what was the latest when this was made stays the latest.
pub struct SnapshotReader<'a> {
    store: &'a Store,
    pinned: Revision,
}

impl<'a> SnapshotReader<'a> {
    /// Pins the current revision.
    pub fn new(store: &'a Store) -> Self {
        Self {
            store,
            pinned: store.current(),
        }
    }
}

impl Reader for SnapshotReader<'_> {
    fn current(&self) -> Revision {
        self.pinned
    }

    fn compacted(&self) -> Option<CompactionPoint> {
        self.store.compaction_point()
    }

    fn range(
        &self,
        query: &RangeQuery,
        sink: &mut dyn FnMut(StoredKv<'_>),
    ) -> Result<RangeSummary, ReadError> {
        let at = match query.at {
            ReadAt::Latest => ReadAt::Revision(self.pinned),
            at @ ReadAt::Revision(_) => at,
        };
        let summary = self.store.range(
            &RangeQuery {
                at,
                ..query.clone()
            },
            sink,
        )?;
        Ok(RangeSummary {
            revision: self.pinned,
            ..summary
        })
    }
}
