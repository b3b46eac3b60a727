//! The store: what its readers and its writer share.

use std::sync::Arc;

use bytes::Bytes;
use cairn_backend::{Backend, ReadTx, RowsChecksum, Table};
use cairn_index::{FullRevision, KeyRange, Revision, TreeIndex};
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::bucket_key::BucketKey;
use crate::compaction::Compaction;
use crate::compaction_point::CompactionPoint;
use crate::error::{ReadError, RestoreError};
use crate::hash_kv::CompactionHashes;
use crate::index_view::IndexView;
use crate::live_checksum::LiveChecksum;
use crate::range::{self, RangeSummary};
use crate::range_query::{RangeQuery, ReadAt};
use crate::range_scan::RangeScan;
use crate::restore::Restored;
use crate::stored_kv::StoredKv;
use crate::view::View;
use crate::write_batch::WriteBatch;

/// A revisioned key-value store. Clones are handles to the same store.
///
/// Locks are taken in the order `writers_turn`, `compaction`, the backend's, `state`. A writer holds
/// the first and the backend's, a compaction's step the second and the backend's, an installation all
/// of them; readers take `state` alone, for a moment.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    backend: Backend,
    state: RwLock<State>,
    compaction: Mutex<Compaction>,
    writers_turn: Mutex<()>,
    /// Hashes of compacted revisions, as they were before they were compacted.
    hashes: Mutex<CompactionHashes>,
}

/// What changes with every write, and as a whole when another member's database is installed.
///
/// The lock around it is held for one lookup or one change of the index, never across a scan or
/// storage. A transaction changes the index step by step, yet readers never see it half done:
/// lookups are always at a revision, and `current` is advanced last, after the backend has
/// published the bytes.
///
/// Invariants:
/// 1. `compacted ≤ current`.
/// 2. `current` and `compacted` never go back.
/// 3. The index has every change up to `current` but those that a compaction at `compacted` drops.
/// 4. It changes together with the backend when a database is installed: whoever opens a view of the
///    backend and then finds `installs` unchanged has a view that belongs to the state.
/// 5. `live` is the checksum of the live keys of `index`.
pub(crate) struct State {
    pub(crate) current: Revision,
    pub(crate) compacted: Option<CompactionPoint>,
    pub(crate) index: TreeIndex,
    /// That of the live keys of `index`.
    pub(crate) live: LiveChecksum,
    /// How many databases were installed since the start.
    pub(crate) installs: u64,
}

impl Store {
    /// Reads a store back from its backend; an empty backend is an empty store. A compaction that
    /// was cut short goes on with [`compaction_step`](Self::compaction_step).
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if the backend fails or its content is damaged.
    pub fn restore(backend: Backend) -> Result<Self, RestoreError> {
        Restored::read(backend).map(|restored| restored.store)
    }

    pub(crate) fn new(backend: Backend, state: State, compaction: Compaction) -> Self {
        state.check();
        Self {
            shared: Arc::new(Shared {
                backend,
                state: RwLock::new(state),
                compaction: Mutex::new(compaction),
                writers_turn: Mutex::new(()),
                hashes: Mutex::default(),
            }),
        }
    }

    /// The revision of the last write that readers can see.
    #[must_use]
    pub fn current(&self) -> Revision {
        self.shared.state.read().current
    }

    /// The first revision that can be read, if history was ever compacted.
    #[must_use]
    pub fn compacted(&self) -> Option<Revision> {
        self.compaction_point().and_then(CompactionPoint::revision)
    }

    /// How far history was compacted, if ever; unlike [`compacted`](Self::compacted) it tells a
    /// compaction at zero from none.
    #[must_use]
    pub fn compaction_point(&self) -> Option<CompactionPoint> {
        self.shared.state.read().compacted
    }

