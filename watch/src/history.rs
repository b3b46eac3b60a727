//! The past, as watchers need it. The store is one; tests bring their own.

use bytes::Bytes;
use cairn_index::Revision;
use cairn_mvcc::{Change, EventLimits, Events, ReadError, Store};

/// A store's history.
///
/// Whoever implements this keeps an order that the hub relies on: the compaction point moves before
/// anything is forgotten, so that what was read while it stood below is whole.
pub trait History {
    /// Why the history could not be read. Compaction is no error here: the hub looks at
    /// [`History::compacted`] itself.
    type Error: std::error::Error;

    /// The current revision: at least that of every change the hub was notified of.
    fn current(&self) -> Revision;

    /// The first revision that can be read, if history was ever compacted.
    fn compacted(&self) -> Option<Revision>;

    /// The changes of the revisions `[from, through]` whose keys are `wanted`, in order, whole
    /// revisions, as far as the limits let it.
    ///
    /// # Errors
    ///
    /// If the history cannot be read. For a `from` that is compacted any answer is good.
    fn events(
        &self,
        from: Revision,
        through: Revision,
        limits: EventLimits,
        wanted: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Events, Self::Error>;

    /// The encoded key-value pair that each of `changes` replaced; `None` if there was none or it is
    /// compacted, which it is if the revision before the change cannot be read.
    ///
    /// # Errors
    ///
    /// If the history cannot be read.
    fn previous(&self, changes: &[&Change]) -> Result<Vec<Option<Bytes>>, Self::Error>;
}

impl History for Store {
    type Error = ReadError;

    fn current(&self) -> Revision {
        Self::current(self)
    }

    fn compacted(&self) -> Option<Revision> {
        Self::compacted(self)
    }

    fn events(
        &self,
        from: Revision,
        through: Revision,
        limits: EventLimits,
        wanted: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Events, ReadError> {
        match Self::events(self, from, through, limits, wanted) {
            // A compaction came between the hub's look at the compaction point and this.
            Err(ReadError::Compacted { .. }) => Ok(Events {
                changes: Vec::new(),
                next: Some(from),
            }),
            answer => answer,
        }
    }

    fn previous(&self, changes: &[&Change]) -> Result<Vec<Option<Bytes>>, ReadError> {
        let compacted = Self::compacted(self);
        let readable = |change: &&Change| {
            let before = change.at.main.previous();
            change.previous.filter(|_| before >= compacted)
        };
        self.previous_each(changes.iter().map(readable))
    }
}
