//! The hub: all streams and watchers of a member, and the three sets that they move between.
//!
//! ```text
//!   watch, from now on or later                 watch, from the past
//!               │                                        │
//!               ▼         at the present: sync_step      ▼
//!             synced ◄──────────────────────────────── unsynced
//!              │  └──────────────── skip_to ────────────► │ ▲
//!              │ sink full: notify    sink full: sync_step│ │ room: retry_victims
//!              └────────────────► victim ◄────────────────┘ │
//!                                    └──────────────────────┘
//! ```
//!
//! A state machine: no thread, no clock, no runtime. All it has to say goes through the streams'
//! sinks. One dispatcher owns it and, forever:
//!
//! - hands over what comes: streams opened and closed, requests, and applied revisions in order, each
//!   after the store has published it ([`Hub::notify`], or [`Hub::skip_to`] if some were lost on the
//!   way);
//! - while [`HubCounts::unsynced`] is not zero, takes a [`Hub::sync_step`] between what else there is
//!   to do, and one after the other if there is nothing;
//! - while [`HubCounts::victims`] is not zero, calls [`Hub::retry_victims`] every few milliseconds;
//! - calls [`Hub::progress_tick`] for each stream at its progress interval.
//!
//! A watcher that cannot keep up costs its place in history and nothing else. Where etcd's victims
//! hold the batch that they could not deliver, ours forget it and read it again.

use std::collections::{BTreeSet, HashMap};

use cairn_index::Revision;
use slab::Slab;

use crate::event::EventPool;
use crate::history::History;
use crate::reply::ReplyKind;
use crate::request::{ProgressNotify, WatchRefusal, WatchRequest, WatchStart};
use crate::sink::Sink;
use crate::stream::{Sent, Stream, StreamId, StreamKey};
use crate::watcher::{PeriodicProgress, Standing, WatchId, Watcher, WatcherKey};
use crate::watcher_group::WatcherGroup;

mod catch_up;
mod invariants;
mod notification;
mod progress;

pub use catch_up::CatchUp;
use catch_up::Sweep;

/// All watchers of a member.
///
/// Invariants:
/// 1. Every watcher is in the set that its standing names and in no other, and the sets hold nothing
///    else.
/// 2. An unsynced watcher or a victim needs a revision that the history has: `next ≤ current`.
/// 3. A victim's stream is blocked; a blocked stream is in `blocked`, and nothing else is.
/// 4. A stream's ids and the watchers on it are the same, but for ids of ended watchers.
#[derive(Debug)]
pub struct Hub<H, S> {
    history: H,
    /// The last revision that the hub was notified of or told to skip to.
    observed: Revision,
    stream_keys: HashMap<StreamId, StreamKey>,
    streams: Slab<Stream<S>>,
    watchers: Slab<Watcher>,
    synced: WatcherGroup<WatcherKey>,
    /// By the revision that each needs next, so that those who need the same are served together.
    unsynced: BTreeSet<(Revision, WatcherKey)>,
    blocked: BTreeSet<StreamKey>,
    sweep: Sweep,
    /// A notification's pairs of a watcher and the place of a change that it wants; empty between
    /// two, and kept for its allocation.
    matches: Vec<(WatcherKey, usize)>,
}

/// How many of each a hub has, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubCounts {
    /// Open streams.
    pub streams: usize,
    /// Watchers in all.
    pub watchers: usize,
    /// Watchers that catch up.
    pub unsynced: usize,
    /// Watchers that are behind because their stream's sink is full.
    pub victims: usize,
}

impl<H: History, S: Sink> Hub<H, S> {
    /// A hub without streams, which knows the history through `observed`.
    pub fn new(history: H, observed: Revision) -> Self {
        Self {
            history,
            observed,
            stream_keys: HashMap::new(),
            streams: Slab::new(),
            watchers: Slab::new(),
            synced: WatcherGroup::default(),
            unsynced: BTreeSet::new(),
            blocked: BTreeSet::new(),
            sweep: Sweep::new(observed),
            matches: Vec::new(),
        }
    }

    /// Opens a stream.
    ///
    /// # Panics
    ///
    /// If a stream with this id is open.
    pub fn open_stream(&mut self, stream: StreamId, sink: S) {
        let key = StreamKey(self.streams.insert(Stream::new(sink)));
        let former = self.stream_keys.insert(stream, key);
        assert!(former.is_none(), "a stream's id is given once");
        self.debug_check();
    }

