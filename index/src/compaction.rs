//! A compaction in pieces.
//!
//! Most keys have one change, which every compaction keeps. So a compaction reads a snapshot, off
//! the write path, to find the few keys it must touch and the changes it drops; then only these are
//! touched, some at a time, with writes in between.

use std::ops::Bound;

use im::OrdMap;

use crate::history::KeyChange;
use crate::key::Key;
use crate::key_index::KeyIndex;

/// What a compaction has to do for some neighbouring keys.
#[derive(Debug, Default)]
pub struct CompactionChunk {
    /// The keys to compact in the index.
    pub keys: Vec<Key>,
    /// The changes to delete from storage; of each key its oldest, in order.
    pub dropped: Vec<KeyChange>,
    /// The last key seen, to resume after; `None` if there are no more.
    pub resume: Option<Key>,
}

/// Visits up to `keys_max` keys after `resume`: the last one visited if more may follow.
pub(crate) fn visit_chunk<'a>(
    keys: &'a OrdMap<Key, KeyIndex>,
    resume: Option<&Key>,
    keys_max: usize,
    mut visit: impl FnMut(&'a Key, &'a KeyIndex),
) -> Option<Key> {
    let start = resume.map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_bytes()));
    let mut last = None;
    let chunk = keys
        .range::<_, [u8]>((start, Bound::Unbounded))
        .take(keys_max.max(1));
    let visited = chunk.map(|(key, index)| {
        visit(key, index);
        last = Some(key);
    });
    if visited.count() < keys_max.max(1) {
        None
    } else {
        last.cloned()
    }
}
