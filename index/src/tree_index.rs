//! All keys, in order, in a map whose copy costs nothing.

use std::ops::Bound;

use crate::compaction::CompactionChunk;
use crate::history::KeyChange;
use crate::keep_set::KeepSet;
use crate::key::Key;
use crate::key_index::{KeyIndex, Remains};
use crate::key_range::KeyRange;
use crate::leaves::Leaves;
use crate::revision::{FullRevision, Revision};
use crate::system_keys::around;
use crate::version::KeyVersion;

/// The index of a store: every key's [`KeyIndex`] in key order.
///
/// A clone is a snapshot: O(1), and untouched by later writes. Readers, compactions and hashes work
/// on one while the only writer goes on.
///
/// Invariants:
/// 1. Keys ascend strictly, in leaves that hold their own invariants.
/// 2. Each key's index holds its own invariants.
#[derive(Clone, Debug)]
pub struct TreeIndex {
    keys: Leaves,
}

/// What a put did to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutPlace {
    /// The version replaced; `None` if the put created the key.
    pub previous: Option<KeyVersion>,
    /// The version written.
    pub now: KeyVersion,
}

impl TreeIndex {
    /// An index without keys.
    #[must_use]
    pub fn new() -> Self {
        Self {
            keys: Leaves::new(),
        }
    }

    /// The index of these keys, which must ascend.
    pub(crate) fn from_sorted(
        keys: impl IntoIterator<Item = (impl AsRef<[u8]>, KeyIndex)>,
    ) -> Self {
        Self {
            keys: Leaves::from_sorted(keys),
        }
    }

    /// Writes a key.
    ///
    /// # Panics
    ///
    /// If `at` is not later than the key's last change.
    pub fn put(&mut self, key: &[u8], at: FullRevision) -> PutPlace {
        let update = |index: &mut KeyIndex| {
            let previous = index.latest();
            PutPlace {
                previous,
                now: index.put(at),
            }
        };
        self.keys.update(key, update).unwrap_or_else(|| {
            let now = KeyVersion::created_by(at);
            self.keys.insert(key, KeyIndex::new(KeyChange::Put(now)));
            PutPlace {
                previous: None,
                now,
            }
        })
    }

    /// Deletes a key: the version it had, or `None`, and no change, if it is not live.
    ///
    /// # Panics
    ///
    /// If `at` is not later than the key's last change.
    pub fn tombstone(&mut self, key: &[u8], at: FullRevision) -> Option<KeyVersion> {
        self.keys.get(key)?.latest()?;
        self.keys.update(key, |index| index.tombstone(at))?
    }

    /// Compacts one key, as a [`CompactionChunk`] asks for. A key that nothing is left of is removed.
    pub fn compact_key(&mut self, key: &Key, at: Revision) {
        let key = key.as_bytes();
        if self.keys.update(key, |index| index.compact(at)) == Some(Remains::Nothing) {
            self.keys.remove(key);
        }
    }

    /// What a compaction at `at` has to do for up to `keys_max` keys from after `resume` on. Taken
    /// from a snapshot it holds for the index as well: later writes are later than `at`.
    #[must_use]
    pub fn plan_compaction(
        &self,
        at: Revision,
        resume: Option<&Key>,
        keys_max: usize,
    ) -> CompactionChunk {
        let mut chunk = CompactionChunk::default();
        chunk.resume = self.visit_chunk(resume, keys_max, |key, index| {
            let before = chunk.dropped.len();
            chunk.dropped.extend(index.dropped(at));
            if chunk.dropped.len() > before {
                chunk.keys.push(key.into());
            }
        });
        chunk
    }

    /// The revisions at or before `at` that a compaction at `at` keeps: of each key the last, unless
    /// that is a deletion before `at`. A deletion exactly at `at` is kept, for watchers.
    #[must_use]
    pub fn keep(&self, at: Revision) -> KeepSet {
        let mut keep = KeepSet::new(at);
        for kept in self.keys.iter().filter_map(|(_, index)| index.kept(at)) {
            keep.insert(kept.at());
        }
        keep
    }