    /// Ends a stream with all its watchers, and drops its sink. Later calls for it do nothing.
    pub fn close_stream(&mut self, stream: StreamId) {
        let Some(key) = self.stream_keys.remove(&stream) else {
            return;
        };
        let stream = self.streams.remove(key.0);
        self.blocked.remove(&key);
        for watcher in stream.ids.into_values().flatten() {
            self.take_out_of_set(watcher);
            self.watchers.remove(watcher.0);
        }
        self.debug_check();
    }

    /// Creates a watcher and tells the client so, or why not.
    ///
    /// # Errors
    ///
    /// [`WatchRefusal`], which the client has been told already.
    pub fn watch(
        &mut self,
        stream: StreamId,
        request: WatchRequest,
    ) -> Result<WatchId, WatchRefusal> {
        let Some(&key) = self.stream_keys.get(&stream) else {
            return Err(WatchRefusal::StreamClosed);
        };
        let current = self.current();
        match self.create(key, current, request) {
            Ok(watch) => {
                self.stream_mut(key)
                    .answer(current, ReplyKind::Created { watch });
                self.debug_check();
                Ok(watch)
            }
            Err(refusal) => {
                self.refuse(stream, refusal.clone());
                Err(refusal)
            }
        }
    }

    /// Tells a client that a watcher is not created, for a reason found before the hub was asked.
    pub fn refuse(&mut self, stream: StreamId, refusal: WatchRefusal) {
        let Some(&key) = self.stream_keys.get(&stream) else {
            return;
        };
        let current = self.current();
        let reason = Box::new(refusal);
        self.stream_mut(key)
            .answer(current, ReplyKind::Refused { reason });
    }

    /// Ends a watcher and tells the client so; an id that is not in use is ignored, as the watcher
    /// may have ended by itself when the client asked.
    pub fn cancel(&mut self, stream: StreamId, watch: WatchId) {
        let Some(&key) = self.stream_keys.get(&stream) else {
            return;
        };
        let Some(watcher) = self.stream_mut(key).ids.remove(&watch) else {
            return;
        };
        if let Some(watcher) = watcher {
            self.take_out_of_set(watcher);
            self.watchers.remove(watcher.0);
        }
        let current = self.current();
        self.stream_mut(key)
            .answer(current, ReplyKind::Canceled { watch });
        self.debug_check();
    }

    /// How many of each there are.
    #[must_use]
    pub fn counts(&self) -> HubCounts {
        HubCounts {
            streams: self.streams.len(),
            watchers: self.watchers.len(),
            unsynced: self.unsynced.len(),
            victims: self.watchers.len() - self.synced.len() - self.unsynced.len(),
        }
    }

    /// The last revision that the hub was notified of or told to skip to.
    #[must_use]
    pub const fn observed(&self) -> Revision {
        self.observed
    }

    /// What a client takes for the present: the store may be ahead of what the hub has seen.
    fn current(&self) -> Revision {
        self.history.current().max(self.observed)
    }

    fn create(
        &mut self,
        stream: StreamKey,
        current: Revision,
        request: WatchRequest,
    ) -> Result<WatchId, WatchRefusal> {
        if request.range.is_empty() {
            return Err(WatchRefusal::EmptyRange);
        }
        let on_stream = self.stream_mut(stream);
        let id = match request.id {
            Some(id) if on_stream.ids.contains_key(&id) => return Err(WatchRefusal::DuplicateId),
            Some(id) => id,
            None => on_stream.take_free_id(),
        };
        let (next, progress_from) = match request.start {
            WatchStart::Now => (current.next(), current),
            WatchStart::At(start) => (start, start.max(current)),
        };
        let synced = next > current;
        let watcher = WatcherKey(self.watchers.insert(Watcher {
            id,
            stream,
            range: request.range,
            filters: request.filters,
            prev_kv: request.prev_kv,
            fragments: request.fragments,
            periodic: match request.progress_notify {
                ProgressNotify::OnRequest => PeriodicProgress::Off,
                ProgressNotify::Periodic => PeriodicProgress::Quiet,
            },
            standing: if synced {
                Standing::Synced
            } else {
                Standing::Unsynced
            },
            next,
            progress_from,
        }));
        self.stream_mut(stream).ids.insert(id, Some(watcher));
        self.put_into_set(watcher);
        Ok(id)
    }

