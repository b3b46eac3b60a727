//! A set of watchers, asked by key: exact keys by hash, ranges by an interval tree.
//!
//! The group knows nothing of what watchers want or where they are: it maps keys to their names,
//! whatever these are.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use cairn_index::{KeyRange, is_system_key};

use crate::interval_tree::{End, Interval, IntervalTree};

/// The set.
///
/// Invariants:
/// 1. A watcher is in it at most once, under its own range.
/// 2. No key and no interval has an empty set of watchers.
#[derive(Debug)]
pub(crate) struct WatcherGroup<W> {
    keys: HashMap<Bytes, BTreeSet<W>>,
    ranges: IntervalTree<BTreeSet<W>>,
    len: usize,
}

impl<W> Default for WatcherGroup<W> {
    fn default() -> Self {
        Self {
            keys: HashMap::new(),
            ranges: IntervalTree::default(),
            len: 0,
        }
    }
}

impl<W: Copy + Ord> WatcherGroup<W> {
    /// Adds a watcher; `false` if it is in the group already.
    pub(crate) fn add(&mut self, range: &KeyRange, watcher: W) -> bool {
        let added = match Place::of(range) {
            Place::Key(key) => match self.keys.get_mut(key) {
                Some(watchers) => watchers.insert(watcher),
                None => self
                    .keys
                    .insert(key.clone(), BTreeSet::from([watcher]))
                    .is_none(),
            },
            Place::Interval(interval) => match self.ranges.find_mut(&interval) {
                Some(watchers) => watchers.insert(watcher),
                None => {
                    self.ranges.insert(interval, BTreeSet::from([watcher]));
                    true
                }
            },
        };
        self.len += usize::from(added);
        added
    }

    /// Takes a watcher out; `false` if it is not in the group under this range.
    pub(crate) fn remove(&mut self, range: &KeyRange, watcher: W) -> bool {
        let take = |watchers: Option<&mut BTreeSet<W>>| {
            watchers.map_or((false, false), |set| (set.remove(&watcher), set.is_empty()))
        };
        let removed = match Place::of(range) {
            Place::Key(key) => {
                let (removed, empty) = take(self.keys.get_mut(key));
                if empty {
                    self.keys.remove(key);
                }
                removed
            }
            Place::Interval(interval) => {
                let (removed, empty) = take(self.ranges.find_mut(&interval));
                if empty {
                    self.ranges.remove(&interval);
                }
                removed
            }
        };
        self.len -= usize::from(removed);
        removed
    }

    /// How many watchers are in the group.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Shows every watcher whose range contains `key`, once. System keys are in no range of clients.
    pub(crate) fn matching(&self, key: &[u8], mut visit: impl FnMut(W)) {
        if let Some(watchers) = self.keys.get(key) {
            watchers.iter().copied().for_each(&mut visit);
        }
        if is_system_key(key) {
            return;
        }
        self.ranges.stab(key, &mut |watchers| {
            watchers.iter().copied().for_each(&mut visit);
        });
    }
}

/// Where a range is kept.
enum Place<'a> {
    Key(&'a Bytes),
    Interval(Interval),
}

impl<'a> Place<'a> {
    fn of(range: &'a KeyRange) -> Self {
        let interval = |start: &Bytes, end| {
            Self::Interval(Interval {
                start: start.clone(),
                end,
            })
        };
        match range {
            KeyRange::One(key) => Self::Key(key),
            KeyRange::Span { start, end } => interval(start, End::Before(end.clone())),
            KeyRange::From(start) => interval(start, End::Never),
            KeyRange::All => interval(&Bytes::new(), End::Never),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(key: &'static str, end: &'static str) -> KeyRange {
        KeyRange::from_wire(Bytes::from(key), Bytes::from(end))
    }

    fn matching(group: &WatcherGroup<usize>, key: &str) -> Vec<usize> {
        let mut found = Vec::new();
        group.matching(key.as_bytes(), |watcher| found.push(watcher));
        found.sort_unstable();
        found
    }

    #[test]
    fn ranges_have_no_system_keys() {
        let mut group = WatcherGroup::default();
        group.add(&range("\0", "\0"), 0);
        group.add(&range("\0", "b"), 1);
        assert!(matching(&group, "\0cairn\0x").is_empty());
        assert_eq!(matching(&group, "\0cairn"), [0, 1]);
    }

    #[test]
    fn keys_and_ranges_of_every_kind_find_their_watchers() {
        let mut group = WatcherGroup::default();
        let ranges = [
            range("b", ""),
            range("b", "d"),
            range("c", "\0"),
            range("\0", "\0"),
            range("b", "d"),
        ];
        for (number, range) in ranges.iter().enumerate() {
            assert!(group.add(range, number));
        }
        assert_eq!(matching(&group, "a"), [3]);
        assert_eq!(matching(&group, "b"), [0, 1, 3, 4]);
        assert_eq!(matching(&group, "c"), [1, 2, 3, 4]);
        assert_eq!(matching(&group, "d"), [2, 3]);
        assert!(group.remove(&ranges[1], 1));
        assert!(!group.remove(&ranges[1], 1));
        assert_eq!(matching(&group, "b"), [0, 3, 4]);
        for number in [0, 2, 3, 4] {
            assert!(group.remove(&ranges[number], number));
        }
        assert_eq!(group.len(), 0);
        assert!(group.keys.is_empty() && matching(&group, "c").is_empty());
    }
}
