//! The watches of a stream against a server that keeps a history and breaks off anywhere.

use std::collections::{BTreeMap, VecDeque};

use cairn_proto::mvccpb;
use proptest::prelude::*;

use super::*;

/// What a server does next, and what happens to the stream.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A revision that writes so many of the keys, beginning with this one.
    Write { first: u8, count: u8 },
    /// So many revisions to a watcher, in messages of so many events.
    Tell {
        watcher: u8,
        revisions: u8,
        fragment: u8,
    },
    /// Word that nothing is missing, to a watcher that has everything.
    Progress { watcher: u8 },
    /// The client reads so many of the messages on their way.
    Receive { messages: u8 },
    /// The stream breaks; what was on its way is lost.
    Break,
    /// The server ends a watcher without a reason, as one that is leaving.
    Leave { watcher: u8 },
    /// History is forgotten up to so many revisions ago.
    Compact { keep: u8 },
    /// The consumer takes no more.
    Fill { watch: u8 },
    /// The consumer takes again.
    Drain { watch: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<u8>(), 1_u8..4).prop_map(|(first, count)| Step::Write { first, count }),
        4 => (any::<u8>(), 1_u8..6, 1_u8..4).prop_map(|(watcher, revisions, fragment)| {
            Step::Tell { watcher, revisions, fragment }
        }),
        1 => any::<u8>().prop_map(|watcher| Step::Progress { watcher }),
        4 => (1_u8..8).prop_map(|messages| Step::Receive { messages }),
        2 => Just(Step::Break),
        1 => any::<u8>().prop_map(|watcher| Step::Leave { watcher }),
        1 => (2_u8..20).prop_map(|keep| Step::Compact { keep }),
        1 => any::<u8>().prop_map(|watch| Step::Fill { watch }),
        2 => any::<u8>().prop_map(|watch| Step::Drain { watch }),
    ]
}

const KEYS: u8 = 4;

/// A change: its revision and its key.
type Told = (i64, u8);

/// A server with one stream.
#[derive(Default)]
struct Server {
    /// The keys that each revision from 2 on wrote.
    history: Vec<Vec<u8>>,
    compacted: i64,
    watchers: BTreeMap<i64, Watcher>,
    on_their_way: VecDeque<pb::WatchResponse>,
}

struct Watcher {
    keys: Keys,
    next: i64,
}

impl Server {
    fn revision(&self) -> i64 {
        1 + i64::try_from(self.history.len()).unwrap()
    }

    fn header(&self) -> Option<pb::ResponseHeader> {
        Some(pb::ResponseHeader {
            revision: self.revision(),
            ..pb::ResponseHeader::default()
        })
    }

    fn write(&mut self, first: u8, count: u8) {
        let keys = (0..count).map(|at| first.wrapping_add(at) % KEYS);
        self.history.push(keys.collect());
    }

    fn answer(&mut self, request: pb::WatchRequest) {
        match request.request_union.unwrap() {
            RequestUnion::CreateRequest(create) => {
                let created = pb::WatchResponse {
                    header: self.header(),
                    watch_id: create.watch_id,
                    created: true,
                    ..pb::WatchResponse::default()
                };
                self.on_their_way.push_back(created);
                let next = match create.start_revision {
                    0 => self.revision() + 1,
                    start => start,
                };
                let keys = Keys::range(create.key, create.range_end);
                let replaced = self
                    .watchers
                    .insert(create.watch_id, Watcher { keys, next });
                assert!(replaced.is_none(), "a number was used again");
            }
            RequestUnion::CancelRequest(cancel) => {
                self.watchers.remove(&cancel.watch_id);
            }
            RequestUnion::ProgressRequest(_) => {}
        }
    }

    fn nth(&self, at: u8) -> Option<i64> {
        let count = self.watchers.len();
        self.watchers
            .keys()
            .nth(usize::from(at).checked_rem(count)?)
            .copied()
    }

    fn changes(&self, keys: &Keys, revision: i64) -> Vec<mvccpb::Event> {
        let at = usize::try_from(revision - 2).unwrap();
        let written = self.history[at]
            .iter()
            .filter(|key| keys.contains(&[**key]));
        let event = |key: &u8| mvccpb::Event {
            kv: Some(mvccpb::KeyValue {
                key: vec![*key].into(),
                create_revision: revision,
                mod_revision: revision,
                version: 1,
                ..mvccpb::KeyValue::default()
            }),
            ..mvccpb::Event::default()
        };
        written.map(event).collect()
    }

