//! The check of the hub's invariants, by their numbers.

use std::collections::BTreeSet;

use super::Hub;
use crate::history::History;
use crate::sink::Sink;
use crate::stream::StreamKey;
use crate::watcher::{Standing, WatcherKey};

/// Above this many watchers and streams the check after every step would be most of a debug build's
/// work.
const DEBUG_CHECK_MAX: usize = 64;

impl<H: History, S: Sink> Hub<H, S> {
    /// Checks the invariants of [`Hub`].
    ///
    /// # Panics
    ///
    /// If one does not hold; its number is the message's.
    pub fn check_invariants(&self) {
        let mut synced = 0;
        let mut unsynced = BTreeSet::new();
        let mut victims = BTreeSet::new();
        for (slot, watcher) in &self.watchers {
            let key = WatcherKey(slot);
            let stream = self.stream(watcher.stream);
            match watcher.standing {
                Standing::Synced => synced += 1,
                Standing::Unsynced => assert!(unsynced.insert((watcher.next, key))),
                Standing::Victim => {
                    assert!(victims.insert(key));
                    assert!(stream.blocked, "3: {watcher:?}");
                }
            }
            let behind = watcher.standing != Standing::Synced;
            assert!(!behind || watcher.next <= self.current(), "2: {watcher:?}");
            assert_eq!(
                stream.ids.get(&watcher.id),
                Some(&Some(key)),
                "4: {watcher:?}"
            );
            if let cairn_index::KeyRange::One(one) = &watcher.range {
                let mut found = false;
                self.synced.matching(one, |other| found |= other == key);
                assert_eq!(found, !behind, "1: {watcher:?}");
            }
        }
        assert_eq!(self.synced.len(), synced, "1: synced");
        assert_eq!(self.unsynced, unsynced, "1: unsynced");
        let mut victims_of_streams = BTreeSet::new();
        let mut ids = 0;
        for (slot, stream) in &self.streams {
            ids += stream.ids.values().flatten().count();
            assert!(
                stream
                    .victims
                    .iter()
                    .all(|&key| victims_of_streams.insert(key)),
                "1: twice"
            );
            assert_eq!(
                stream.blocked,
                self.blocked.contains(&StreamKey(slot)),
                "3: {slot}"
            );
        }
        assert_eq!(victims_of_streams, victims, "1: victims");
        assert_eq!(ids, self.watchers.len(), "4");
        assert_eq!(self.stream_keys.len(), self.streams.len(), "4: streams");
    }

    /// Checks the invariants of a small hub in a debug build.
    pub(super) fn debug_check(&self) {
        if cfg!(debug_assertions) && self.watchers.len() + self.streams.len() <= DEBUG_CHECK_MAX {
            self.check_invariants();
        }
    }
}
