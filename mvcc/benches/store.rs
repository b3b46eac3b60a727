//! What the store costs over LMDB, by operation: 256-byte values under 32-byte keys.
//!
//! `cargo bench -p cairn-mvcc --bench store [-- <part of a name>]`
//!
//! Times are CPU time of the whole process, the committer and both threads of a restore included:
//! what a server pays, and steady on a machine that is shared.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark fails where it cannot go on"
)]

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::time::Duration;

use cairn_backend::{Backend, BackendOptions, Committer, LmdbEngine, LmdbOptions};
use cairn_mvcc::{KeyRange, Progress, RangeQuery, ReadAt, ScanProgress, Store, StoredKv};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BatchSize, BenchmarkId, Throughput, criterion_group, criterion_main};
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

type Criterion = criterion::Criterion<CpuTime>;

/// The CPU time of this process.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap()
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

const VALUE: [u8; 256] = [7; 256];
const KEYS: u64 = 1_000_000;

/// A store on disk, committed as the server commits.
struct Disk {
    store: Store,
    _committer: Committer,
    directory: TempDir,
}

impl Disk {
    fn new(keys: u64) -> Self {
        Self::with_keys(keys, key)
    }

    /// A store of the keys that `key` makes of `0..keys`, written in that order.
    fn with_keys(keys: u64, key: fn(u64) -> Vec<u8>) -> Self {
        Self::of(keys, key, &VALUE, LmdbOptions::default())
    }

    fn of(keys: u64, key: fn(u64) -> Vec<u8>, value: &[u8], options: LmdbOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engine = LmdbEngine::open(directory.path(), options).unwrap();
        let backend = Backend::open(engine, BackendOptions::default()).unwrap();
        let committer = backend.spawn_committer(Duration::from_millis(100)).unwrap();
        let store = Store::restore(backend).unwrap();
        for first in (0..keys).step_by(1000) {
            let mut batch = store.write();
            for number in first..(first + 1000).min(keys) {
                batch.txn().put(&key(number), value, None);
            }
            batch.end().unwrap();
        }
        store.backend().force_commit().unwrap();
        Self {
            store,
            _committer: committer,
            directory,
        }
    }
}

/// Keys in the order of their numbers are scattered over the key space, as those of users are.
fn key(number: u64) -> Vec<u8> {
    let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("/registry/pods/{scattered:016x}").into_bytes()
}

fn put(c: &mut Criterion) {
    let disk = Disk::new(100_000);
    let mut number = 0;
    let mut group = c.benchmark_group("put");
    for (name, of) in [("update_100k", 100_000), ("insert", u64::MAX)] {
        group.bench_function(name, |b| {
            b.iter(|| {
                number += 7919;
                let mut batch = disk.store.write();
                let mut txn = batch.txn();
                txn.put(&key(number % of), &VALUE, None);
                let committed = txn.end();
                batch.end().unwrap();
                committed
            });
        });
    }
    group.throughput(Throughput::Elements(64));
    group.bench_function("update_100k_by_64_txns", |b| {
        b.iter(|| {
            let mut batch = disk.store.write();
            for _ in 0..64 {
                number += 7919;
                let mut txn = batch.txn();
                txn.put(&key(number % 100_000), &VALUE, None);
                black_box(txn.end());
            }
            batch.end().unwrap();
        });
    });
    group.finish();
}

fn read(c: &mut Criterion) {
    let disk = Disk::new(KEYS);
    let store = &disk.store;
    let mut number = 0;
    c.bench_function("get", |b| {
        b.iter(|| {
            number += 7919;
            let query = RangeQuery::new(KeyRange::One(key(number % KEYS).into()));
            let summary = store.range(&query, &mut |kv| {
                black_box(kv.encoded);
            });
            assert_eq!(summary.unwrap().count, 1);
        });
    });
    let mut group = c.benchmark_group("range");
    for limit in [16, 100, 1000, 100_000] {
        let mut query = RangeQuery::new(KeyRange::From("/registry/pods/8".into()));
        query.limit = NonZeroUsize::new(limit);
        group.throughput(Throughput::Elements(limit as u64));
        let mut buffer = Vec::new();
        group.bench_function(BenchmarkId::new("splice_and_count_1M", limit), |b| {
            b.iter(|| {
                buffer.clear();
                store
                    .range(&query, &mut |kv| buffer.extend_from_slice(kv.encoded))
                    .unwrap()
            });
        });
    }
    group.throughput(Throughput::Elements(KEYS));
    let mut count = RangeQuery::new(KeyRange::All);
    count.count_only = true;
    group.bench_function("count_1M", |b| {
        b.iter(|| store.range(&count, &mut |_| {}).unwrap());
    });
    group.finish();
    let mut group = c.benchmark_group("scan");
    group.sample_size(10);
    group.throughput(Throughput::Elements(100_000));
    let mut query = RangeQuery::new(KeyRange::From("/registry/pods/8".into()));
    query.limit = NonZeroUsize::new(100_000);
    group.bench_function("100k_by_1000", |b| {
        b.iter(|| {
            let mut scan = store.scan(&query).unwrap();
            let mut bytes = 0;
            while scan
                .next_chunk(NonZeroUsize::new(1000).unwrap(), &mut |kv| {
                    bytes += kv.encoded.len();
                    ControlFlow::Continue(())
                })
                .unwrap()
                == ScanProgress::More
            {}
            bytes
        });
    });
    group.finish();
    hash_and_restore(c, &disk);
}