    /// Whether a key is there after the last write that readers can see. Its value is not read.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        let state = self.shared.state.read();
        state.index.get(key, state.current).is_some()
    }

    /// How many keys are live after the last write, seen by readers or not yet.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shared.state.read().index.live()
    }

    /// The checksum of the live keys and their last changes, seen by readers or not yet. It is the same
    /// for members that have applied the same, whatever they have compacted.
    #[must_use]
    pub fn live_checksum(&self) -> RowsChecksum {
        self.shared.state.read().live.rows()
    }

    /// The backend beneath.
    #[must_use]
    pub fn backend(&self) -> &Backend {
        &self.shared.backend
    }

    /// Begins to write. There is one writer at a time: a second one waits here.
    #[must_use]
    pub fn write(&self) -> WriteBatch<'_> {
        WriteBatch::begin(self)
    }

    /// Reads a range, handing each pair to `sink`.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the revision is compacted or in the future, or storage fails. Pairs may have
    /// reached `sink` before storage failed.
    pub fn range(
        &self,
        query: &RangeQuery,
        sink: &mut dyn FnMut(StoredKv<'_>),
    ) -> Result<RangeSummary, ReadError> {
        let view = self.view(query.at, &query.range)?;
        let tally = range::answer(query, view.at, &view.index, &view.values, sink)?;
        Ok(RangeSummary {
            revision: view.current,
            count: tally.count,
            more: tally.more,
        })
    }

    /// Begins to read a range in chunks.
    ///
    /// # Errors
    ///
    /// As [`range`](Self::range).
    pub fn scan(&self, query: &RangeQuery) -> Result<RangeScan, ReadError> {
        RangeScan::begin(self.clone(), query.clone())
    }

    /// The encoded `mvccpb.KeyValue` that a put stored, unless a compaction has deleted it.
    ///
    /// # Errors
    ///
    /// [`ReadError::Backend`] if storage fails.
    pub fn previous(&self, at: FullRevision) -> Result<Option<Bytes>, ReadError> {
        self.previous_each([Some(at)])
            .map(|mut found| found.pop().flatten())
    }

    /// [`previous`](Self::previous) of each, from one view; `None` stays `None`.
    ///
    /// # Errors
    ///
    /// [`ReadError::Backend`] if storage fails.
    pub fn previous_each(
        &self,
        changes: impl IntoIterator<Item = Option<FullRevision>>,
    ) -> Result<Vec<Option<Bytes>>, ReadError> {
        let mut view = None;
        let each = changes.into_iter().map(|at| {
            let Some(at) = at else { return Ok(None) };
            let values: &ReadTx = match &mut view {
                Some(values) => values,
                None => view.insert(self.shared.backend.read()?),
            };
            Ok(values.get(Table::Key, BucketKey::put(at).as_bytes())?)
        });
        each.collect()
    }

    /// Takes a consistent view of a range.
    pub(crate) fn view(&self, at: ReadAt, range: &KeyRange) -> Result<View, ReadError> {
        loop {
            let (installs, view) = {
                let state = self.shared.state.read();
                let revision = state.readable(at)?;
                let index = IndexView::take(&state.index, range, revision);
                let rest = (state.current, revision, state.compacted, index);
                (state.installs, rest)
            };
            let values = self.shared.backend.read()?;
            let (current, revision, compacted, index) = view;
            // Whatever a compaction deleted before `values` was opened, it had published itself
            // before. So this sees every compaction whose deletions `values` could lack; and an
            // installation that `values` is of and the index is not.
            let since = {
                let state = self.shared.state.read();
                let same = state.installs == installs;
                same.then(|| state.readable(ReadAt::Revision(revision)))
            };
            match (since, at) {
                (Some(Ok(_)), _) => {
                    let view = View {
                        current,
                        at: revision,
                        compacted,
                        index,
                        values,
                    };
                    view.check();
                    return Ok(view);
                }
                (None, _) | (Some(Err(_)), ReadAt::Latest) => {}
                (Some(Err(overtaken)), ReadAt::Revision(_)) => return Err(overtaken),
            }
        }
    }

    pub(crate) fn writers_turn(&self) -> MutexGuard<'_, ()> {
        self.shared.writers_turn.lock()
    }

    pub(crate) fn state(&self) -> &RwLock<State> {
        &self.shared.state
    }

    pub(crate) fn hashes(&self) -> &Mutex<CompactionHashes> {
        &self.shared.hashes
    }

    pub(crate) fn compaction(&self) -> &Mutex<Compaction> {
        &self.shared.compaction
    }
}

impl State {
    /// The state of a store that was read back.
    pub(crate) const fn new(
        current: Revision,
        compacted: Option<CompactionPoint>,
        index: TreeIndex,
        live: LiveChecksum,
    ) -> Self {
        Self {
            current,
            compacted,
            index,
            live,
            installs: 0,
        }
    }

    /// Takes over what was installed, and gives the index before, which takes a while to drop.
    pub(crate) fn replace(
        &mut self,
        current: Revision,
        compacted: Option<CompactionPoint>,
        index: TreeIndex,
        live: LiveChecksum,
    ) -> TreeIndex {
        self.installs += 1;
        self.live = live;
        self.publish(current, compacted);
        std::mem::replace(&mut self.index, index)
    }

    /// The revision to read at, if it can be read.
    pub(crate) fn readable(&self, at: ReadAt) -> Result<Revision, ReadError> {
        readable(at, self.current, self.compacted)
    }

    /// Shows readers what a batch wrote.
    pub(crate) fn publish(&mut self, current: Revision, compacted: Option<CompactionPoint>) {
        assert!(self.current <= current, "2");
        assert!(self.compacted <= compacted, "2");
        self.current = current;
        self.compacted = compacted;
        self.check();
    }

    fn check(&self) {
        assert!(
            self.compacted
                .is_none_or(|point| point <= self.current.into()),
            "1"
        );
    }
}

/// The revision to read at, if it is neither compacted nor in the future.
pub(crate) fn readable(
    at: ReadAt,
    current: Revision,
    compacted: Option<CompactionPoint>,
) -> Result<Revision, ReadError> {
    let requested = match at {
        ReadAt::Latest => current,
        ReadAt::Revision(requested) => requested,
    };
    match compacted {
        Some(compacted) if compacted.hides(requested) => Err(ReadError::Compacted {
            requested,
            compacted,
        }),
        _ if requested > current => Err(ReadError::Future { requested, current }),
        _ => Ok(requested),
    }
}
