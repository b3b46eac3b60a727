//! The present: applied revisions go to the synced watchers.

use cairn_index::Revision;
use cairn_mvcc::Change;

use super::Hub;
use crate::event::EventPool;
use crate::history::History;
use crate::sink::Sink;
use crate::stream::StreamKey;
use crate::watcher::{Standing, WatcherKey};

impl<H: History, S: Sink> Hub<H, S> {
    /// Tells the synced watchers of a revision: each that wants some of `changes` gets them in one
    /// reply. A revision that was skipped already is ignored.
    ///
    /// The cost is that of the watchers that match: a lookup for each change, and for each watcher
    /// two slots, a shared count and a place in its stream's sink.
    ///
    /// # Errors
    ///
    /// If a replaced key-value pair cannot be read. No event is lost: those who wanted it are
    /// unsynced and will be served when the history can be read.
    ///
    /// # Panics
    ///
    /// If a revision was left out: watchers would miss it.
    pub fn notify(&mut self, revision: Revision, changes: &[Change]) -> Result<(), H::Error> {
        if revision <= self.observed {
            return Ok(());
        }
        assert_eq!(
            revision,
            self.observed.next(),
            "the hub is told of every revision in order"
        );
        debug_assert!(
            changes.iter().all(|change| change.at.main == revision),
            "one revision"
        );
        self.observed = revision;
        let mut matches = std::mem::take(&mut self.matches);
        for (place, change) in changes.iter().enumerate() {
            self.synced.matching(&change.key, |watcher| {
                if self.watcher(watcher).wants(change) {
                    matches.push((watcher, place));
                }
            });
        }
        if changes.len() > 1 {
            // Stable, as that finds the runs: each change's watchers come mostly in order.
            matches.sort();
        }
        if matches.is_empty() {
            self.matches = matches;
            return Ok(());
        }
        let mut pool = EventPool::new(changes);
        let mut result = Ok(());
        for of_one in matches.chunk_by(|(one, _), (other, _)| one == other) {
            let Some(&(watcher, _)) = of_one.first() else {
                continue;
            };
            let places = of_one.iter().map(|&(_, place)| place);
            if let Err(failure) = self.deliver(watcher, places, &mut pool, revision, revision) {
                result = Err(failure);
            }
        }
        matches.clear();
        self.matches = matches;
        self.debug_check();
        result
    }

    /// Passes over the revisions through `revision`, of which the hub was not told: the dispatcher's
    /// queue was full, or a snapshot took the store's place. Who needs them catches up.
    pub fn skip_to(&mut self, revision: Revision) {
        if revision <= self.observed {
            return;
        }
        let behind: Vec<_> = self
            .watchers
            .iter()
            .filter(|(_, watcher)| watcher.standing == Standing::Synced && watcher.next <= revision)
            .map(|(slot, watcher)| (WatcherKey(slot), watcher.next))
            .collect();
        for (watcher, next) in behind {
            self.move_to(watcher, Standing::Unsynced, next.max(self.observed.next()));
        }
        self.observed = revision;
        self.debug_check();
    }

    /// Lets the victims of streams that have room again catch up; returns how many. To be called
    /// while there are victims, every few milliseconds or when a sink has room.
    pub fn retry_victims(&mut self) -> usize {
        let with_room: Vec<StreamKey> = self
            .blocked
            .iter()
            .copied()
            .filter(|&key| self.stream(key).has_room())
            .collect();
        let mut freed = 0;
        for key in with_room {
            self.blocked.remove(&key);
            let stream = self.stream_mut(key);
            stream.blocked = false;
            for victim in std::mem::take(&mut stream.victims) {
                freed += 1;
                let watcher = self.watcher_mut(victim);
                watcher.standing = Standing::Unsynced;
                let next = watcher.next;
                self.unsynced.insert((next, victim));
            }
        }
        self.debug_check();
        freed
    }
}
