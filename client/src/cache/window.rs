//! The latest changes of a cache, kept for those who follow it.
//!
//! A follower knows a snapshot and how many batches it has seen. One that is slower than the window
//! loses the changes in between and gets the difference between the two states instead: it hears of
//! every key that is not what it was, and memory stays bounded whoever is slow.

use std::collections::VecDeque;
use std::sync::Arc;

use super::entry::Change;
use super::snapshot::Snapshot;
use crate::revision::Revision;

/// See the module.
///
/// Invariant: `batches` lead from `base` to `current`, and `first` counts those that were dropped.
pub(super) struct Window<V> {
    batches: VecDeque<Batch<V>>,
    first: u64,
    changes: usize,
    changes_max: usize,
    base: Snapshot<V>,
    current: Snapshot<V>,
}

struct Batch<V> {
    changes: Arc<[Change<V>]>,
    after: Snapshot<V>,
}

/// Where a follower stands.
pub(super) struct Cursor<V> {
    /// The next batch, counted from the first of all; unknown to one that is behind the window.
    next: Option<u64>,
    seen: Snapshot<V>,
}

impl<V> Window<V> {
    pub(super) fn new(changes_max: usize) -> Self {
        Self {
            batches: VecDeque::new(),
            first: 0,
            changes: 0,
            changes_max,
            base: Snapshot::empty(),
            current: Snapshot::empty(),
        }
    }

    #[cfg(test)]
    fn current(&self) -> &Snapshot<V> {
        &self.current
    }

    pub(super) fn push(&mut self, changes: Vec<Change<V>>, after: Snapshot<V>) {
        self.current = after.clone();
        if changes.is_empty() {
            return;
        }
        self.changes += changes.len();
        self.batches.push_back(Batch {
            changes: changes.into(),
            after,
        });
        while self.changes > self.changes_max
            && let Some(dropped) = self.batches.pop_front()
        {
            self.changes -= dropped.changes.len();
            self.first += 1;
            self.base = dropped.after;
        }
    }

    fn end(&self) -> u64 {
        self.first + self.batches.len() as u64
    }

    /// A follower that knows nothing: what is there comes first.
    pub(super) fn knowing_nothing(&self) -> Cursor<V> {
        Cursor {
            next: None,
            seen: Snapshot::empty(),
        }
    }

    /// A follower that knows the present.
    pub(super) fn knowing_all(&self) -> Cursor<V> {
        Cursor {
            next: Some(self.end()),
            seen: self.current.clone(),
        }
    }

    /// A follower that knows what was before a revision; `None` if the window does not reach back.
    pub(super) fn knowing_before(&self, revision: Revision) -> Option<Cursor<V>> {
        if self.base.revision() >= revision {
            return None;
        }
        let seen = self
            .batches
            .iter()
            .take_while(|batch| batch.after.revision() < revision);
        let count = seen.clone().count() as u64;
        Some(Cursor {
            next: Some(self.first + count),
            seen: seen.last().map_or(&self.base, |batch| &batch.after).clone(),
        })
    }

    /// What is new to a follower.
    pub(super) fn take(&self, cursor: &mut Cursor<V>) -> Vec<Change<V>> {
        let ahead = cursor.next.and_then(|next| next.checked_sub(self.first));
        match ahead.and_then(|ahead| usize::try_from(ahead).ok()) {
            Some(ahead) => match self.batches.get(ahead) {
                Some(batch) => {
                    cursor.next = cursor.next.map(|next| next + 1);
                    cursor.seen = batch.after.clone();
                    batch.changes.to_vec()
                }
                None => Vec::new(),
            },
            None => {
                let changes = self.current.since(&cursor.seen);
                *cursor = self.knowing_all();
                changes
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::entry::Entry;
    use super::*;
    use crate::kv::KeyValue;
    use crate::watch::Event;

    fn put(window: &mut Window<Bytes>, key: &str) {
        let mut state = window.current().clone();
        let revision = state.revision().next();
        let event = Event::Put {
            kv: KeyValue {
                key: Bytes::copy_from_slice(key.as_bytes()),
                value: Bytes::new(),
                create_revision: revision,
                mod_revision: revision,
                version: 1,
                lease: None,
            },
            previous: None,
        };
        let decode = |kv: KeyValue| {
            let value = Ok(kv.value.clone());
            Entry::new(kv, value)
        };
        let changes = state.apply(vec![event], revision, decode);
        window.push(changes, state);
    }

    fn keys(changes: &[Change<Bytes>]) -> Vec<String> {
        let name = |change: &Change<Bytes>| String::from_utf8_lossy(change.key()).into_owned();
        changes.iter().map(name).collect()
    }

    #[test]
    fn a_follower_in_the_window_gets_each_batch_and_one_behind_it_the_difference() {
        let mut window = Window::new(2);
        let mut slow = window.knowing_nothing();
        put(&mut window, "a");
        assert_eq!(keys(&window.take(&mut slow)), ["a"]);
        assert_eq!(keys(&window.take(&mut slow)), [""; 0]);
        put(&mut window, "b");
        put(&mut window, "c");
        assert_eq!(keys(&window.take(&mut slow)), ["b"]);
        for key in ["d", "d", "e"] {
            put(&mut window, key);
        }
        assert_eq!(keys(&window.take(&mut slow)), ["c", "d", "e"]);
        put(&mut window, "f");
        assert_eq!(keys(&window.take(&mut slow)), ["f"]);
    }

    #[test]
    fn a_follower_begins_at_a_revision_that_the_window_has() {
        let mut window = Window::new(2);
        for key in ["a", "b", "c"] {
            put(&mut window, key);
        }
        let at = |number| Revision::new(number).unwrap();
        assert!(window.knowing_before(at(2)).is_none());
        let mut late = window.knowing_before(at(4)).unwrap();
        assert_eq!(keys(&window.take(&mut late)), ["c"]);
        let mut early = window.knowing_before(at(3)).unwrap();
        assert_eq!(keys(&window.take(&mut early)), ["b"]);
    }
}
