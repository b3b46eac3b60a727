//! What the backend's operations cost over LMDB, with 300-byte values under revision keys.
//!
//! `put/N` is the cost of one put where N puts share a batch, with a commit every 10,000 puts on
//! the same thread; the rest is per call.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

use std::hint::black_box;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use cairn_backend::{Backend, BackendOptions, LmdbEngine, LmdbOptions, Table};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;

const COMMIT_OPS: u64 = 10_000;
const STORED: u64 = 200_000;

fn open() -> (TempDir, Backend) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let engine = LmdbEngine::open(directory.path(), LmdbOptions::default()).unwrap();
    let options = BackendOptions {
        batch_ops_max: 1_000_000,
        ..BackendOptions::default()
    };
    (directory, Backend::open(engine, options).unwrap())
}

fn key(main: u64) -> [u8; 17] {
    let mut key = [b'_'; 17];
    key[..8].copy_from_slice(&main.to_be_bytes());
    key[9..].fill(0);
    key
}

fn fill(backend: &Backend, revisions: std::ops::Range<u64>) {
    let value = Bytes::from(vec![7; 300]);
    for chunk in revisions.collect::<Vec<_>>().chunks(10_000) {
        let mut batch = backend.write();
        for main in chunk {
            batch.put(Table::Key, &key(*main), value.clone());
        }
        batch.end().unwrap();
        backend.commit().unwrap();
    }
}

fn puts(c: &mut Criterion) {
    let mut group = c.benchmark_group("put");
    group
        .throughput(Throughput::Elements(COMMIT_OPS))
        .sample_size(20);
    let value = Bytes::from(vec![7; 300]);
    for batch_ops in [1, 10, 100] {
        let (_directory, backend) = open();
        let mut next = 0;
        group.bench_function(format!("{batch_ops}"), |b| {
            b.iter(|| {
                for _ in 0..COMMIT_OPS / batch_ops {
                    let mut batch = backend.write();
                    for _ in 0..batch_ops {
                        next += 1;
                        batch.put(Table::Key, &key(next), value.clone());
                    }
                    batch.put(Table::Meta, b"consistent_index", value.slice(..8));
                    batch.end().unwrap();
                }
                backend.commit().unwrap();
            });
        });
        let (_directory, backend) = open();
        group.bench_function(format!("{batch_ops}, no commit"), |b| {
            b.iter_batched(
                || backend.commit().unwrap(),
                |()| {
                    for _ in 0..COMMIT_OPS / batch_ops {
                        let mut batch = backend.write();
                        for _ in 0..batch_ops {
                            next += 1;
                            batch.put(Table::Key, &key(next), value.clone());
                        }
                        batch.put(Table::Meta, b"consistent_index", value.slice(..8));
                        batch.end().unwrap();
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
}

fn reads(c: &mut Criterion) {
    let (_directory, backend) = open();
    fill(&backend, 0..STORED);
    let mut batch = backend.write();
    for main in STORED..STORED + COMMIT_OPS {
        batch.put(Table::Key, &key(main), Bytes::from(vec![7; 300]));
    }
    batch.end().unwrap();

    c.bench_function("read/open", |b| b.iter(|| backend.read().unwrap()));
    let view = backend.read().unwrap();
    let mut at = 0_u64;
    let mut any = |within: std::ops::Range<u64>| {
        at = at
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        within.start + (at >> 33) % (within.end - within.start)
    };
    c.bench_function("get/buffered", |b| {
        b.iter(|| {
            view.get_with(
                Table::Key,
                &key(any(STORED..STORED + COMMIT_OPS)),
                <[u8]>::len,
            )
        });
    });
    c.bench_function("get/committed", |b| {
        b.iter(|| view.get_with(Table::Key, &key(any(0..STORED)), <[u8]>::len));
    });
    c.bench_function("get/committed, own view", |b| {
        b.iter(|| {
            let view = backend.read().unwrap();
            view.get_with(Table::Key, &key(any(0..STORED)), <[u8]>::len)
        });
    });
    let mut group = c.benchmark_group("scan 1000");
    group.throughput(Throughput::Elements(1000));
    for (name, first) in [
        ("committed", 5000),
        ("both", STORED - 500),
        ("buffered", STORED + 500),
    ] {
        group.bench_function(name, |b| {
            let (low, high) = (key(first), key(first + 1000));
            let bounds = (Bound::Included(&low[..]), Bound::Excluded(&high[..]));
            b.iter(|| {
                let mut bytes = 0;
                view.scan(Table::Key, bounds, &mut |key, value| {
                    bytes += key.len() + value.len();
                    ControlFlow::Continue(())
                })
                .unwrap();
                black_box(bytes)
            });
        });
    }
}

fn maintenance(c: &mut Criterion) {
    let (_directory, backend) = open();
    fill(&backend, 0..STORED);
    let mut group = c.benchmark_group("maintenance");
    group
        .throughput(Throughput::Elements(STORED))
        .sample_size(10);
    group.bench_function("hash", |b| b.iter(|| backend.hash().unwrap()));
    group.bench_function("defragment", |b| {
        b.iter(|| backend.defragment().unwrap());
    });
}

criterion_group!(benches, puts, reads, maintenance);
criterion_main!(benches);
