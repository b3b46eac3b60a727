//! One write transaction: operations that share a revision.

use bytes::Bytes;
use cairn_backend::Table;
use cairn_index::{FullRevision, KeyRange, KeyVersion, Revision, SubRevision};

use crate::bucket_key::BucketKey;
use crate::change::Change;
use crate::error::ReadError;
use crate::index_view::IndexView;
use crate::lease_id::LeaseId;
use crate::range::{self, RangeSummary};
use crate::range_query::RangeQuery;
use crate::store::readable;
use crate::stored_kv::{self, KvFields, StoredKv};
use crate::write_batch::WriteBatch;

/// How many keys a range deletion looks up at a time.
const DELETE_CHUNK_KEYS: usize = 1000;

/// A transaction. Its operations see what those before them did; readers see all of them or none.
///
/// There is no way back: whatever could refuse an operation must be checked before the first one.
///
/// Invariants:
/// 1. `changes` are at `revision`, with sub revisions 0, 1, 2, ….
/// 2. The batch is at `revision` if there are changes, and at the one before if not.
pub struct WriteTxn<'b, 's> {
    batch: &'b mut WriteBatch<'s>,
    revision: Revision,
    changes: Vec<Change>,
}

/// What a put did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutDone {
    /// The version replaced, if the key was there.
    pub previous: Option<KeyVersion>,
    /// The version written.
    pub now: KeyVersion,
}

/// What a range deletion did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteDone {
    /// The versions deleted, in key order.
    pub previous: Vec<KeyVersion>,
}

impl DeleteDone {
    /// How many keys were deleted.
    #[must_use]
    pub fn deleted(&self) -> u64 {
        self.previous.len() as u64
    }
}

/// What a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The revision of the store after it: a new one only if something changed.
    pub revision: Revision,
    /// Its changes, in the order of its operations.
    pub changes: Vec<Change>,
}

impl<'b, 's> WriteTxn<'b, 's> {
    pub(crate) fn begin(batch: &'b mut WriteBatch<'s>) -> Self {
        let revision = batch.head.current.next();
        Self {
            batch,
            revision,
            changes: Vec::new(),
        }
    }

    /// Writes a key. It cannot fail: a backend that has failed says so when the batch ends.
    pub fn put(&mut self, key: &[u8], value: &[u8], lease: Option<LeaseId>) -> PutDone {
        let at = self.next_change();
        let place = {
            let mut state = self.batch.head.store.state().write();
            let place = state.index.put(key, at);
            state.live.replace(key, place.previous, Some(place.now));
            place
        };
        let kv = stored_kv::encode(&KvFields {
            value,
            lease,
            ..KvFields::of_version(key, place.now)
        });
        self.batch
            .tx
            .put(Table::Key, BucketKey::put(at).as_bytes(), kv.clone());
        let previous = place.previous.map(|version| version.modified);
        let version = place.now.version;
        self.record(Change::put(kv, key.len(), version, at, previous));
        PutDone {
            previous: place.previous,
            now: place.now,
        }
    }

    /// Deletes the keys of a range, in key order. It cannot fail, as [`put`](Self::put).
    pub fn delete_range(&mut self, range: &KeyRange) -> DeleteDone {
        let mut done = DeleteDone::default();
        if let KeyRange::One(key) = range {
            done.previous.extend(self.delete(key));
            return done;
        }
        let at = self.now();
        let mut rest = range.clone();
        loop {
            let keys: Vec<Bytes> = {
                let state = self.batch.head.store.state().read();
                let rows = state.index.range(&rest, at).take(DELETE_CHUNK_KEYS);
                rows.map(|(key, _)| Bytes::copy_from_slice(key)).collect()
            };
            for key in &keys {
                done.previous.extend(self.delete(key));
            }
            match keys.last() {
                Some(last) if keys.len() == DELETE_CHUNK_KEYS => rest = rest.after(last),
                _ => return done,
            }
        }
    }

    /// Reads a range; what this transaction did is seen.
    ///
    /// # Errors
    ///
    /// As [`Store::range`](crate::Store::range).
    pub fn range(
        &self,
        query: &RangeQuery,
        sink: &mut dyn FnMut(StoredKv<'_>),
    ) -> Result<RangeSummary, ReadError> {
        let head = &self.batch.head;
        let at = readable(query.at, self.now(), head.compacted)?;
        let index = IndexView::take(&head.store.state().read().index, &query.range, at);
        let tally = range::answer(query, at, &index, &self.batch.tx, sink)?;
        Ok(RangeSummary {
            revision: self.now(),
            count: tally.count,
            more: tally.more,
        })
    }

    /// The encoded `mvccpb.KeyValue` that a put stored, unless a compaction has deleted it.
    ///
    /// # Errors
    ///
    /// [`ReadError::Backend`] if storage fails.
    pub fn stored(&self, at: FullRevision) -> Result<Option<Bytes>, ReadError> {
        let key = BucketKey::put(at);
        Ok(self.batch.tx.get(Table::Key, key.as_bytes())?)
    }

    /// The revision that this transaction makes if it changes anything.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// The revision that its reads see: its own once it has changed something.
    #[must_use]
    pub const fn now(&self) -> Revision {
        self.batch.head.current
    }

    /// How far history is compacted.
    #[must_use]
    pub const fn compaction_point(&self) -> Option<crate::CompactionPoint> {
        self.batch.head.compacted
    }

    /// What it changed so far.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Ends the transaction: the next one is another revision.
    #[must_use]
    pub fn end(self) -> Committed {
        self.check();
        Committed {
            revision: self.now(),
            changes: self.changes,
        }
    }

    fn delete(&mut self, key: &[u8]) -> Option<KeyVersion> {
        let at = self.next_change();
        let previous = {
            let mut state = self.batch.head.store.state().write();
            let previous = state.index.tombstone(key, at)?;
            state.live.replace(key, Some(previous), None);
            previous
        };
        let stored = stored_kv::encode(&KvFields::of_key(key));
        self.batch
            .tx
            .put(Table::Key, BucketKey::tombstone(at).as_bytes(), stored);
        self.record(Change::delete(key, at, Some(previous.modified)));
        Some(previous)
    }

    fn next_change(&self) -> FullRevision {
        FullRevision::new(self.revision, SubRevision::new(self.changes.len() as u64))
    }

    fn record(&mut self, change: Change) {
        assert_eq!(change.at, self.next_change(), "1");
        self.changes.push(change);
        self.batch.head.current = self.revision;
    }

    fn check(&self) {
        let changed = !self.changes.is_empty();
        assert_eq!(changed, self.now() == self.revision, "2");
    }
}
