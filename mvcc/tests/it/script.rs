//! Random scripts, and a store that carries them out beside its model.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use bytes::Bytes;
use cairn_backend::{Applied, Backend, BackendOptions, MemoryEngine};
use cairn_mvcc::{
    CompactionPoint, EventLimits, Installed, KeyRange, LeaseId, Prepared, Progress, RangeQuery,
    ReadAt, Revision, RevisionFilter, ScanProgress, SortOrder, SortTarget, Store, StoredKv,
};
use cairn_proto::mvccpb::KeyValue;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;

use crate::model::{Answer, Model, ModelEvent, Operation};

/// A step of a script.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A batch of transactions.
    Write(Vec<Vec<Operation>>),
    /// A compaction this many revisions before the current one.
    Compact(i64),
    /// So much of what a compaction has to delete.
    Work(usize),
    /// Everything written so far reaches the disk.
    Commit,
    /// What did not reach it is lost.
    Crash,
    /// A leader that is these batches and compactions ahead sends its database.
    Install(Vec<Self>),
}

/// A store, its disk, and what it should hold.
pub(crate) struct Subject {
    pub(crate) engine: MemoryEngine,
    pub(crate) store: Store,
    pub(crate) model: Model,
    committed: (i64, Option<CompactionPoint>),
    /// Where in the log its database is.
    pub(crate) applied: u64,
}

impl Subject {
    pub(crate) fn new() -> Self {
        let engine = MemoryEngine::new();
        let store = open(&engine);
        Self {
            engine,
            store,
            model: Model::new(),
            committed: (1, None),
            applied: 0,
        }
    }

    /// Another member of the same content, which got it as a database.
    pub(crate) fn twin(&mut self) -> Self {
        let mut twin = Self::new();
        self.store.send_to(&twin.store, &mut self.applied);
        twin.applied = self.applied;
        twin.model = self.model.clone();
        twin.commit();
        twin
    }

    /// Becomes what a leader is.
    pub(crate) fn install(&mut self, leader: &mut Self) {
        leader.store.send_to(&self.store, &mut leader.applied);
        self.applied = leader.applied;
        self.model = leader.model.clone();
        self.committed = (self.model.current(), self.model.compacted);
        assert_eq!(self.store.current().to_wire(), self.model.current());
        assert_eq!(self.store.compaction_point(), self.model.compacted);
    }

    pub(crate) fn run(&mut self, step: &Step) {
        match step {
            Step::Write(transactions) => self.write(transactions),
            Step::Compact(back) => self.compact(*back),
            Step::Work(changes_max) => {
                self.store.compaction_step(*changes_max).unwrap();
            }
            Step::Commit => self.commit(),
            Step::Crash => self.crash(),
            Step::Install(ahead) => {
                let mut leader = self.twin();
                for step in ahead {
                    leader.run(step);
                }
                self.install(&mut leader);
            }
        }
    }

    pub(crate) fn write(&mut self, transactions: &[Vec<Operation>]) {
        let before = self.store.current();
        let mut batch = self.store.write();
        for operations in transactions {
            let mut txn = batch.txn();
            for operation in operations {
                match operation {
                    Operation::Put { key, value, lease } => {
                        txn.put(key, value, LeaseId::from_wire(*lease));
                    }
                    Operation::Delete(range) => {
                        txn.delete_range(range);
                    }
                }
            }
            let told = self.model.events.len();
            let revision = self.model.apply(operations);
            let committed = txn.end();
            assert_eq!(committed.revision.to_wire(), revision);
            let events: Vec<_> = committed
                .changes
                .iter()
                .map(|it| event(&self.store, it))
                .collect();
            // Values of previous versions can be read only once the batch has ended.
            let expected = self.model.events[told..].iter().cloned();
            let expected = expected.map(|it| ModelEvent {
                previous: None,
                ..it
            });
            assert_eq!(
                events
                    .into_iter()
                    .map(|it| ModelEvent {
                        previous: None,
                        ..it
                    })
                    .collect::<Vec<_>>(),
                expected.collect::<Vec<_>>()
            );
        }
        assert_eq!(
            self.store.current(),
            before,
            "nothing is seen before the end"
        );
        batch.end().unwrap();
        assert_eq!(self.store.current().to_wire(), self.model.current());
    }

    pub(crate) fn compact(&mut self, back: i64) {
        let point = CompactionPoint::from_wire((self.model.current() - back).max(0)).unwrap();
        let mut batch = self.store.write();
        let scheduled = batch.schedule_compaction(point);
        batch.end().unwrap();
        let legal = self.model.compacted < Some(point) && point.to_wire() <= self.model.current();
        assert_eq!(scheduled.is_ok(), legal);
        if legal {
            self.model.compacted = Some(point);
        }
    }

    pub(crate) fn commit(&mut self) {
        self.store.backend().force_commit().unwrap();
        self.committed = (self.model.current(), self.model.compacted);
    }

