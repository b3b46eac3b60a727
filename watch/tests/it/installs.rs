//! Watchers of a member that is cut off, falls behind and gets the leader's database.
//!
//! Two real stores: the leader applies a log as it comes; the follower applies some of it, and is
//! brought to where the leader is by an installation now and then. The hub is the follower's. What each
//! of its watchers must get is known from the log.

use bytes::Bytes;
use cairn_backend::{Applied, Backend, BackendOptions, MemoryEngine};
use cairn_index::{KeyRange, Revision};
use cairn_mvcc::{Change, Progress, Store};
use cairn_proto::mvccpb::{Event, KeyValue};
use cairn_watch::{CatchUp, Hub, PrevKv, ReplyKind, StreamId, WatchId, WatchRequest, WatchStart};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;

use crate::client::Queue;

const KEYS: [&str; 4] = ["a", "b", "b1", "c"];

/// An entry of the log.
#[derive(Clone, Debug)]
enum Entry {
    /// A transaction: a value, or a deletion, for each of some keys.
    Write(Vec<(usize, Option<u8>)>),
    /// A compaction, so far before the revision then.
    Compact(u64),
}

#[derive(Clone, Debug)]
enum Step {
    Append(Entry),
    /// The follower applies so many entries.
    Apply(usize),
    /// The follower installs what the leader has.
    Install,
    /// A new stream with a watcher: so far before or after the present, and how slow it is.
    Watch {
        start: Option<i64>,
        range: usize,
        capacity: usize,
    },
    Sync,
    /// Each stream's client reads so many replies.
    Read(usize),
    /// The follower deletes what is compacted.
    Delete,
}

/// A member: its store, and how much of the log it has applied.
struct Member {
    store: Store,
    applied: usize,
}

/// What a watcher was promised, and what it got.
struct Watching {
    stream: StreamId,
    queue: Queue,
    range: KeyRange,
    start: Revision,
    id: WatchId,
    events: Vec<Event>,
    /// Where history began when the watcher was told that it does not reach back far enough.
    ended: Option<Revision>,
}

struct World {
    log: Vec<Entry>,
    leader: Member,
    follower: Member,
    hub: Hub<Store, Queue>,
    watching: Vec<Watching>,
    /// All that ever happened, with the pair before.
    history: Vec<Event>,
}

impl Member {
    fn new() -> Self {
        let backend = Backend::open(MemoryEngine::new(), BackendOptions::default());
        Self {
            store: Store::restore(backend.expect("memory")).expect("an empty store"),
            applied: 0,
        }
    }

    /// Applies the next entry, and tells what it changed.
    fn apply(&mut self, log: &[Entry]) -> Option<(Revision, Vec<Change>)> {
        let entry = log.get(self.applied)?;
        self.applied += 1;
        let mut batch = self.store.write();
        let mut changes = Vec::new();
        match entry {
            Entry::Write(writes) => {
                let mut txn = batch.txn();
                for (key, value) in writes {
                    let key = Bytes::from(KEYS[*key]);
                    match value {
                        Some(value) => drop(txn.put(&key, &[*value], None)),
                        None => drop(txn.delete_range(&KeyRange::One(key))),
                    }
                }
                changes = txn.end().changes;
            }
            Entry::Compact(back) => {
                let point = batch.current().number().saturating_sub(*back);
                if let Some(point) = Revision::new(point) {
                    // One that comes too late is refused, on every member.
                    let _ = batch.schedule_compaction(point);
                }
            }
        }
        let place = Applied {
            index: self.applied as u64,
            term: 1,
        };
        place.write(batch.backend());
        batch.end().expect("memory");
        Some((self.store.current(), changes))
    }

