//! What an event costs the dispatcher, per watcher that gets it. The sink counts and forgets: the
//! queue to a stream's task is the server's cost.
#![expect(clippy::expect_used, reason = "a benchmark stops where it fails")]

use std::convert::Infallible;
use std::hint::black_box;

use bytes::Bytes;
use cairn_backend::{Backend, BackendOptions, MemoryEngine};
use cairn_index::{FullRevision, KeyRange, Revision};
use cairn_mvcc::{Change, ChangeKind, EventLimits, Events, Store};
use cairn_watch::{
    CatchUp, Full, History, Hub, Sink, StreamId, WatchReply, WatchRequest, WatchStart,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const VALUE_BYTES: usize = 256;

#[derive(Debug)]
struct Counter(u64);

impl Sink for Counter {
    fn try_send(&mut self, reply: WatchReply) -> Result<(), Full> {
        self.0 += black_box(reply).weight() as u64;
        Ok(())
    }

    fn answer(&mut self, reply: WatchReply) {
        self.0 += black_box(reply).weight() as u64;
    }

    fn has_room(&self) -> bool {
        true
    }
}

/// A history that nobody needs to look at.
#[derive(Debug)]
struct NoPast;

impl History for NoPast {
    type Error = Infallible;

    fn current(&self) -> Revision {
        Revision::FIRST
    }

    fn compacted(&self) -> Option<Revision> {
        None
    }

    fn events(
        &self,
        _: Revision,
        _: Revision,
        _: EventLimits,
        _: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Events, Infallible> {
        Ok(Events {
            changes: Vec::new(),
            next: None,
        })
    }

    fn previous(&self, changes: &[&Change]) -> Result<Vec<Option<Bytes>>, Infallible> {
        Ok(vec![None; changes.len()])
    }
}

fn hub_of<H: History>(
    history: H,
    streams: u64,
    start: WatchStart,
    ranges: impl Iterator<Item = KeyRange>,
) -> Hub<H, Counter> {
    let current = history.current();
    let mut hub = Hub::new(history, current);
    for stream in 0..streams {
        hub.open_stream(StreamId::new(stream), Counter(0));
    }
    for (stream, range) in (0..streams).cycle().zip(ranges) {
        let request = WatchRequest {
            start,
            ..WatchRequest::new(range)
        };
        hub.watch(StreamId::new(stream), request)
            .expect("the range has keys");
    }
    hub
}

fn change(key: &Bytes, value: &Bytes, at: Revision) -> Change {
    Change {
        kind: ChangeKind::Put,
        key: key.clone(),
        kv: value.clone(),
        at: FullRevision::first_of(at),
        created: true,
        previous: None,
    }
}

/// Notifies of one change after the other, each of the next of `keys`.
fn notify(
    criterion: &mut Criterion,
    name: &str,
    mut hub: Hub<NoPast, Counter>,
    keys: &[Bytes],
    events_per_change: u64,
) {
    let value = Bytes::from(vec![7; VALUE_BYTES]);
    let mut keys = keys.iter().cycle();
    let mut group = criterion.benchmark_group("notify");
    group.throughput(Throughput::Elements(events_per_change));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let revision = hub.observed().next();
            let key = keys.next().expect("a cycle has no end");
            hub.notify(revision, &[change(key, &value, revision)])
                .expect("nothing is read");
        });
    });
    group.finish();
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("/registry/things/{number:06}"))
}

fn notifications(criterion: &mut Criterion) {
    let one_key = || std::iter::repeat(KeyRange::One(key(1)));
    let hub = hub_of(NoPast, 100, WatchStart::Now, one_key().take(10_000));
    notify(
        criterion,
        "10000_watchers_on_one_key",
        hub,
        &[key(1)],
        10_000,
    );

    let keys: Vec<Bytes> = (0..10_000).map(key).collect();
    let ranges = || keys.iter().cloned().map(KeyRange::One);
    let hub = hub_of(NoPast, 100, WatchStart::Now, ranges());
    notify(criterion, "10000_watchers_on_a_key_each", hub, &keys, 1);
    let hub = hub_of(NoPast, 100, WatchStart::Now, ranges());
    notify(
        criterion,
        "10000_watchers_and_none_matches",
        hub,
        &[key(1_000_000)],
        1,
    );

    let prefixes = || (0..1000).map(|number| KeyRange::prefix(key(number)));
    let hub = hub_of(NoPast, 100, WatchStart::Now, prefixes());
    notify(
        criterion,
        "1000_watchers_on_a_prefix_each",
        hub,
        keys.get(..1000).expect("10000"),
        1,
    );

    let same = std::iter::repeat_with(|| KeyRange::prefix(Bytes::from("/registry/"))).take(1000);
    let hub = hub_of(NoPast, 100, WatchStart::Now, same);
    notify(criterion, "1000_watchers_on_one_prefix", hub, &keys, 1000);
}

fn catching_up(criterion: &mut Criterion) {
    const REVISIONS: u64 = 1000;
    const WATCHERS: usize = 1000;
    let backend = Backend::open(MemoryEngine::new(), BackendOptions::default()).expect("memory");
    let store = Store::restore(backend).expect("an empty store");
    let value = [7; VALUE_BYTES];
    for number in 0..REVISIONS {
        let mut batch = store.write();
        let mut txn = batch.txn();
        txn.put(&key(number), &value, None);
        assert_eq!(txn.end().changes.len(), 1);
        batch.end().expect("memory");
    }
    let start = WatchStart::At(Revision::FIRST.next());
    let everything = || std::iter::repeat_n(KeyRange::All, WATCHERS);
    let one_key_each = || {
        (0..REVISIONS)
            .map(|number| KeyRange::One(key(number)))
            .take(WATCHERS)
    };
    let mut group = criterion.benchmark_group("catch_up");
    group.sample_size(20);
    let mut bench = |name: &str, events: u64, setup: &dyn Fn() -> Hub<Store, Counter>| {
        group.throughput(Throughput::Elements(events));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                setup,
                |mut hub| {
                    while hub.sync_step().expect("memory") == CatchUp::More {}
                    hub
                },
                BatchSize::LargeInput,
            );
        });
    };
    let all_events = REVISIONS * WATCHERS as u64;
    bench(
        "1000_watchers_of_all_over_1000_revisions",
        all_events,
        &|| hub_of(store.clone(), 100, start, everything()),
    );
    bench(
        "1000_watchers_of_a_key_each_over_1000_revisions",
        REVISIONS,
        &|| hub_of(store.clone(), 100, start, one_key_each()),
    );
    group.finish();
}

criterion_group!(benches, notifications, catching_up);
criterion_main!(benches);
