//! A naive index: every change of every key for ever, and the definitions word for word.

use std::collections::BTreeMap;

use cairn_index::{FullRevision, KeyChange, KeyVersion, Revision, SubRevision, Version};

pub(crate) type ModelKey = Vec<u8>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    changes: BTreeMap<ModelKey, Vec<KeyChange>>,
    current: u64,
    compacted: u64,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            current: 1,
            ..Self::default()
        }
    }

    pub(crate) fn current(&self) -> Revision {
        Revision::new(self.current).unwrap()
    }

    /// What can be read: from the compacted revision to one after the last.
    pub(crate) fn readable(&self) -> impl Iterator<Item = Revision> + use<> {
        (self.compacted.max(1)..=self.current + 1).map(|number| Revision::new(number).unwrap())
    }

    pub(crate) fn begin(&mut self) {
        self.current += 1;
    }

    pub(crate) fn at(&self, sub: u64) -> FullRevision {
        FullRevision::new(self.current(), SubRevision::new(sub))
    }

    pub(crate) fn put(&mut self, key: &[u8], at: FullRevision) -> KeyVersion {
        let now = match self.get(key, self.current()) {
            Some(before) => KeyVersion {
                modified: at,
                created: before.created,
                version: Version::new(before.version.number() + 1).unwrap(),
            },
            None => KeyVersion {
                modified: at,
                created: at.main,
                version: Version::FIRST,
            },
        };
        self.changes
            .entry(key.to_vec())
            .or_default()
            .push(KeyChange::Put(now));
        now
    }

    pub(crate) fn tombstone(&mut self, key: &[u8], at: FullRevision) -> Option<KeyVersion> {
        let before = self.get(key, self.current())?;
        self.changes
            .get_mut(key)
            .unwrap()
            .push(KeyChange::Tombstone(at));
        Some(before)
    }

    pub(crate) fn compact(&mut self, at: Revision) {
        self.compacted = at.number();
    }

    pub(crate) fn get(&self, key: &[u8], at: Revision) -> Option<KeyVersion> {
        let changes = self.changes.get(key)?;
        changes
            .iter()
            .rfind(|change| change.at().main <= at)?
            .version()
    }

    pub(crate) fn range(&self, at: Revision) -> Vec<(ModelKey, KeyVersion)> {
        let keys = self.changes.keys();
        keys.filter_map(|key| Some((key.clone(), self.get(key, at)?)))
            .collect()
    }

    pub(crate) fn since(&self, key: &[u8], from: Revision) -> Vec<FullRevision> {
        let Some(changes) = self.changes.get(key) else {
            return Vec::new();
        };
        let visible = |at: FullRevision| {
            let later = |other: &KeyChange| other.at().main == at.main && other.at() > at;
            !changes.iter().any(later)
        };
        let since = changes
            .iter()
            .map(KeyChange::at)
            .filter(|at| at.main >= from);
        since.filter(|at| visible(*at)).collect()
    }

    /// The changes that a store compacted at `at` still has, in the order of revisions.
    pub(crate) fn kept(&self, at: u64) -> Vec<(ModelKey, KeyChange)> {
        let mut kept = Vec::new();
        for (key, changes) in &self.changes {
            for change in changes {
                let main = change.at().main.number();
                let superseded = changes
                    .iter()
                    .any(|other| other.at().main.number() <= at && other.at() > change.at());
                let past_deletion = main < at && change.version().is_none();
                if main > at || !(superseded || past_deletion) {
                    kept.push((key.clone(), *change));
                }
            }
        }
        kept.sort_by_key(|(_, change)| change.at());
        kept
    }

    /// What is stored now.
    pub(crate) fn stored(&self) -> Vec<(ModelKey, KeyChange)> {
        self.kept(self.compacted)
    }
}
