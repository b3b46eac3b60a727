//! The hash by which members compare their stores.
//!
//! It is etcd's, bit for bit: CRC-32C over the name of the key table and then the stored key and
//! value of every change up to a revision, in order, but for what compaction makes unreadable. So it
//! depends neither on how far physical deletion has come nor on restarts, nor on whether a member has
//! applied the changes or installed them.

use std::collections::VecDeque;
use std::ops::{Bound, ControlFlow};

use cairn_backend::{ReadTx, Table};
use cairn_index::{FullRevision, KeepSet, KeyRange, Revision, TreeIndex};

use crate::bucket_key::BucketKey;
use crate::change::ChangeKind;
use crate::compaction_point::CompactionPoint;
use crate::error::ReadError;
use crate::index_view::IndexView;
use crate::range_query::ReadAt;
use crate::store::Store;

/// How many changes are hashed in one storage transaction.
const CHUNK_CHANGES: usize = 50_000;

/// A hash of the store at a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    /// The hash.
    pub hash: u32,
    /// The revision hashed.
    pub revision: Revision,
    /// How far history was compacted; equal hashes mean equal stores only if this is equal too.
    pub compacted: Option<CompactionPoint>,
    /// The current revision of the store.
    pub current: Revision,
}

/// Hashes that are remembered; etcd's number.
const REMEMBERED_MAX: usize = 10;

/// The hashes of compacted revisions, as they were before, oldest first.
pub(crate) type CompactionHashes = VecDeque<HashKv>;

/// Which changes a hash covers.
struct Cover {
    at: Revision,
    /// The revision compacted at, and what remains of what is not later.
    compacted: Option<(Revision, KeepSet)>,
}

/// How the hashing of a chunk ended.
enum Chunk {
    Full(BucketKey),
    Last,
}

impl Store {
    /// Hashes the store at a revision.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the revision is compacted or in the future, or storage fails.
    pub fn hash_kv(&self, at: ReadAt) -> Result<HashKv, ReadError> {
        loop {
            let view = self.view(at, &KeyRange::All)?;
            let (current, compacted) = (view.current, view.compacted);
            let cover = Cover::new(view.at, compacted, &view.index);
            drop(view);
            if let Some(hash) = self.hash_covered(&cover, compacted)? {
                return Ok(HashKv {
                    hash,
                    revision: cover.at,
                    compacted,
                    current,
                });
            }
        }
    }

    /// Hashes the revision that a compaction is about to reach, as it is before anything is deleted: with
    /// history compacted as far as before. It is [remembered](Self::remembered_hash) until the store is
    /// closed, as members compare what they held before a compaction. `None` if there is no such
    /// compaction, or it has begun.
    ///
    /// To be called by whoever calls [`compaction_step`](Self::compaction_step), before the first.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if storage fails.
    pub fn remember_hash(&self) -> Result<Option<HashKv>, ReadError> {
        let Some(point) = self.compaction_point() else {
            return Ok(None);
        };
        let before = self.compaction().lock().before(point);
        let (Some(compacted), Some(revision)) = (before, point.revision()) else {
            return Ok(None);
        };
        let (current, index) = {
            let state = self.state().read();
            (state.current, state.index.clone())
        };
        let cover = Cover::new(revision, compacted, &IndexView::Tree(index));
        let Some(hash) = self.hash_covered(&cover, Some(point))? else {
            return Ok(None);
        };
        let hash = HashKv {
            hash,
            revision,
            compacted,
            current,
        };
        let mut hashes = self.hashes().lock();
        hashes.push_back(hash);
        if hashes.len() > REMEMBERED_MAX {
            hashes.pop_front();
        }
        Ok(Some(hash))
    }

    /// The hash of a compacted revision as it was before the compaction, if that is remembered.
    #[must_use]
    pub fn remembered_hash(&self, revision: Revision) -> Option<HashKv> {
        let hashes = self.hashes().lock();
        let found = hashes.iter().find(|hash| hash.revision == revision)?;
        Some(HashKv {
            current: self.current(),
            ..*found
        })
    }

    /// The history is another one now.
    pub(crate) fn forget_hashes(&self) {
        self.hashes().lock().clear();
    }

    /// The hash, or `None` if a compaction came in between and took what was to be hashed. An
    /// installation that moves no compaction point changes nothing: the history is the same.
    fn hash_covered(
        &self,
        cover: &Cover,
        compacted: Option<CompactionPoint>,
    ) -> Result<Option<u32>, ReadError> {
        let mut hash = crc32c::crc32c(Table::Key.name().as_bytes());
        let mut start = Bound::Unbounded;
        loop {
            let tx = self.backend().read()?;
            if self.compaction_point() != compacted {
                return Ok(None);
            }
            let from = match &start {
                Bound::Excluded(last) => Bound::Excluded(BucketKey::as_bytes(last)),
                Bound::Included(_) | Bound::Unbounded => Bound::Unbounded,
            };
            match hash_chunk(&tx, from, cover, &mut hash)? {
                Chunk::Full(last) => start = Bound::Excluded(last),
                Chunk::Last => return Ok(Some(hash)),
            }
        }
    }
}

fn hash_chunk(
    tx: &ReadTx,
    from: Bound<&[u8]>,
    cover: &Cover,
    hash: &mut u32,
) -> Result<Chunk, ReadError> {
    let end = BucketKey::first_of(cover.at.next());
    let bounds = (from, Bound::Excluded(end.as_bytes()));
    let mut left = CHUNK_CHANGES;
    let mut chunk = Ok(Chunk::Last);
    tx.scan(Table::Key, bounds, &mut |key, value| {
        let (at, kind) = match BucketKey::decode(key) {
            Ok(decoded) => decoded,
            Err(error) => {
                chunk = Err(error);
                return ControlFlow::Break(());
            }
        };
        if cover.has(at, kind) {
            *hash = crc32c::crc32c_append(*hash, key);
            *hash = crc32c::crc32c_append(*hash, value);
        }
        left -= 1;
        if left > 0 {
            return ControlFlow::Continue(());
        }
        chunk = Ok(Chunk::Full(BucketKey::new(at, kind)));
        ControlFlow::Break(())
    })?;
    Ok(chunk?)
}

impl Cover {
    fn new(at: Revision, compacted: Option<CompactionPoint>, index: &IndexView) -> Self {
        let compacted = match (compacted.and_then(CompactionPoint::revision), index) {
            (Some(point), IndexView::Tree(index)) => Some((point, keep(at, point, index))),
            _ => None,
        };
        Self { at, compacted }
    }

    fn has(&self, change: FullRevision, kind: ChangeKind) -> bool {
        match &self.compacted {
            Some((point, _)) if change.main == *point && kind == ChangeKind::Delete => false,
            Some((point, keep)) if change.main <= *point => keep.contains(change),
            _ => change.main <= self.at,
        }
    }
}

/// What is hashed of the changes that are not later than the compaction: what a read at `at` finds.
///
/// If that is nothing at all, etcd takes it for "not compacted" and leaves nothing out. What it then
/// hashes, once physical deletion is done, is what the compaction keeps.
fn keep(at: Revision, compacted: Revision, index: &TreeIndex) -> KeepSet {
    let keep = index.keep_for_hash(at);
    if keep.is_empty() {
        index.keep(compacted)
    } else {
        keep
    }
}