    fn tell(&mut self, number: i64, revisions: u8, fragment: u8) {
        let watcher = &self.watchers[&number];
        if watcher.next < self.compacted {
            self.watchers.remove(&number);
            self.on_their_way.push_back(pb::WatchResponse {
                header: self.header(),
                watch_id: number,
                canceled: true,
                compact_revision: self.compacted,
                ..pb::WatchResponse::default()
            });
            return;
        }
        let last = (watcher.next + i64::from(revisions) - 1).min(self.revision());
        let told = (watcher.next.max(2)..=last).flat_map(|at| self.changes(&watcher.keys, at));
        let events: Vec<_> = told.collect();
        let next = watcher.next.max(last + 1);
        let parts: Vec<_> = events
            .chunks(usize::from(fragment))
            .map(<[_]>::to_vec)
            .collect();
        let count = parts.len();
        for (at, events) in parts.into_iter().enumerate() {
            self.on_their_way.push_back(pb::WatchResponse {
                header: self.header(),
                watch_id: number,
                events,
                fragment: at + 1 < count,
                ..pb::WatchResponse::default()
            });
        }
        self.watchers.get_mut(&number).unwrap().next = next;
    }

    fn progress(&mut self, number: i64) {
        if self.watchers[&number].next == self.revision() + 1 {
            self.on_their_way.push_back(pb::WatchResponse {
                header: self.header(),
                watch_id: number,
                ..pb::WatchResponse::default()
            });
        }
    }

    fn leave(&mut self, number: i64) {
        self.watchers.remove(&number);
        self.on_their_way.push_back(pb::WatchResponse {
            header: self.header(),
            watch_id: number,
            canceled: true,
            ..pb::WatchResponse::default()
        });
    }
}

/// Who consumes one watch.
#[derive(Default)]
struct Consumer {
    created: Option<i64>,
    told: Vec<Told>,
    progress: i64,
    compacted: Option<i64>,
    is_full: bool,
    is_paused: bool,
}

#[derive(Default)]
struct Consumers(BTreeMap<WatchKey, Consumer>);

impl Sink for Consumers {
    fn accept(&mut self, watch: WatchKey, output: Output) -> Acceptance {
        let consumer = self.0.get_mut(&watch).unwrap();
        assert!(consumer.compacted.is_none(), "told after the end");
        match output {
            Output::Created(revision) => {
                consumer.created.get_or_insert_with(|| revision.get());
            }
            Output::Update(Update::Events { events, revision }) => {
                if consumer.is_full {
                    consumer.is_paused = true;
                    return Acceptance::Full;
                }
                let seen = events.iter().map(|it| (it.revision().get(), it.key()[0]));
                consumer.told.extend(seen);
                assert_eq!(consumer.told.last().unwrap().0, revision.get());
            }
            Output::Update(Update::Progress(revision)) => {
                assert!(consumer.progress <= revision.get(), "old news of progress");
                consumer.progress = revision.get();
            }
            Output::Update(Update::Compacted(revision)) => {
                consumer.compacted = Some(revision.get());
            }
            Output::Failed(error) => panic!("{error}"),
        }
        Acceptance::Taken
    }
}

struct World {
    server: Server,
    core: Core,
    consumers: Consumers,
}

impl World {
    fn open(&mut self) {
        self.server.watchers.clear();
        self.server.on_their_way.clear();
        for request in self.core.opened() {
            self.server.answer(request);
        }
    }

    fn receive(&mut self, messages: usize) {
        for _ in 0..messages {
            let Some(message) = self.server.on_their_way.pop_front() else {
                return;
            };
            if let Some(request) = self.core.received(message.into(), &mut self.consumers) {
                self.server.answer(request);
            }
        }
    }

    fn drain(&mut self, key: WatchKey) {
        let consumer = self.consumers.0.get_mut(&key).unwrap();
        consumer.is_full = false;
        if std::mem::take(&mut consumer.is_paused)
            && let Some(request) = self.core.resume(key)
        {
            self.server.answer(request);
        }
    }

    fn nth(&self, at: u8) -> WatchKey {
        let count = self.consumers.0.len();
        *self
            .consumers
            .0
            .keys()
            .nth(usize::from(at) % count)
            .unwrap()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write { first, count } => self.server.write(first, count),
            Step::Tell {
                watcher,
                revisions,
                fragment,
            } => {
                if let Some(number) = self.server.nth(watcher) {
                    self.server.tell(number, revisions, fragment);
                }
            }
            Step::Progress { watcher } => {
                if let Some(number) = self.server.nth(watcher) {
                    self.server.progress(number);
                }
            }
            Step::Receive { messages } => self.receive(usize::from(messages)),
            Step::Break => {
                self.core.lost();
                self.open();
            }
            Step::Leave { watcher } => {
                if let Some(number) = self.server.nth(watcher) {
                    self.server.leave(number);
                }
            }
            Step::Compact { keep } => {
                let at = self.server.revision() - i64::from(keep);
                self.server.compacted = self.server.compacted.max(at);
            }
            Step::Fill { watch } => {
                let key = self.nth(watch);
                self.consumers.0.get_mut(&key).unwrap().is_full = true;
            }
            Step::Drain { watch } => {
                let key = self.nth(watch);
                self.drain(key);
            }
        }
    }

    /// Everything comes to rest: the stream holds, and every consumer takes.
    fn settle(&mut self) {
        for _ in 0..4 {
            let keys: Vec<_> = self.consumers.0.keys().copied().collect();
            for key in keys {
                self.drain(key);
            }
            self.receive(usize::MAX);
            let numbers: Vec<_> = self.server.watchers.keys().copied().collect();
            for number in numbers {
                self.server.tell(number, u8::MAX, 2);
            }
            self.receive(usize::MAX);
        }
    }
}

