//! Building an index from stored records.

use crate::history::KeyChange;
use crate::key::Key;
use crate::key_index::KeyIndex;
use crate::revision::FullRevision;
use crate::tree_index::TreeIndex;
use crate::version::KeyVersion;

/// Collects stored records, then builds the index of them.
///
/// A map is built several times faster in key order than in the order of revisions, so the records
/// are sorted first.
#[derive(Debug, Default)]
pub struct Restore {
    records: Vec<(Key, KeyChange)>,
}

impl Restore {
    /// A restore that has seen no record.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a stored put.
    pub fn put(&mut self, key: &[u8], version: KeyVersion) {
        self.records.push((key.into(), KeyChange::Put(version)));
    }

    /// Takes a stored tombstone.
    pub fn tombstone(&mut self, key: &[u8], at: FullRevision) {
        self.records.push((key.into(), KeyChange::Tombstone(at)));
    }

    /// The index of all records.
    #[must_use]
    pub fn finish(mut self) -> TreeIndex {
        self.records
            .sort_unstable_by(|(a, a_change), (b, b_change)| {
                a.cmp(b).then_with(|| a_change.at().cmp(&b_change.at()))
            });
        let of_keys = self.records.chunk_by(|(a, _), (b, _)| a == b);
        let mut changes = Vec::new();
        TreeIndex::from_sorted(of_keys.filter_map(|records| {
            let (key, _) = records.first()?;
            changes.clear();
            changes.extend(records.iter().map(|(_, change)| *change));
            Some((key.clone(), KeyIndex::from_changes(&changes)?))
        }))
    }
}