    pub(crate) fn crash(&mut self) {
        self.store = open(&self.engine);
        let (revision, compacted) = self.committed;
        self.model.truncate(revision, compacted);
        assert_eq!(self.store.current().to_wire(), revision);
        assert_eq!(self.store.compaction_point(), compacted);
    }

    pub(crate) fn finish_compaction(&self) {
        while self.store.compaction_step(3).unwrap() != Progress::Idle {}
    }

    /// Compares a range at every revision that can be read, and two that cannot.
    pub(crate) fn check_range(&self, query: &RangeQuery, chunk: NonZeroUsize) {
        let (first, current) = (self.model.first(), self.model.current());
        for at in first..=current {
            let expected = self.model.range(query, at);
            assert_eq!(self.range(query, at), expected, "{query:?} at {at}");
            assert_eq!(
                self.scan(query, at, chunk),
                expected,
                "{query:?} at {at} in chunks"
            );
        }
        for at in [first - 1, current + 1].into_iter().filter(|at| *at > 0) {
            let query = RangeQuery {
                at: read_at(at),
                ..query.clone()
            };
            assert!(self.store.range(&query, &mut |_| {}).is_err());
            assert!(self.store.scan(&query).is_err());
        }
    }

    fn range(&self, query: &RangeQuery, at: i64) -> Answer {
        let query = RangeQuery {
            at: read_at(at),
            ..query.clone()
        };
        let mut kvs = Vec::new();
        let summary = self
            .store
            .range(&query, &mut |kv| kvs.push(decode(kv)))
            .unwrap();
        assert_eq!(summary.revision, self.store.current());
        Answer {
            kvs,
            count: summary.count,
            more: summary.more,
        }
    }

    fn scan(&self, query: &RangeQuery, at: i64, chunk: NonZeroUsize) -> Answer {
        let query = RangeQuery {
            at: read_at(at),
            ..query.clone()
        };
        let mut scan = self.store.scan(&query).unwrap();
        let mut kvs = Vec::new();
        loop {
            let before = kvs.len();
            let progress = scan.next_chunk(chunk, &mut |kv| {
                kvs.push(decode(kv));
                ControlFlow::Continue(())
            });
            assert!(kvs.len() - before <= chunk.get());
            match progress.unwrap() {
                ScanProgress::More => assert_eq!(kvs.len() - before, chunk.get()),
                ScanProgress::Done(summary) => {
                    return Answer {
                        kvs,
                        count: summary.count,
                        more: summary.more,
                    };
                }
            }
        }
    }

    /// Compares all events that history still has, read in pieces of about `scanned_max` changes.
    pub(crate) fn check_history(&self, scanned_max: usize) {
        let first = self.model.first();
        let through = self.store.current();
        let limits = EventLimits {
            scanned_max,
            bytes_max: usize::MAX,
        };
        let mut found = Vec::new();
        let mut next = Some(Revision::from_wire(first).unwrap());
        while let Some(from) = next {
            let events = self
                .store
                .events(from, through, limits, &mut |_| true)
                .unwrap();
            found.extend(
                events
                    .changes
                    .iter()
                    .map(|change| event(&self.store, change)),
            );
            next = events.next;
        }
        let expected: Vec<_> = self
            .model
            .events
            .iter()
            .filter(|it| it.revision >= first)
            .collect();
        let found: Vec<_> = found.iter().collect();
        let expected: Vec<_> = expected
            .into_iter()
            .cloned()
            .map(
                |it| match it.revision - 1 < first && self.model.compacted.is_some() {
                    // What an event replaced is forgotten with the revision before it.
                    true if it.revision == first => ModelEvent {
                        previous: None,
                        ..it
                    },
                    _ => it,
                },
            )
            .collect();
        assert_eq!(found, expected.iter().collect::<Vec<_>>());
    }
}

/// What a member sends and another installs.
pub(crate) trait Sends {
    /// Sends the database, one log entry after `applied`.
    fn send_to(&self, follower: &Self, applied: &mut u64) -> Installed;

    /// Sends the database as it is, and has it received and read, but not installed.
    fn offer_to(&self, follower: &Self) -> Prepared;
}

impl Sends for Store {
    fn send_to(&self, follower: &Self, applied: &mut u64) -> Installed {
        *applied += 1;
        let mut batch = self.write();
        let place = Applied {
            index: *applied,
            term: 1,
        };
        place.write(batch.backend());
        batch.end().unwrap();
        follower.install(self.offer_to(follower)).unwrap()
    }

    fn offer_to(&self, follower: &Self) -> Prepared {
        let mut sender = self.backend().send().unwrap();
        let mut receiving = follower.receive().unwrap();
        while let Some(chunk) = sender.next_chunk().unwrap() {
            receiving.write(&chunk).unwrap();
        }
        let announced = sender.applied();
        receiving.finish(announced).unwrap()
    }
}

pub(crate) fn open(engine: &MemoryEngine) -> Store {
    Store::restore(backend(engine)).unwrap()
}

