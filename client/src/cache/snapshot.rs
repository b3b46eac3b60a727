//! What a cache knows at one revision, and how one such state becomes the next.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use im::OrdMap;
use im::ordmap::DiffItem;

use super::entry::{Change, Entry};
use super::key::Key;
use crate::keys::Keys;
use crate::kv::KeyValue;
use crate::revision::Revision;
use crate::watch::Event;

/// All keys of a cache at one revision. Clones cost the same however many keys there are, and never
/// change.
///
/// Invariant: it is what the server has at `revision`, for the cache's keys.
pub struct Snapshot<V> {
    map: OrdMap<Key, Arc<Entry<V>>>,
    revision: Revision,
}

impl<V> Clone for Snapshot<V> {
    fn clone(&self) -> Self {
        Self {
            map: self.map.clone(),
            revision: self.revision,
        }
    }
}

impl<V> Snapshot<V> {
    pub(super) fn empty() -> Self {
        Self {
            map: OrdMap::new(),
            revision: Revision::FIRST,
        }
    }

    /// What a server listed at a revision.
    pub(super) fn listed(entries: Vec<Entry<V>>, revision: Revision) -> Self {
        let keyed = entries.into_iter();
        let keyed = keyed.map(|entry| (Key::from(&entry.kv().key[..]), Arc::new(entry)));
        Self {
            map: keyed.collect(),
            revision,
        }
    }

    /// The revision that it is of.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The entry of a key.
    #[must_use]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<&Arc<Entry<V>>> {
        self.map.get(key.as_ref())
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// All entries, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Entry<V>>> {
        self.map.values()
    }

    /// The entries of some keys, in their order.
    pub fn range(&self, keys: impl Into<Keys>) -> impl Iterator<Item = &Arc<Entry<V>>> {
        let keys = keys.into();
        let first = Bound::Included(&keys.first()[..]);
        let from = self.map.range::<_, [u8]>((first, Bound::Unbounded));
        from.map(|(_, entry)| entry)
            .take_while(move |entry| keys.contains(&entry.kv().key))
    }

    /// Takes up changes that a watch told; returns what that changed, in order.
    pub(super) fn apply(
        &mut self,
        events: Vec<Event>,
        revision: Revision,
        decode: impl Fn(KeyValue) -> Entry<V>,
    ) -> Vec<Change<V>> {
        let mut changes = Vec::with_capacity(events.len());
        for event in events {
            match event {
                Event::Put { kv, .. } => {
                    let new = Arc::new(decode(kv));
                    let key = Key::from(&new.kv().key[..]);
                    changes.push(match self.map.insert(key, Arc::clone(&new)) {
                        Some(old) => Change::Update { old, new },
                        None => Change::Insert { new },
                    });
                }
                Event::Delete { key, revision, .. } => {
                    if let Some(old) = self.map.remove(&key[..]) {
                        changes.push(Change::Delete {
                            old,
                            revision: Some(revision),
                        });
                    }
                }
            }
        }
        self.revision = self.revision.max(revision);
        changes
    }

    /// Nothing changed up to a revision.
    pub(super) fn progress(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    /// What became of the keys between an older snapshot and this: deletions first, then writes in
    /// the order in which they were made. What happened to a key in between is not in it.
    pub(super) fn since(&self, older: &Self) -> Vec<Change<V>> {
        let differences = older.map.diff(&self.map);
        let mut changes: Vec<Change<V>> = differences
            .map(|difference| match difference {
                DiffItem::Add(_, new) => Change::Insert {
                    new: Arc::clone(new),
                },
                DiffItem::Update { old, new } => Change::Update {
                    old: Arc::clone(old.1),
                    new: Arc::clone(new.1),
                },
                DiffItem::Remove(_, old) => Change::Delete {
                    old: Arc::clone(old),
                    revision: None,
                },
            })
            .collect();
        changes.sort_by(|a, b| match (a.new_entry(), b.new_entry()) {
            (Some(a), Some(b)) => a.kv().mod_revision.cmp(&b.kv().mod_revision),
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        });
        changes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    /// A key and its new value, or that it is deleted.
    type Step = (u8, Option<u8>);

    fn decode(kv: KeyValue) -> Entry<u8> {
        let value = kv.value.first().copied().ok_or_else(|| "empty".to_owned());
        Entry::new(kv, value)
    }

    fn event((key, value): Step, revision: Revision) -> Event {
        let key = Bytes::copy_from_slice(&[b'k', key]);
        match value {
            Some(value) => Event::Put {
                kv: KeyValue {
                    key,
                    value: vec![value].into(),
                    create_revision: revision,
                    mod_revision: revision,
                    version: 1,
                    lease: None,
                },
                previous: None,
            },
            None => Event::Delete {
                key,
                revision,
                previous: None,
            },
        }
    }

    fn content(snapshot: &Snapshot<u8>) -> BTreeMap<Vec<u8>, u8> {
        let entries = snapshot.iter();
        entries
            .map(|entry| (entry.kv().key.to_vec(), *entry.value().unwrap()))
            .collect()
    }

    /// A follower that knows nothing but changes.
    fn follow(known: &mut BTreeMap<Vec<u8>, u8>, changes: &[Change<u8>]) {
        for change in changes {
            let key = change.entry().kv().key.to_vec();
            let before = known.get(&key).copied();
            assert_eq!(
                before,
                change.old_entry().and_then(|old| old.value().copied())
            );
            match change.new_entry() {
                Some(new) => known.insert(key, *new.value().unwrap()),
                None => known.remove(&key),
            };
        }
    }

    proptest! {
        #[test]
        fn changes_lead_a_follower_from_state_to_state(
            steps in proptest::collection::vec((0_u8..6, proptest::option::of(any::<u8>())), 1..60),
            cuts in proptest::collection::vec(any::<bool>(), 60),
        ) {
            let mut snapshot = Snapshot::empty();
            let mut model = BTreeMap::new();
            let (mut step_by_step, mut at_cuts) = (BTreeMap::new(), BTreeMap::new());
            let mut cut = snapshot.clone();
            for (at, step) in steps.into_iter().enumerate() {
                let revision = snapshot.revision().next();
                match step {
                    (key, Some(value)) => model.insert(vec![b'k', key], value),
                    (key, None) => model.remove(&vec![b'k', key]),
                };
                let changes = snapshot.apply(vec![event(step, revision)], revision, decode);
                follow(&mut step_by_step, &changes);
                prop_assert_eq!(&content(&snapshot), &model);
                prop_assert_eq!(&step_by_step, &model);
                prop_assert_eq!(snapshot.revision(), revision);
                if cuts[at] {
                    follow(&mut at_cuts, &snapshot.since(&cut));
                    prop_assert_eq!(&at_cuts, &model);
                    cut = snapshot.clone();
                }
            }
        }
    }

    #[test]
    fn ranges_are_those_of_the_server() {
        let mut snapshot = Snapshot::empty();
        let events = (0..5).map(|key| event((key, Some(key)), Revision::FIRST.next()));
        let _ = snapshot.apply(events.collect(), Revision::FIRST.next(), decode);
        let count = |keys: Keys| snapshot.range(keys).count();
        assert_eq!(count(Keys::prefix("k")), 5);
        assert_eq!(count(Keys::all()), 5);
        assert_eq!(count(Keys::range([b'k', 1], [b'k', 3])), 2);
        assert_eq!(count(Keys::from_key([b'k', 3])), 2);
        assert_eq!(count(Keys::one([b'k', 3])), 1);
        assert_eq!(count(Keys::one("missing")), 0);
    }
}