    fn install(&mut self, leader: &Self) {
        if leader.applied <= self.applied {
            return;
        }
        let mut sender = leader.store.backend().send().expect("it has applied");
        let announced = sender.applied();
        let mut receiving = self.store.receive().expect("memory");
        while let Some(chunk) = sender.next_chunk().expect("memory") {
            receiving.write(&chunk).expect("it is sound");
        }
        let prepared = receiving.finish(announced).expect("it is whole and sound");
        self.store.install(prepared).expect("memory");
        self.applied = leader.applied;
    }
}

impl World {
    fn new() -> Self {
        let follower = Member::new();
        Self {
            log: Vec::new(),
            leader: Member::new(),
            hub: Hub::new(follower.store.clone(), follower.store.current()),
            follower,
            watching: Vec::new(),
            history: Vec::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append(entry) => self.append(entry.clone()),
            Step::Apply(entries) => {
                for _ in 0..*entries {
                    self.apply();
                }
            }
            Step::Install => self.install(),
            Step::Watch {
                start,
                range,
                capacity,
            } => self.watch(*start, *range, *capacity),
            Step::Sync => drop(self.hub.sync_step().expect("memory")),
            Step::Read(replies) => self.read(*replies),
            Step::Delete => {
                assert!(self.follower.store.compaction_step(2).is_ok());
            }
        }
        self.hub.check_invariants();
    }

    fn append(&mut self, entry: Entry) {
        self.log.push(entry);
        let (_, changes) = self.leader.apply(&self.log).expect("there is an entry");
        for change in changes {
            let kv = KeyValue::decode(change.kv.clone()).expect("it is a pair");
            let before = self.history.iter().rev();
            let before = before.filter_map(|event| event.kv.as_ref());
            let before = before.filter(|it| it.key == kv.key && it.mod_revision < kv.mod_revision);
            let prev_kv = before.take(1).find(|it| it.version > 0).cloned();
            let mut event = Event {
                kv: Some(kv),
                prev_kv,
                ..Event::default()
            };
            event.set_type(match change.kind {
                cairn_mvcc::ChangeKind::Put => cairn_proto::mvccpb::event::EventType::Put,
                cairn_mvcc::ChangeKind::Delete => cairn_proto::mvccpb::event::EventType::Delete,
            });
            self.history.push(event);
        }
    }

    fn apply(&mut self) {
        if let Some((revision, changes)) = self.follower.apply(&self.log)
            && !changes.is_empty()
        {
            self.hub.notify(revision, &changes).expect("memory");
        }
    }

    fn install(&mut self) {
        self.follower.install(&self.leader);
        self.hub.skip_to(self.follower.store.current());
    }

    fn watch(&mut self, start: Option<i64>, range: usize, capacity: usize) {
        let stream = StreamId::new(self.watching.len() as u64);
        let queue = Queue::new(capacity, false);
        self.hub.open_stream(stream, queue.clone());
        let present = self.follower.store.current();
        let range = match range {
            0 => KeyRange::All,
            1 => KeyRange::prefix(Bytes::from("b")),
            _ => KeyRange::One(Bytes::from("a")),
        };
        let at = start.map(|by| {
            let at = present.number().saturating_add_signed(by);
            Revision::new(at).unwrap_or(Revision::FIRST)
        });
        let request = WatchRequest {
            start: at.map_or(WatchStart::Now, WatchStart::At),
            prev_kv: PrevKv::Include,
            ..WatchRequest::new(range.clone())
        };
        let id = self
            .hub
            .watch(stream, request)
            .expect("it is a good request");
        self.watching.push(Watching {
            stream,
            queue,
            range,
            start: at.unwrap_or_else(|| present.next()),
            id,
            events: Vec::new(),
            ended: None,
        });
    }