    /// Sends a watcher the changes at these places, under this revision. A watcher that cannot be served needs the
    /// revision `needs` next and becomes a victim, or unsynced if it was the history that failed.
    fn deliver(
        &mut self,
        key: WatcherKey,
        places: impl Iterator<Item = usize> + Clone,
        pool: &mut EventPool<'_>,
        header: Revision,
        needs: Revision,
    ) -> Result<Sent, H::Error> {
        let watcher = self.watcher(key);
        let (stream, watch, fragments) = (watcher.stream, watcher.id, watcher.fragments);
        if self.stream_mut(stream).blocked {
            self.make_victim(key, needs);
            return Ok(Sent::Refused);
        }
        let events = match pool.list(places, self.watcher(key).prev_kv, &self.history) {
            Ok(events) => events,
            Err(failure) => {
                self.move_to(key, Standing::Unsynced, needs);
                return Err(failure);
            }
        };
        let events = ReplyKind::Events {
            watch,
            events,
            fragments,
        };
        let sent = self.send(stream, header, events);
        match sent {
            Sent::Refused => self.make_victim(key, needs),
            Sent::Taken => {
                let watcher = self.watcher_mut(key);
                if watcher.periodic == PeriodicProgress::Quiet {
                    watcher.periodic = PeriodicProgress::Told;
                }
            }
        }
        Ok(sent)
    }

    /// Sends what a client did not ask for, if its sink has room.
    fn send(&mut self, stream: StreamKey, revision: Revision, kind: ReplyKind) -> Sent {
        let sent = self.stream_mut(stream).send(revision, kind);
        if self.stream(stream).blocked {
            self.blocked.insert(stream);
        }
        sent
    }

    fn make_victim(&mut self, key: WatcherKey, needs: Revision) {
        self.move_to(key, Standing::Victim, needs);
    }

    /// Moves a watcher from its set to another.
    fn move_to(&mut self, key: WatcherKey, standing: Standing, next: Revision) {
        self.take_out_of_set(key);
        let watcher = self.watcher_mut(key);
        assert!(next >= watcher.next, "a watcher does not go back in time");
        watcher.next = next;
        watcher.standing = standing;
        self.put_into_set(key);
    }

    fn put_into_set(&mut self, key: WatcherKey) {
        let Some(watcher) = self.watchers.get(key.0) else {
            return;
        };
        let added = match watcher.standing {
            Standing::Synced => self.synced.add(&watcher.range, key),
            Standing::Unsynced => self.unsynced.insert((watcher.next, key)),
            Standing::Victim => {
                let stream = watcher.stream;
                self.stream_mut(stream).victims.insert(key)
            }
        };
        assert!(added, "a watcher is in one set, once");
    }

    /// Takes a watcher out of its set. If its stream is being closed, victims have none any more.
    fn take_out_of_set(&mut self, key: WatcherKey) {
        let Some(watcher) = self.watchers.get(key.0) else {
            return;
        };
        let removed = match watcher.standing {
            Standing::Synced => self.synced.remove(&watcher.range, key),
            Standing::Unsynced => self.unsynced.remove(&(watcher.next, key)),
            Standing::Victim => {
                let stream = self.streams.get_mut(watcher.stream.0);
                stream.is_none_or(|stream| stream.victims.remove(&key))
            }
        };
        assert!(removed, "a watcher is in the set that its standing names");
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "invariants 1 and 4: a key in a set or on a stream is that of a watcher"
    )]
    fn watcher(&self, key: WatcherKey) -> &Watcher {
        &self.watchers[key.0]
    }

    #[expect(clippy::indexing_slicing, reason = "as for `watcher`")]
    fn watcher_mut(&mut self, key: WatcherKey) -> &mut Watcher {
        &mut self.watchers[key.0]
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "invariant 4: a stream is removed with its watchers and its id"
    )]
    fn stream(&self, key: StreamKey) -> &Stream<S> {
        &self.streams[key.0]
    }

    #[expect(clippy::indexing_slicing, reason = "as for `stream`")]
    fn stream_mut(&mut self, key: StreamKey) -> &mut Stream<S> {
        &mut self.streams[key.0]
    }
}
