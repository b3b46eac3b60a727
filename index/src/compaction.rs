//! A compaction in pieces.
//!
//! Most keys have one change, which every compaction keeps. So a compaction reads a snapshot, off
//! the write path, to find the few keys it must touch and the changes it drops; then only these are
//! touched, some at a time, with writes in between.

use crate::history::KeyChange;
use crate::key::Key;

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