    /// The revisions at or before `at` that a hash of the store compacted at `at` covers: those a
    /// read at `at` finds. Unlike [`keep`](Self::keep) it leaves out a deletion exactly at `at`, as
    /// etcd's `HashKV` does.
    #[must_use]
    pub fn keep_for_hash(&self, at: Revision) -> KeepSet {
        let mut keep = KeepSet::new(at);
        for found in self.keys.iter().filter_map(|(_, index)| index.get(at)) {
            keep.insert(found.modified);
        }
        keep
    }

    /// The key as a read at `at` finds it.
    #[must_use]
    pub fn get(&self, key: &[u8], at: Revision) -> Option<KeyVersion> {
        self.keys.get(key)?.get(at)
    }

    /// All that is known of a key.
    #[must_use]
    pub fn key(&self, key: &[u8]) -> Option<&KeyIndex> {
        self.keys.get(key)
    }

    /// All keys and what is known of them, in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &KeyIndex)> {
        self.keys.iter()
    }

    /// The keys of a range that a read at `at` finds, in key order. A scan in pieces goes on with
    /// [`KeyRange::after`] the last key it saw.
    pub fn range(
        &self,
        range: &KeyRange,
        at: Revision,
    ) -> impl Iterator<Item = (&[u8], KeyVersion)> {
        let (first, rest) = around(range.bounds());
        let rest = rest.into_iter().flat_map(|rest| self.keys.range(rest));
        let keys = self.keys.range(first).chain(rest);
        keys.filter_map(move |(key, index)| Some((key, index.get(at)?)))
    }

    /// How many keys of a range a read at `at` finds. A leaf of keys that did
    /// not change after `at` is one step.
    #[must_use]
    pub fn count(&self, range: &KeyRange, at: Revision) -> u64 {
        let (first, rest) = around(range.bounds());
        let rest = rest.map_or(0, |rest| self.keys.count(rest, at));
        (self.keys.count(first, at) + rest) as u64
    }

    /// The changes of a key from transaction `from` on, as [`KeyIndex::since`].
    #[must_use]
    pub fn since(&self, key: &[u8], from: Revision) -> Vec<FullRevision> {
        self.keys
            .get(key)
            .map(|index| index.since(from))
            .unwrap_or_default()
    }

    /// How many keys are known, deleted ones that no compaction removed yet included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.len() == 0
    }

    /// How many keys are live after the last write.
    #[must_use]
    pub const fn live(&self) -> usize {
        self.keys.live()
    }

    /// Checks the invariants.
    ///
    /// # Panics
    ///
    /// If one is broken, which is a bug here; its number is in the message.
    pub fn check_invariants(&self) {
        self.keys.check_invariants(); // 1
        self.keys
            .iter()
            .for_each(|(_, index)| index.check_invariants()); // 2
    }

    /// Visits up to `keys_max` keys after `resume`: the last one visited if more may follow.
    fn visit_chunk(
        &self,
        resume: Option<&Key>,
        keys_max: usize,
        mut visit: impl FnMut(&[u8], &KeyIndex),
    ) -> Option<Key> {
        let keys_max = keys_max.max(1);
        let start = resume.map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_bytes()));
        let mut last = None;
        let chunk = self.keys.range((start, Bound::Unbounded)).take(keys_max);
        let visited = chunk.map(|(key, index)| {
            visit(key, index);
            last = Some(key);
        });
        if visited.count() < keys_max {
            None
        } else {
            last.map(Key::from)
        }
    }
}

impl Default for TreeIndex {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for TreeIndex {
    fn eq(&self, other: &Self) -> bool {
        self.keys.iter().eq(other.keys.iter())
    }
}

impl Eq for TreeIndex {}