/// Reads all of a store at once, by how its keys were written.
fn range_all(c: &mut Criterion) {
    let mut group = c.benchmark_group("range_all_100k");
    group.throughput(Throughput::Elements(100_000));
    let sequential = |number| format!("/registry/pods/{number:016x}").into_bytes();
    let stores = [
        ("written_in_order", Disk::with_keys(100_000, sequential)),
        ("written_at_random", Disk::new(100_000)),
    ];
    for (name, disk) in &stores {
        let query = RangeQuery::new(KeyRange::All);
        let mut buffer = Vec::new();
        group.bench_function(*name, |b| {
            b.iter(|| {
                buffer.clear();
                let sink = &mut |kv: StoredKv<'_>| buffer.extend_from_slice(kv.encoded);
                disk.store.range(&query, sink).unwrap()
            });
        });
    }
    group.finish();
}

/// What the checksums of rows cost: the same reads of files with and without, by turns.
fn row_checksums(c: &mut Criterion) {
    const KEYS: u64 = 200_000;
    for value_bytes in [100, 256, 1024] {
        let value = vec![7; value_bytes];
        let stores = [("with", true), ("without", false)].map(|(name, row_checksums)| {
            let options = LmdbOptions {
                row_checksums,
                ..LmdbOptions::default()
            };
            (name, Disk::of(KEYS, key, &value, options))
        });
        let mut group = c.benchmark_group(format!("row_checksums/{value_bytes}"));
        for limit in [1, 1000, 100_000] {
            let mut buffer = Vec::new();
            for (name, disk) in &stores {
                let mut number = 0;
                group.bench_function(BenchmarkId::new(*name, limit), |b| {
                    b.iter(|| {
                        buffer.clear();
                        number += 7919;
                        let mut query = RangeQuery::new(KeyRange::From(key(number % KEYS).into()));
                        if limit == 1 {
                            query.range = KeyRange::One(key(number % KEYS).into());
                        }
                        if limit == 100_000 {
                            query.range = KeyRange::All;
                        }
                        query.limit = NonZeroUsize::new(limit);
                        let sink = &mut |kv: StoredKv<'_>| buffer.extend_from_slice(kv.encoded);
                        disk.store.range(&query, sink).unwrap()
                    });
                });
            }
        }
        group.finish();
    }
}

fn hash_and_restore(c: &mut Criterion, disk: &Disk) {
    let mut group = c.benchmark_group("whole_store");
    group.sample_size(10);
    group.throughput(Throughput::Elements(KEYS));
    group.bench_function("hash_kv_1M", |b| {
        b.iter(|| disk.store.hash_kv(ReadAt::Latest).unwrap());
    });
    let backend = disk.store.backend();
    group.bench_function("restore_1M", |b| {
        b.iter_with_large_drop(|| Store::restore(backend.clone()).unwrap());
    });
    group.finish();
    assert!(disk.directory.path().exists());
}

fn compact(c: &mut Criterion) {
    let mut group = c.benchmark_group("compact");
    group.sample_size(10);
    group.throughput(Throughput::Elements(100_000));
    group.bench_function("100k_of_200k_changes", |b| {
        let setup = || {
            let disk = Disk::new(100_000);
            let mut batch = disk.store.write();
            for number in 0..100_000 {
                batch.txn().put(&key(number), &VALUE, None);
            }
            let current = batch.current();
            batch.schedule_compaction(current).unwrap();
            batch.end().unwrap();
            disk.store.backend().force_commit().unwrap();
            disk
        };
        let run = |disk: Disk| {
            while disk.store.compaction_step(1000).unwrap() != Progress::Idle {}
            disk.store.backend().force_commit().unwrap();
            disk
        };
        b.iter_batched(setup, run, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = criterion::Criterion::default().with_measurement(CpuTime);
    targets = put, read, range_all, row_checksums, compact
}
criterion_main!(benches);