pub(crate) fn backend(engine: &MemoryEngine) -> Backend {
    Backend::open(engine.clone(), BackendOptions::default()).unwrap()
}

fn read_at(at: i64) -> ReadAt {
    ReadAt::Revision(Revision::from_wire(at).unwrap())
}

fn decode(kv: StoredKv<'_>) -> KeyValue {
    let decoded = KeyValue::decode(kv.encoded).unwrap();
    assert_eq!(decoded.key, kv.key);
    assert_eq!(decoded.create_revision, kv.create_revision().to_wire());
    assert_eq!(decoded.mod_revision, kv.mod_revision().to_wire());
    assert_eq!(decoded.version, kv.version().to_wire());
    assert_eq!(kv.fields().unwrap().value, decoded.value);
    decoded
}

fn event(store: &Store, change: &cairn_mvcc::Change) -> ModelEvent {
    let kv = KeyValue::decode(change.kv.as_ref()).unwrap();
    assert_eq!(change.key, kv.key);
    assert_eq!(change.at.main.to_wire(), kv.mod_revision);
    let put = change.kind == cairn_mvcc::ChangeKind::Put;
    assert_eq!(change.created, put && kv.version == 1);
    let previous = change.previous.and_then(|at| store.previous(at).unwrap());
    ModelEvent {
        revision: change.at.main.to_wire(),
        put,
        kv,
        previous: previous.map(|bytes| KeyValue::decode(bytes).unwrap()),
    }
}

pub(crate) fn key() -> impl Strategy<Value = Bytes> {
    let keys: [&[u8]; 8] = [
        b"a",
        b"a\0",
        b"aa",
        b"ab",
        b"b",
        b"ba",
        b"\xff",
        b"\xff\xff",
    ];
    proptest::sample::select(keys.to_vec()).prop_map(Bytes::from_static)
}

pub(crate) fn key_range() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        4 => key().prop_map(KeyRange::One),
        4 => (key(), key()).prop_map(|(start, end)| KeyRange::Span { start, end }),
        1 => key().prop_map(KeyRange::From),
        2 => Just(KeyRange::All),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let lease = prop_oneof![3 => Just(0), 1 => Just(7), 1 => Just(-9)];
    prop_oneof![
        4 => (key(), "[x-z]{0,2}", lease).prop_map(|(key, value, lease)| Operation::Put {
            key,
            value: value.into(),
            lease,
        }),
        1 => key_range().prop_map(Operation::Delete),
    ]
}

/// Operations that one transaction may hold: no key is put twice, or put and deleted.
fn transaction() -> impl Strategy<Value = Vec<Operation>> {
    vec(operation(), 0..4).prop_map(|operations| {
        let mut kept: Vec<Operation> = Vec::new();
        for operation in operations {
            let overlaps = kept.iter().any(|other| match (other, &operation) {
                (Operation::Put { key: a, .. }, Operation::Put { key: b, .. }) => a == b,
                (Operation::Put { key, .. }, Operation::Delete(range))
                | (Operation::Delete(range), Operation::Put { key, .. }) => range.contains(key),
                (Operation::Delete(_), Operation::Delete(_)) => false,
            });
            if !overlaps {
                kept.push(operation);
            }
        }
        kept
    })
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => vec(transaction(), 1..4).prop_map(Step::Write),
        2 => (-1_i64..6).prop_map(Step::Compact),
        4 => (1_usize..4).prop_map(Step::Work),
        2 => Just(Step::Commit),
        1 => Just(Step::Crash),
        1 => vec(step_of_a_leader(), 0..6).prop_map(Step::Install),
    ]
}

fn step_of_a_leader() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => vec(transaction(), 1..4).prop_map(Step::Write),
        1 => (-1_i64..6).prop_map(Step::Compact),
        1 => (1_usize..4).prop_map(Step::Work),
    ]
}

pub(crate) fn query() -> impl Strategy<Value = RangeQuery> {
    let target = proptest::sample::select(vec![
        SortTarget::Key,
        SortTarget::Version,
        SortTarget::Create,
        SortTarget::Modify,
        SortTarget::Value,
    ]);
    let order =
        proptest::sample::select(vec![SortOrder::None, SortOrder::Ascend, SortOrder::Descend]);
    let filter = || {
        let end = || option::weighted(0.2, 1_i64..12);
        (end(), end()).prop_map(|(min, max)| RevisionFilter { min, max })
    };
    let limit = option::of((1_usize..6).prop_map(|limit| NonZeroUsize::new(limit).unwrap()));
    let flags = (proptest::bool::ANY, proptest::bool::weighted(0.1));
    (key_range(), limit, target, order, flags, filter(), filter()).prop_map(
        |(range, limit, target, order, (keys_only, count_only), modified, created)| RangeQuery {
            limit,
            target,
            order,
            keys_only,
            count_only,
            modified,
            created,
            ..RangeQuery::new(range)
        },
    )
}
