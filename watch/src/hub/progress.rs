//! Progress: telling a client how far it is when nothing happens.
//!
//! A progress reply takes the same way as events, and only a settled watcher gets one: all events
//! through the revision it names are in the sink before it.

use super::Hub;
use crate::history::History;
use crate::reply::ReplyKind;
use crate::sink::Sink;
use crate::stream::StreamId;
use crate::watcher::{PeriodicProgress, WatcherKey};

impl<H: History, S: Sink> Hub<H, S> {
    /// Answers a client that asks how far its stream is, if there is one answer for all of the
    /// stream's watchers: all have started and are synced. If not, or if the sink is full, it gets
    /// none and will ask again.
    pub fn request_progress(&mut self, stream: StreamId) {
        let Some(&key) = self.stream_keys.get(&stream) else {
            return;
        };
        let mut watchers = self.stream_mut(key).ids.values().flatten().peekable();
        if watchers.peek().is_none() {
            return;
        }
        let ids = &self.stream(key).ids;
        let observed = self.observed;
        if ids
            .values()
            .flatten()
            .all(|&key| self.watcher(key).is_settled(observed))
        {
            self.send(key, observed, ReplyKind::Progress { watch: None });
        }
    }

    /// Ends a progress interval of a stream: every settled watcher that asked for it and had no
    /// event in the interval is told how far it is.
    pub fn progress_tick(&mut self, stream: StreamId) {
        let Some(&key) = self.stream_keys.get(&stream) else {
            return;
        };
        let observed = self.observed;
        let watchers: Vec<WatcherKey> = self
            .stream_mut(key)
            .ids
            .values()
            .flatten()
            .copied()
            .collect();
        for watcher in watchers {
            let watcher = self.watcher_mut(watcher);
            let watch = match watcher.periodic {
                PeriodicProgress::Quiet if watcher.is_settled(observed) => Some(watcher.id),
                PeriodicProgress::Quiet | PeriodicProgress::Off => None,
                PeriodicProgress::Told => {
                    watcher.periodic = PeriodicProgress::Quiet;
                    None
                }
            };
            if watch.is_some() {
                self.send(key, observed, ReplyKind::Progress { watch });
            }
        }
    }
}
