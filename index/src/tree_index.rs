//! All keys, in order, in a map whose copy costs nothing.

use im::OrdMap;

use crate::compaction::{CompactionChunk, visit_chunk};
use crate::history::KeyChange;
use crate::keep_set::KeepSet;
use crate::key::Key;
use crate::key_index::{KeyIndex, Remains};
use crate::key_range::KeyRange;
use crate::revision::{FullRevision, Revision};
use crate::version::KeyVersion;

/// The index of a store: every key's [`KeyIndex`] in key order.
///
/// A clone is a snapshot: O(1), and untouched by later writes. Readers, compactions and hashes work
/// on one while the only writer goes on.
///
/// Invariants:
/// 1. Each key's index holds its own invariants.
/// 2. `live` is the number of keys whose last change is a put.
#[derive(Clone, Debug, Default)]
pub struct TreeIndex {
    keys: OrdMap<Key, KeyIndex>,
    live: usize,
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
        Self::default()
    }

    /// The index of these keys, which must ascend.
    pub(crate) fn from_sorted(keys: impl IntoIterator<Item = (Key, KeyIndex)>) -> Self {
        let mut live = 0;
        let keys = keys.into_iter().inspect(|(_, index)| {
            live += usize::from(index.latest().is_some());
        });
        let keys = keys.collect();
        Self { keys, live }
    }

    /// Writes a key.
    ///
    /// # Panics
    ///
    /// If `at` is not later than the key's last change.
    pub fn put(&mut self, key: &[u8], at: FullRevision) -> PutPlace {
        let place = match self.keys.get_mut(key) {
            Some(index) => PutPlace {
                previous: index.latest(),
                now: index.put(at),
            },
            None => {
                let now = KeyVersion::created_by(at);
                self.keys
                    .insert(key.into(), KeyIndex::new(KeyChange::Put(now)));
                PutPlace {
                    previous: None,
                    now,
                }
            }
        };
        self.live += usize::from(place.previous.is_none());
        place
    }

    /// Deletes a key: the version it had, or `None`, and no change, if it is not live.
    ///
    /// # Panics
    ///
    /// If `at` is not later than the key's last change.
    pub fn tombstone(&mut self, key: &[u8], at: FullRevision) -> Option<KeyVersion> {
        let previous = self.keys.get_mut(key)?.tombstone(at)?;
        assert!(self.live > 0, "a live key is counted");
        self.live -= 1;
        Some(previous)
    }

    /// Compacts up to `keys_max` keys from after `resume` on, noting in `keep` what is kept: the
    /// last key done, to resume after, or `None` if these were the last.
    pub fn compact_chunk(
        &mut self,
        at: Revision,
        resume: Option<&Key>,
        keys_max: usize,
        keep: &mut KeepSet,
    ) -> Option<Key> {
        let mut touched = Vec::new();
        let resume = visit_chunk(&self.keys, resume, keys_max, |key, index| {
            if let Some(kept) = index.kept(at) {
                keep.insert(kept.at());
            }
            if index.dropped(at).next().is_some() {
                touched.push(key.clone());
            }
        });
        for key in touched {
            self.compact_key(&key, at);
        }
        resume
    }

    /// Compacts one key, as a [`CompactionChunk`] asks for.
    pub fn compact_key(&mut self, key: &Key, at: Revision) {
        let Some(index) = self.keys.get_mut(key) else {
            return;
        };
        if index.compact(at) == Remains::Nothing {
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
        chunk.resume = visit_chunk(&self.keys, resume, keys_max, |key, index| {
            let before = chunk.dropped.len();
            chunk.dropped.extend(index.dropped(at));
            if chunk.dropped.len() > before {
                chunk.keys.push(key.clone());
            }
        });
        chunk
    }

    /// The revisions at or before `at` that a compaction at `at` keeps: of each key the last, unless
    /// that is a deletion before `at`. A deletion exactly at `at` is kept, for watchers.
    #[must_use]
    pub fn keep(&self, at: Revision) -> KeepSet {
        let mut keep = KeepSet::new(at);
        for kept in self.keys.values().filter_map(|index| index.kept(at)) {
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
        for found in self.keys.values().filter_map(|index| index.get(at)) {
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

    /// The keys of a range that a read at `at` finds, in key order. A scan in pieces goes on with
    /// [`KeyRange::after`] the last key it saw.
    pub fn range(
        &self,
        range: &KeyRange,
        at: Revision,
    ) -> impl Iterator<Item = (&[u8], KeyVersion)> {
        let keys = self.keys.range::<_, [u8]>(range.bounds());
        keys.filter_map(move |(key, index)| Some((key.as_bytes(), index.get(at)?)))
    }

    /// How many keys of a range a read at `at` finds: O(keys in the range).
    #[must_use]
    pub fn count(&self, range: &KeyRange, at: Revision) -> u64 {
        let keys = self.keys.range::<_, [u8]>(range.bounds());
        keys.map(|(_, index)| u64::from(index.is_live(at))).sum()
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
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys are live after the last write.
    #[must_use]
    pub const fn live(&self) -> usize {
        self.live
    }

    /// Checks the invariants.
    ///
    /// # Panics
    ///
    /// If one is broken, which is a bug here; its number is in the message.
    pub fn check_invariants(&self) {
        self.keys.values().for_each(KeyIndex::check_invariants); // 1
        let live = self
            .keys
            .values()
            .filter(|index| index.latest().is_some())
            .count();
        assert_eq!(live, self.live, "2");
    }
}

impl PartialEq for TreeIndex {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys
    }
}

impl Eq for TreeIndex {}
