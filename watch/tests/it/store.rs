//! The hub over the real store: what comes from the past is, byte for byte, what came when it was
//! the present.

use std::collections::BTreeMap;

use bytes::Bytes;
use cairn_backend::{Backend, BackendOptions, MemoryEngine};
use cairn_index::{KeyRange, Revision};
use cairn_mvcc::{Change, Progress, Store};
use cairn_proto::mvccpb::Event;
use cairn_proto::stored::EncodedEvent;
use cairn_watch::{CatchUp, Hub, PrevKv, ReplyKind, StreamId, WatchId, WatchRequest, WatchStart};
use prost::Message;

use crate::client::Queue;

const STREAM: StreamId = StreamId::new(0);

struct Subject {
    store: Store,
    hub: Hub<Store, Queue>,
    queue: Queue,
}

impl Subject {
    fn new() -> Self {
        let backend = Backend::open(MemoryEngine::new(), BackendOptions::default());
        let store = Store::restore(backend.expect("memory")).expect("an empty store");
        let mut hub = Hub::new(store.clone(), store.current());
        let queue = Queue::new(100_000, false);
        hub.open_stream(STREAM, queue.clone());
        Self { store, hub, queue }
    }

    /// One transaction of puts and deletions (without a value).
    fn write(&mut self, writes: &[(&str, Option<&str>)]) {
        let mut batch = self.store.write();
        let mut txn = batch.txn();
        for (key, value) in writes {
            let key = Bytes::copy_from_slice(key.as_bytes());
            if let Some(value) = value {
                let done = txn.put(&key, value.as_bytes(), None);
                assert_eq!(done.now.modified.main, txn.revision());
            } else {
                drop(txn.delete_range(&KeyRange::One(key)));
            }
        }
        let committed = txn.end();
        batch.end().expect("memory");
        let changes: Vec<Change> = committed.changes;
        if !changes.is_empty() {
            self.hub
                .notify(committed.revision, &changes)
                .expect("memory");
        }
    }

    fn watch(&mut self, start: WatchStart, prev_kv: PrevKv) -> WatchId {
        let request = WatchRequest {
            start,
            prev_kv,
            ..WatchRequest::new(KeyRange::All)
        };
        self.hub
            .watch(STREAM, request)
            .expect("it is a good request")
    }

    /// The events of each watcher so far, whatever replies they came in; none for those that ended.
    fn events(&mut self) -> BTreeMap<WatchId, Vec<EncodedEvent>> {
        while self.hub.sync_step().expect("memory") == CatchUp::More {}
        let mut events: BTreeMap<WatchId, Vec<EncodedEvent>> = BTreeMap::new();
        while let Some(reply) = self.queue.pop() {
            match reply.kind {
                ReplyKind::Created { watch } => drop(events.insert(watch, Vec::new())),
                ReplyKind::Events {
                    watch,
                    events: more,
                    ..
                } => {
                    events
                        .entry(watch)
                        .or_default()
                        .extend(more.iter().cloned());
                }
                ReplyKind::Compacted { watch, .. } => drop(events.remove(&watch)),
                other => panic!("nobody asked for {other:?}"),
            }
        }
        events
    }

    fn write_some_history(&mut self) {
        for round in 0..40 {
            let value = format!("{round}");
            self.write(&[("a", Some(&value)), ("b/1", Some("x"))]);
            self.write(&[("b/1", None), ("c", Some(&value)), ("a", None)]);
            self.write(&[("b/2", Some(&value))]);
        }
    }
}

fn revision_of(event: &EncodedEvent) -> Revision {
    let event = Event::decode(event.0.clone()).expect("it is an event");
    let wire = event.kv.expect("an event has a pair").mod_revision;
    Revision::from_wire(wire).expect("an event has a revision")
}

/// P7 (etcd issue 17247): no event comes twice, whether it is read from a buffer or was told live.
#[test]
fn the_past_from_any_revision_is_the_present_of_then() {
    let mut subject = Subject::new();
    let live = subject.watch(WatchStart::Now, PrevKv::Omit);
    let live_prev = subject.watch(WatchStart::Now, PrevKv::Include);
    subject.write_some_history();
    let told = subject.events();
    assert_eq!(told[&live].len(), 40 * 6);
    let bytes = |id| -> usize { told[id].iter().map(|event| event.0.len()).sum() };
    assert!(
        bytes(&live_prev) > bytes(&live) + 40 * 5 * 10,
        "five of six replaced something"
    );
    let current = subject.store.current();
    let starts = (1..=current.number()).filter_map(Revision::new);
    let past: Vec<_> = starts
        .map(|start| {
            let watch =
                |subject: &mut Subject, prev_kv| subject.watch(WatchStart::At(start), prev_kv);
            (
                start,
                watch(&mut subject, PrevKv::Omit),
                watch(&mut subject, PrevKv::Include),
            )
        })
        .collect();
    let replayed = subject.events();
    for (start, plain, prev) in past {
        let from_start = |events: &[EncodedEvent]| -> Vec<EncodedEvent> {
            events
                .iter()
                .filter(|event| revision_of(event) >= start)
                .cloned()
                .collect()
        };
        assert_eq!(replayed[&plain], from_start(&told[&live]), "from {start}");
        assert_eq!(
            replayed[&prev],
            from_start(&told[&live_prev]),
            "from {start}"
        );
    }
}

/// P10 (etcd issues 18089, 19179): the watch at the compaction gets the deletion there.
#[test]
fn a_compaction_ends_who_needs_more_and_takes_nothing_from_the_rest() {
    let mut subject = Subject::new();
    let live = subject.watch(WatchStart::Now, PrevKv::Omit);
    subject.write_some_history();
    let told = subject.events();
    // The revision of the 30th round that deletes two keys: a tombstone at the compaction.
    let compacted = Revision::new(90).expect("positive");
    let mut batch = subject.store.write();
    batch
        .schedule_compaction(compacted)
        .expect("it is in the past");
    batch.end().expect("memory");
    while subject.store.compaction_step(7).expect("memory") == Progress::Working {}
    let before = subject.watch(
        WatchStart::At(Revision::new(89).expect("positive")),
        PrevKv::Omit,
    );
    let at = subject.watch(WatchStart::At(compacted), PrevKv::Include);
    let after = subject.watch(WatchStart::At(compacted.next()), PrevKv::Omit);
    let replayed = subject.events();
    assert!(!replayed.contains_key(&before));
    let from = |start: Revision| -> Vec<EncodedEvent> {
        told[&live]
            .iter()
            .filter(|event| revision_of(event) >= start)
            .cloned()
            .collect()
    };
    assert_eq!(replayed[&after], from(compacted.next()));
    // Nothing before the compaction can be read, so its own events have no previous pairs; the
    // next revision's have.
    let (own, rest): (Vec<_>, Vec<_>) = replayed[&at]
        .iter()
        .cloned()
        .partition(|event| revision_of(event) == compacted);
    let told_at: Vec<_> = from(compacted)
        .into_iter()
        .filter(|event| revision_of(event) == compacted)
        .collect();
    assert!(!own.is_empty());
    assert_eq!(own, told_at);
    assert_eq!(rest.len(), from(compacted.next()).len());
    let replaced = rest
        .iter()
        .filter(|event| Event::decode(event.0.clone()).is_ok_and(|event| event.prev_kv.is_some()));
    assert!(replaced.count() > rest.len() / 3);
}