    fn read(&mut self, replies: usize) {
        for watching in &mut self.watching {
            for _ in 0..replies {
                let Some(reply) = watching.queue.pop() else {
                    break;
                };
                assert_eq!(watching.ended, None, "nothing comes after the end");
                match reply.kind {
                    ReplyKind::Created { watch } => assert_eq!(watch, watching.id),
                    ReplyKind::Events { watch, events, .. } => {
                        assert_eq!(watch, watching.id);
                        let events = events.iter().map(|event| event.0.clone());
                        let events = events.map(|event| Event::decode(event).expect("an event"));
                        watching.events.extend(events);
                    }
                    ReplyKind::Compacted { compacted, .. } => watching.ended = Some(compacted),
                    ReplyKind::Progress { .. } => {
                        let last = watching.events.last().map_or(0, revision_of);
                        assert!(reply.revision.to_wire() >= last);
                    }
                    other => panic!("nobody asked for {other:?}"),
                }
            }
        }
        self.hub.retry_victims();
    }

    /// Brings the follower to the end of the log, and everybody to the present; then checks.
    fn settle(&mut self) {
        while self.follower.applied < self.log.len() {
            self.apply();
        }
        for _ in 0..1000 {
            self.read(usize::MAX);
            if self.hub.sync_step().expect("memory") == CatchUp::Done
                && self.hub.counts().victims == 0
            {
                break;
            }
        }
        self.read(usize::MAX);
        let counts = self.hub.counts();
        assert_eq!((counts.unsynced, counts.victims), (0, 0), "all catch up");
        for watching in &self.watching {
            self.check(watching);
        }
    }

    fn check(&self, watching: &Watching) {
        let due = self.history.iter().filter(|event| {
            let key = &event.kv.as_ref().expect("an event has a pair").key;
            watching.range.contains(key) && revision_of(event) >= watching.start.to_wire()
        });
        let due: Vec<&Event> = match watching.ended {
            None => due.collect(),
            // It has got what came before, and nothing else is missing than what is compacted.
            Some(first) => {
                let got = watching.events.len();
                // Who watches everything has an event in every revision but the first, so it is known
                // where it was.
                let missed = due.clone().nth(got).map_or(0, revision_of);
                let at_its_start = got == 0 && watching.start < first;
                assert!(
                    missed < first.to_wire() || at_its_start || watching.range != KeyRange::All,
                    "{missed} can be read from {first} on"
                );
                due.take(got).collect()
            }
        };
        assert_eq!(due.len(), watching.events.len(), "{:?}", watching.stream);
        for (got, due) in watching.events.iter().zip(due) {
            if got.prev_kv.is_none() {
                // It may have been compacted by the time it was looked for.
                let without = Event {
                    prev_kv: None,
                    ..due.clone()
                };
                assert_eq!(*got, without);
                let before = Revision::from_wire(revision_of(got) - 1).ok();
                assert!(
                    due.prev_kv.is_none() || before < self.follower.store.compacted(),
                    "{got:?} had a pair before"
                );
            } else {
                assert_eq!(got, due);
            }
        }
    }
}

fn revision_of(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => writes().prop_map(|writes| Step::Append(Entry::Write(writes))),
        1 => (0_u64..8).prop_map(|back| Step::Append(Entry::Compact(back))),
        6 => (1_usize..5).prop_map(Step::Apply),
        3 => Just(Step::Install),
        4 => (option::weighted(0.7, -10_i64..6), 0_usize..3, 1_usize..6)
            .prop_map(|(start, range, capacity)| Step::Watch { start, range, capacity }),
        5 => Just(Step::Sync),
        4 => (1_usize..4).prop_map(Step::Read),
        1 => Just(Step::Delete),
    ]
}

