//! A watcher of a client's.

use std::sync::Arc;

use cairn_proto::etcdserverpb::{ResponseHeader, WatchResponse};
use cairn_proto::mvccpb::Event;
use parking_lot::Mutex;

use super::class::Class;
use super::feed::Feed;
use super::outlet::Outlet;

/// See the module.
pub(super) struct Watcher {
    pub(super) id: i64,
    pub(super) class: Class,
    /// The first revision that the client asked for by number.
    pub(super) asked_from: Option<i64>,
    pub(super) wants_progress: bool,
    pub(super) outlet: Outlet,
    state: Mutex<State>,
}

/// Invariant: all events of revisions below `next` have been queued for the client, none others.
struct State {
    next: i64,
    feed: Option<Arc<Feed>>,
    has_ended: bool,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// The client will get it.
    Queued,
    /// The client does not read: it must come back for it.
    Full,
    /// There is nobody any more.
    Ended,
}

impl Watcher {
    pub(super) fn new(
        id: i64,
        class: Class,
        (asked_from, next): (Option<i64>, i64),
        wants_progress: bool,
        outlet: Outlet,
    ) -> Self {
        Self {
            id,
            class,
            asked_from,
            wants_progress,
            outlet,
            state: Mutex::new(State {
                next,
                feed: None,
                has_ended: false,
            }),
        }
    }

    /// The first revision that has not been queued.
    pub(super) fn next(&self) -> i64 {
        self.state.lock().next
    }

    pub(super) fn feed(&self) -> Option<Arc<Feed>> {
        self.state.lock().feed.clone()
    }

    pub(super) fn set_feed(&self, feed: Option<Arc<Feed>>) {
        self.state.lock().feed = feed;
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state.lock().has_ended || self.outlet.is_closed()
    }

    /// Ends it; the feed that it was of.
    pub(super) fn end(&self) -> Option<Arc<Feed>> {
        let mut state = self.state.lock();
        state.has_ended = true;
        state.feed.take()
    }

    /// Queues those of `events` that the client has not had. They are whole revisions in order.
    pub(super) fn deliver(&self, header: Option<ResponseHeader>, events: &[Event]) -> Delivered {
        let mut state = self.state.lock();
        if state.has_ended || self.outlet.is_closed() {
            return Delivered::Ended;
        }
        let revision = |event: &Event| event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
        let from = events.partition_point(|event| revision(event) < state.next);
        let Some((last, events)) = events.last().zip(events.get(from..)) else {
            return Delivered::Queued;
        };
        if events.is_empty() {
            return Delivered::Queued;
        }
        if !self.outlet.has_room() {
            return Delivered::Full;
        }
        self.outlet.send(&WatchResponse {
            header,
            watch_id: self.id,
            events: events.to_vec(),
            ..WatchResponse::default()
        });
        state.next = revision(last) + 1;
        Delivered::Queued
    }

    /// Tells the client how far it is, if it wanted to be told.
    pub(super) fn tell_progress(&self, header: Option<ResponseHeader>, revision: i64) {
        let is_due = self.asked_from.is_none_or(|from| revision >= from);
        if self.wants_progress && is_due && !self.has_ended() && self.outlet.has_room() {
            self.outlet.send(&WatchResponse {
                header,
                watch_id: self.id,
                ..WatchResponse::default()
            });
        }
    }

    /// Tells the client that it has ended, for what upstream has said.
    pub(super) fn tell_end(&self, upstream: &WatchResponse) {
        if self.has_ended() {
            return;
        }
        self.end();
        self.outlet.send(&WatchResponse {
            watch_id: self.id,
            created: false,
            events: Vec::new(),
            ..upstream.clone()
        });
    }
}
