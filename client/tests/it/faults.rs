//! The client against a server that misbehaves, from seeds, in time that only the test passes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cairn_client::{
    Client, ConnectOptions, Connecting, Endpoint, Error, Event, Keys, Rpc, Socket, Update,
};
use cairn_proto::{etcdserverpb, v3electionpb, v3lockpb};
use proptest::prelude::*;

use tokio::time::{Instant, sleep};

use crate::fake::{Fake, LEASE_SECONDS};

/// How many writes a client makes.
const WRITES: usize = 40;

async fn client(fake: &Fake) -> Client {
    let options = ConnectOptions::new(["http://a:1", "http://b:1", "http://c:1"]).unwrap();
    let options = options.user("alice", "secret").connector(fake.connector());
    loop {
        match options.clone().connect().await {
            Ok(client) => return client,
            Err(error) => assert!(!error.is_ambiguous(), "{error}"),
        }
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(test)
}

/// Writes keys of its own, each once; returns what it was told of each.
async fn write(client: Client, name: &'static str) -> Vec<(Bytes, Result<(), Error>)> {
    let mut told = Vec::new();
    for at in 0..WRITES {
        let key = Bytes::from(format!("{name}/{at}"));
        let put = client.put(&key, "x").await;
        told.push((key, put.map(drop)));
    }
    told
}

fn check_writes(fake: &Fake, told: &[(Bytes, Result<(), Error>)]) {
    let applied =
        |key: &Bytes| fake.with(|book| book.history.iter().filter(|it| it.0 == key).count());
    for (key, outcome) in told {
        match outcome {
            Ok(()) => assert_eq!(applied(key), 1, "{key:?} was acknowledged"),
            Err(Error::Ambiguous { .. }) => assert!(applied(key) <= 1, "{key:?} was sent twice"),
            Err(error) => assert_eq!(applied(key), 0, "{key:?}: {error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_write_is_applied_once_or_not_and_the_client_knows_which(seed: u64, faults in 0_u32..100) {
        run(async {
            let fake = Fake::new(seed, faults);
            let first = client(&fake).await;
            let second = client(&fake).await;
            let done = (first.clone(), second.clone());
            let (first, second) = tokio::join!(write(first, "a"), write(second, "b"));
            check_writes(&fake, &first);
            check_writes(&fake, &second);
            let (first_done, second_done) = (done.0.counters(), done.1.counters());
            let ambiguous = [&first, &second].map(|told| {
                told.iter()
                    .filter(|(_, told)| told.as_ref().is_err_and(Error::is_ambiguous))
                    .count() as u64
            });
            assert_eq!(ambiguous, [first_done.ambiguous, second_done.ambiguous]);
            assert_eq!(first_done.calls, WRITES as u64);
            if faults == 0 {
                assert_eq!((first_done.retries, first_done.connections_lost), (0, 0));
                assert!(first.iter().all(|(_, told)| told.is_ok()));
            }
        });
    }

    #[test]
    fn a_watch_tells_the_history_each_event_once(seed: u64, faults in 0_u32..100) {
        run(async {
            let fake = Fake::new(seed, faults);
            let client = client(&fake).await;
            let writer = tokio::spawn(write(client.clone(), "a"));
            let from = cairn_client::Revision::FIRST.next();
            let mut watch = client.watch(Keys::all()).from(from).await.unwrap();
            let mut bounded = client.watch(Keys::all()).from(from).buffer_bytes(300).await.unwrap();
            writer.await.unwrap();
            let last = fake.with(|book| book.revision());
            for watch in [&mut watch, &mut bounded] {
                let mut told = Vec::new();
                while told.last().map_or(1, |event: &Event| event.revision().get()) < last {
                    match watch.next().await.unwrap().unwrap() {
                        Update::Events { events, .. } => told.extend(events),
                        other => panic!("{other:?}"),
                    }
                }
                let told: Vec<Bytes> = told.iter().map(|event| event.key().clone()).collect();
                let history = fake.with(|book| book.history.clone());
                let history: Vec<Bytes> = history.into_iter().map(|(key, _)| key).collect();
                assert_eq!(told, history);
            }
        });
    }

    #[test]
    fn a_cache_is_the_server_at_every_revision_that_it_claims(seed: u64, faults in 0_u32..100) {
        run(async {
            let fake = Fake::new(seed, faults);
            let client = client(&fake).await;
            let writer = tokio::spawn(write(client.clone(), "a"));
            let cache = client.cache(Keys::all()).await;
            let Ok(cache) = cache else {
                // Too much went wrong for a first list.
                return;
            };
            let mut changes = cache.changes();
            let check = || {
                let snapshot = cache.snapshot();
                let count = usize::try_from(snapshot.revision().get() - 1).unwrap();
                let there: BTreeMap<_, _> = fake.with(|book| {
                    book.history[..count].iter().cloned().collect()
                });
                let cached: BTreeMap<_, _> = snapshot
                    .iter()
                    .map(|entry| (entry.kv().key.clone(), entry.kv().value.clone()))
                    .collect();
                assert_eq!(cached, there, "at {}", snapshot.revision());
            };
            check();
            while !writer.is_finished() {
                if fake.with(|book| book.revision() % 7 == 0) {
                    fake.with(crate::fake::Book::compact);
                }
                tokio::select! {
                    _ = changes.next() => check(),
                    () = sleep(Duration::from_millis(10)) => {}
                }
            }
            fake.with(|book| book.faults = 0);
            let last = fake.with(|book| book.revision());
            let last = cairn_client::Revision::new(last).unwrap();
            cache.wait_for(last).await.unwrap();
            check();
        });
    }

    #[test]
    fn a_lease_that_counts_as_alive_is_alive_at_the_server(seed: u64, faults in 0_u32..60) {
        run(async {
            let fake = Fake::new(seed, faults);
            let client = client(&fake).await;
            let mut kept = Vec::new();
            let ttl = Duration::from_secs(LEASE_SECONDS.unsigned_abs());
            for _ in 0..3 {
                let lease = client.leases().keep(ttl).await;
                kept.extend(lease.ok());
            }
            for _ in 0..600 {
                for lease in kept.iter().filter(|lease| lease.is_alive()) {
                    let ends = fake.with(|book| book.leases[&lease.id().get()]);
                    assert!(ends > Instant::now(), "{:?} has ended", lease.id());
                }
                sleep(Duration::from_millis(100)).await;
            }
            if faults == 0 {
                assert!(kept.len() == 3 && kept.iter().all(cairn_client::LeaseGuard::is_alive));
                assert_eq!(fake.with(|book| book.lease_streams), 1);
                assert_eq!(client.counters().lease_streams, 1);
            }
        });
    }
}

/// A server that reads the first call whole and is gone after that, for good.
fn gone_after_one_call(calls: Arc<AtomicUsize>) -> impl Fn(Endpoint) -> Connecting + Send + Sync {
    move |_| {
        let calls = Arc::clone(&calls);
        Box::pin(async move {
            if calls.load(Ordering::Relaxed) > 0 {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far) = tokio::io::duplex(16 << 10);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(far).await.unwrap();
                let Some(Ok((request, _respond))) = connection.accept().await else {
                    return;
                };
                calls.fetch_add(1, Ordering::Relaxed);
                let mut body = request.into_body();
                let sent = async { while body.data().await.is_some() {} };
                tokio::select! {
                    () = sent => {}
                    _ = connection.accept() => {}
                }
            });
            let near: Box<dyn Socket> = Box::new(near);
            Ok(near)
        })
    }
}

async fn error_of<R: Rpc>(request: R) -> Error {
    let calls = Arc::default();
    let options = ConnectOptions::new(["http://a:1"]).unwrap();
    let options = options.connector(gone_after_one_call(Arc::clone(&calls)));
    let error = options.connect_lazy().call(request).await.err();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    error.unwrap()
}

#[test]
fn a_change_that_one_server_may_have_made_before_all_were_gone_is_ambiguous() {
    run(async {
        let unlock = v3lockpb::UnlockRequest::default();
        assert!(error_of(unlock).await.is_ambiguous());
        let resign = v3electionpb::ResignRequest::default();
        assert!(error_of(resign).await.is_ambiguous());
        let grant = etcdserverpb::LeaseGrantRequest::default();
        assert!(error_of(grant).await.is_ambiguous());
        let get = etcdserverpb::AlarmRequest::default();
        assert!(!error_of(get).await.is_ambiguous());
        let range = etcdserverpb::RangeRequest::default();
        assert!(!error_of(range).await.is_ambiguous());
    });
}
