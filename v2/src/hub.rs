//! Who waits for what: the present. The past is [`past`](crate::past())'s.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cairn_mvcc::{Change, ChangeKind, Revision};

use crate::error::StorageError;
use crate::event::Event;
use crate::layout;
use crate::path::NodePath;

/// What somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The node.
    pub path: NodePath,
    /// Whether what is below it counts too.
    pub recursive: bool,
    /// Whether one event is not enough.
    pub stream: bool,
}

/// Names a watcher of a hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(u64);

/// Where a watcher's events go.
pub trait Sink {
    /// Takes an event.
    ///
    /// # Errors
    ///
    /// [`Full`]: the watcher ends.
    fn send(&mut self, event: &Arc<Event>) -> Result<(), Full>;
}

/// A watcher's client is too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The hub has gone on: the watcher must look through the history to here first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The last revision that the hub has seen.
    pub seen: Revision,
}

struct Watcher<S> {
    watch: Watch,
    /// The first revision that it waits for.
    since: Revision,
    sink: S,
}

/// All watchers.
///
/// Invariants:
/// 1. `by_path` has each watcher once, under its path, and no path without watchers.
/// 2. Watchers were told of every event from their `since` on up to `seen`.
pub struct Hub<S> {
    watchers: HashMap<WatchId, Watcher<S>>,
    by_path: HashMap<NodePath, BTreeSet<WatchId>>,
    seen: Revision,
    last_id: u64,
}

impl<S: Sink> Hub<S> {
    /// A hub without watchers, of a store at `seen`.
    #[must_use]
    pub fn new(seen: Revision) -> Self {
        Self {
            watchers: HashMap::new(),
            by_path: HashMap::new(),
            seen,
            last_id: 0,
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.watchers.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// The last revision that it was told of.
    #[must_use]
    pub const fn seen(&self) -> Revision {
        self.seen
    }

    /// Adds a watcher that waits for what happens from `since` on.
    ///
    /// # Errors
    ///
    /// [`Behind`] and the sink, if some of that has happened already.
    pub fn register(
        &mut self,
        watch: Watch,
        since: Revision,
        sink: S,
    ) -> Result<WatchId, (Behind, S)> {
        if since <= self.seen {
            return Err((Behind { seen: self.seen }, sink));
        }
        self.last_id += 1;
        let id = WatchId(self.last_id);
        let at = self.by_path.entry(watch.path.clone()).or_default();
        at.insert(id);
        self.watchers.insert(id, Watcher { watch, since, sink });
        Ok(id)
    }

    /// Ends a watcher, if it has not ended.
    pub fn remove(&mut self, id: WatchId) {
        let Some(watcher) = self.watchers.remove(&id) else {
            return;
        };
        if let Some(at) = self.by_path.get_mut(&watcher.watch.path) {
            at.remove(&id);
            if at.is_empty() {
                self.by_path.remove(&watcher.watch.path);
            }
        }
    }

    /// Ends all watchers: what they wait for may have passed unseen.
    pub fn clear(&mut self, seen: Revision) {
        self.watchers.clear();
        self.by_path.clear();
        self.seen = self.seen.max(seen);
    }

    /// Tells watchers of `changes` of the store: whole transactions, in order, up to `through`. What
    /// they were told of already is passed over.
    ///
    /// # Errors
    ///
    /// [`StorageError::Damaged`] if an event does not decode.
    pub fn notify(&mut self, changes: &[Change], through: Revision) -> Result<(), StorageError> {
        let unseen = changes.iter().position(|it| it.at.main > self.seen);
        let unseen = unseen.and_then(|first| changes.get(first..));
        for of_one in unseen
            .unwrap_or_default()
            .chunk_by(|one, other| one.at.main == other.at.main)
        {
            if self.watchers.is_empty() {
                break;
            }
            self.notify_one(of_one)?;
        }
        self.seen = self.seen.max(through);
        Ok(())
    }

    fn notify_one(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        let Some(told) = changes.iter().find(|change| layout::is_event(&change.key)) else {
            return Ok(());
        };
        let event = event_of(told)?;
        if event.refresh {
            return Ok(());
        }
        let (event, at) = (Arc::new(event), told.at.main);
        for removed in changes.iter().filter(|it| it.kind == ChangeKind::Delete) {
            // Whoever waits for what is gone is told, though the event is about what was above it.
            if let Some(path) = layout::node_path(&removed.key) {
                self.tell(&path, &event, at, |_| true);
            }
        }
        let path = &event.node.path;
        for above in std::iter::once(NodePath::ROOT).chain(path.ancestors()) {
            if !path.is_hidden_from(&above) {
                self.tell(&above, &event, at, |watch| watch.recursive);
            }
        }
        self.tell(path, &event, at, |_| true);
        Ok(())
    }

    fn tell(
        &mut self,
        path: &NodePath,
        event: &Arc<Event>,
        at: Revision,
        concerns: impl Fn(&Watch) -> bool,
    ) {
        let Some(ids) = self.by_path.get(path) else {
            return;
        };
        let mut ended = Vec::new();
        for id in ids {
            let Some(watcher) = self.watchers.get_mut(id) else {
                continue;
            };
            if !concerns(&watcher.watch) || at < watcher.since {
                continue;
            }
            if watcher.sink.send(event).is_err() || !watcher.watch.stream {
                ended.push(*id);
            }
        }
        for id in ended {
            self.remove(id);
        }
    }
}

/// The event of a change of the event's key.
pub(crate) fn event_of(change: &Change) -> Result<Event, StorageError> {
    let fields = cairn_mvcc::KvFields::parse(&change.kv).map_err(cairn_mvcc::ReadError::from)?;
    let stored = change.kv.slice_ref(fields.value);
    Event::decode(stored).ok_or_else(|| StorageError::Damaged(change.key.clone()))
}