fn writes() -> impl Strategy<Value = Vec<(usize, Option<u8>)>> {
    let writes =
        proptest::collection::btree_map(0..KEYS.len(), option::weighted(0.7, 0_u8..9), 1..3);
    writes.prop_map(|writes| writes.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// P6 (etcd issue 15271) and P13 (etcd issues 9775, 20221), amid everything else.
    #[test]
    fn p6_p13_every_watcher_gets_every_event_once_and_in_order_whatever_is_installed(
        steps in vec(step(), 1..80),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.settle();
    }
}

fn put(value: u8) -> Step {
    Step::Append(Entry::Write(vec![(0, Some(value))]))
}

fn watch_from(start: Option<i64>) -> Step {
    Step::Watch {
        start,
        range: 0,
        capacity: 100,
    }
}

fn revisions(watching: &Watching) -> Vec<i64> {
    watching.events.iter().map(revision_of).collect()
}

/// P6 (etcd issue 15271): after a partition and a snapshot, a watcher does not go back in time.
#[test]
fn p6_a_synced_watcher_goes_on_after_an_installation_where_it_was() {
    let mut world = World::new();
    world.take(&watch_from(None));
    for step in [
        put(1),
        put(2),
        Step::Apply(2),
        put(3),
        put(4),
        put(5),
        Step::Install,
        put(6),
    ] {
        world.take(&step);
    }
    world.settle();
    assert_eq!(revisions(&world.watching[0]), [2, 3, 4, 5, 6, 7]);
}

/// P6, P10: what a snapshot has compacted ends who needs it, and nobody else.
#[test]
fn p6_a_watcher_that_needs_what_the_installed_database_has_forgotten_is_told_so() {
    let mut world = World::new();
    let compact = Step::Append(Entry::Compact(1));
    for step in [
        put(1),
        put(2),
        Step::Apply(2),
        watch_from(None),
        put(3),
        put(4),
        put(5),
        compact,
    ] {
        world.take(&step);
    }
    world.take(&Step::Install);
    world.take(&watch_from(Some(-1)));
    world.take(&watch_from(Some(-2)));
    world.settle();
    let compacted = Revision::new(5);
    let ended: Vec<_> = world.watching.iter().map(|it| it.ended).collect();
    assert_eq!(ended, [compacted, None, compacted]);
    assert_eq!(revisions(&world.watching[1]), [5, 6]);
}

/// P13 (etcd issue 9775): a watcher of the future and a snapshot.
#[test]
fn p13_a_watcher_of_the_future_stays_one_until_an_installation_passes_its_start() {
    let mut world = World::new();
    world.take(&watch_from(Some(3)));
    world.take(&watch_from(Some(9)));
    for step in [
        put(1),
        Step::Install,
        put(2),
        put(3),
        put(4),
        put(5),
        Step::Install,
    ] {
        world.take(&step);
    }
    world.hub.request_progress(StreamId::new(1));
    world.settle();
    assert_eq!(revisions(&world.watching[0]), [4, 5, 6]);
    assert_eq!(revisions(&world.watching[1]), [0_i64; 0]);
    assert!(world.watching.iter().all(|it| it.ended.is_none()));
}

/// P11 (etcd issue 18055): two snapshots in quick succession.
#[test]
fn p11_two_installations_before_anybody_has_caught_up_lose_and_repeat_nothing() {
    let mut world = World::new();
    world.take(&watch_from(None));
    for step in [
        put(1),
        Step::Install,
        put(2),
        put(3),
        Step::Install,
        Step::Install,
        put(4),
    ] {
        world.take(&step);
    }
    world.settle();
    assert_eq!(revisions(&world.watching[0]), [2, 3, 4, 5]);
}

/// P10 (etcd issues 18089, 19179): a deletion exactly at the compaction, which was installed.
#[test]
fn p10_a_watch_from_an_installed_compaction_on_gets_the_deletion_there() {
    let mut world = World::new();
    let delete = Step::Append(Entry::Write(vec![(0, None)]));
    for step in [
        put(1),
        delete,
        Step::Append(Entry::Compact(0)),
        Step::Install,
    ] {
        world.take(&step);
    }
    while world.follower.store.compaction_step(10).expect("memory") != Progress::Idle {}
    world.take(&watch_from(Some(0)));
    world.take(&put(2));
    world.settle();
    assert_eq!(revisions(&world.watching[0]), [3, 4]);
}