fn spec(keys: Keys, from: Option<i64>) -> Spec {
    Spec {
        keys,
        namespace: Bytes::new(),
        from: from.map(|from| Revision::new(from).unwrap()),
        with_previous: false,
        without_puts: false,
        without_deletes: false,
        with_progress: true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_comes_out_is_the_history_each_change_once(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut world = World {
            server: Server::default(),
            core: Core::default(),
            consumers: Consumers::default(),
        };
        let asked = [
            spec(Keys::range([0], [KEYS]), Some(2)),
            spec(Keys::one([1]), None),
            spec(Keys::range([1], [3]), Some(6)),
        ];
        for (at, spec) in (0..).zip(asked.clone()) {
            world.consumers.0.insert(WatchKey(at), Consumer::default());
            assert!(world.core.add(WatchKey(at), spec).is_none());
        }
        world.open();
        for step in steps {
            world.step(step);
        }
        world.settle();
        for (consumer, spec) in world.consumers.0.values().zip(asked) {
            let begun = consumer.created.expect("every watch has begun");
            let from = spec.from.map_or(begun + 1, Revision::get);
            let revisions = from.max(2)..=world.server.revision();
            let history = revisions.flat_map(|at| {
                let events = world.server.changes(&spec.keys, at);
                events.into_iter().map(move |event| (at, event.kv.unwrap().key[0]))
            });
            let history: Vec<Told> = history.collect();
            match consumer.compacted {
                None => prop_assert_eq!(&consumer.told, &history),
                // What was told before is the beginning of the history, and nothing after the
                // compaction could be told without a gap.
                Some(compacted) => {
                    prop_assert!(history.starts_with(&consumer.told));
                    let missed = history.get(consumer.told.len());
                    prop_assert!(missed.is_none_or(|(at, _)| *at <= world.server.revision()));
                    prop_assert!(compacted <= world.server.compacted);
                }
            }
            prop_assert!(consumer.progress <= world.server.revision());
        }
    }
}

#[test]
fn refusals_are_errors_of_the_watch_that_they_are_about() {
    #[derive(Default)]
    struct Errors(Vec<(WatchKey, Error)>);
    impl Sink for Errors {
        fn accept(&mut self, watch: WatchKey, output: Output) -> Acceptance {
            if let Output::Failed(error) = output {
                self.0.push((watch, error));
            }
            Acceptance::Taken
        }
    }
    let mut core = Core::default();
    for at in 0..2 {
        core.add(WatchKey(at), spec(Keys::one([0]), None));
    }
    let _ = core.opened();
    let mut errors = Errors::default();
    let first = pb::WatchResponse {
        watch_id: 1,
        created: true,
        ..pb::WatchResponse::default()
    };
    core.received(first.into(), &mut errors);
    let refused = pb::WatchResponse {
        watch_id: -1,
        created: true,
        canceled: true,
        cancel_reason: "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
            .to_owned(),
        ..pb::WatchResponse::default()
    };
    core.received(refused.into(), &mut errors);
    let [(watch, error)] = &errors.0[..] else {
        panic!("{:?}", errors.0)
    };
    assert_eq!(*watch, WatchKey(1));
    assert_eq!(error.etcd(), Some(EtcdError::PermissionDenied));
}

#[test]
fn a_token_that_ended_asks_for_another_stream() {
    let mut core = Core::default();
    core.add(WatchKey(0), spec(Keys::one([0]), None));
    let _ = core.opened();
    let refused = pb::WatchResponse {
        watch_id: 1,
        created: true,
        canceled: true,
        cancel_reason: "etcdserver: invalid auth token".to_owned(),
        ..pb::WatchResponse::default()
    };
    let mut consumers = Consumers(BTreeMap::from([(WatchKey(0), Consumer::default())]));
    assert!(core.received(refused.into(), &mut consumers).is_none());
    assert!(core.needs_token());
    core.lost();
    assert_eq!(core.opened().len(), 1);
    assert!(!core.needs_token());
}
