//! A store with a tree in it, as a member drives it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use cairn_backend::{Backend, BackendOptions, MemoryEngine};
use cairn_mvcc::{Change, Progress, Revision, Store};
use cairn_v2::{
    Done, Error, Event, Failure, Full, Hub, NodePath, Operation, Past, Request, Shown, Sink,
    Snapshot, Stats, Timestamp, Watch,
};

/// What a watcher got, for a client that takes this many.
#[derive(Clone)]
pub(crate) struct Got {
    pub(crate) events: Rc<RefCell<Vec<Event>>>,
    pub(crate) room: usize,
}

impl Got {
    pub(crate) fn with_room(room: usize) -> Self {
        Self {
            events: Rc::default(),
            room,
        }
    }
}

impl Sink for Got {
    fn send(&mut self, event: &Arc<Event>) -> Result<(), Full> {
        let mut events = self.events.borrow_mut();
        if events.len() == self.room {
            return Err(Full);
        }
        events.push(Event::clone(event));
        Ok(())
    }
}

pub(crate) struct Subject {
    engine: MemoryEngine,
    pub(crate) store: Store,
    pub(crate) stats: Stats,
    pub(crate) hub: Hub<Got>,
    /// What the hub was not told of yet.
    untold: Vec<Change>,
}

pub(crate) fn path(raw: &str) -> NodePath {
    NodePath::parse(raw.as_bytes()).unwrap()
}

fn refused(failure: Failure) -> Error {
    match failure {
        Failure::Refused(error) => error,
        Failure::Storage(error) => panic!("{error}"),
    }
}

impl Subject {
    pub(crate) fn new() -> Self {
        let engine = MemoryEngine::new();
        let store = open(&engine);
        let hub = Hub::new(store.current());
        Self {
            engine,
            store,
            stats: Stats::default(),
            hub,
            untold: Vec::new(),
        }
    }

    /// Carries a request out; the hub is told of it by [`Self::tell`].
    pub(crate) fn request(&mut self, request: &Request) -> Result<Event, Error> {
        let operation = request.operation().unwrap().unwrap();
        self.operation(operation, &request.node().unwrap(), request.made_at())
    }

    pub(crate) fn operation(
        &mut self,
        operation: Operation,
        path: &NodePath,
        time: Timestamp,
    ) -> Result<Event, Error> {
        let mut batch = self.store.write();
        let mut txn = batch.txn();
        let done = cairn_v2::apply(operation, path, time, &mut txn, &self.stats);
        let committed = txn.end();
        batch.end().unwrap();
        let changed = !committed.changes.is_empty();
        self.untold.extend(committed.changes);
        let done = done.map_err(refused);
        assert_eq!(changed, done.is_ok(), "a refusal writes nothing");
        let Done { event, index } = done?;
        assert_eq!(index, self.store.current().number());
        assert_eq!(event.node.modified, index);
        Ok(event)
    }

    pub(crate) fn expire(&mut self, cutoff: i64) {
        let cutoff = Timestamp::from_nanos(cutoff);
        let before = self.store.current();
        let due = cairn_v2::due(&self.store, cutoff).unwrap();
        let mut batch = self.store.write();
        let untold = &mut self.untold;
        cairn_v2::expire(cutoff, &mut batch, &self.stats, &mut |committed| {
            untold.extend(committed.changes);
        })
        .unwrap();
        batch.end().unwrap();
        assert_eq!(due, before < self.store.current());
    }

    /// A client of the third API writes a key.
    pub(crate) fn put_other(&mut self) {
        let mut batch = self.store.write();
        let mut txn = batch.txn();
        txn.put(b"other", b"", None);
        self.untold.extend(txn.end().changes);
        batch.end().unwrap();
    }

    pub(crate) fn tell(&mut self) {
        let changes = std::mem::take(&mut self.untold);
        self.hub.notify(&changes, self.store.current()).unwrap();
    }

    pub(crate) fn get(&self, path: &NodePath, recursive: bool) -> Result<Shown, Error> {
        cairn_v2::get(&Snapshot::new(&self.store), path, recursive).map_err(refused)
    }

    pub(crate) fn compact(&mut self, at: Revision) {
        let mut batch = self.store.write();
        batch.schedule_compaction(at).unwrap();
        batch.end().unwrap();
        while self.store.compaction_step(3).unwrap() != Progress::Idle {}
    }

    /// Everything is stored, and read back.
    pub(crate) fn restart(&mut self) {
        self.store.backend().force_commit().unwrap();
        self.store = open(&self.engine);
        self.untold.clear();
        self.hub.clear(self.store.current());
    }

    /// Looks through the whole past.
    pub(crate) fn past(&self, watch: &Watch, from: Revision) -> Past {
        let mut from = from;
        loop {
            match cairn_v2::past(&self.store, watch, from).unwrap() {
                Past::NothingBefore(next) if next <= self.store.current() => from = next,
                found => return found,
            }
        }
    }
}

fn open(engine: &MemoryEngine) -> Store {
    let backend = Backend::open(engine.clone(), BackendOptions::default()).unwrap();
    Store::restore(backend).unwrap()
}
