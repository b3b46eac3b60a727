//! The index's operations on a million keys of 40 bytes:
//! `cargo bench -p cairn-index`; the example `footprint` measures memory.

use std::hint::black_box;

use bytes::Bytes;
use cairn_index::{FullRevision, KeyRange, KeyVersion, Restore, Revision, TreeIndex};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const KEYS: u64 = 1_000_000;

/// Scatters neighbouring numbers over the keys, each once.
fn scatter(number: u64) -> u64 {
    number.wrapping_mul(7_368_787) % KEYS
}

fn key(number: u64) -> Vec<u8> {
    format!("/bench/keys/{:028x}", scatter(number)).into_bytes()
}

fn revision(number: u64) -> Revision {
    Revision::new(number).unwrap_or(Revision::FIRST)
}

fn keys() -> Vec<Vec<u8>> {
    (0..KEYS).map(key).collect()
}

/// An index of all keys, each put once, in scattered order, from revision 2 on.
fn restored(keys: &[Vec<u8>]) -> TreeIndex {
    let mut restore = Restore::new();
    for (number, key) in (2..).zip(keys) {
        let at = FullRevision::first_of(revision(number));
        restore.put(key, KeyVersion::created_by(at));
    }
    restore.finish()
}

fn reads(criterion: &mut Criterion) {
    let keys = keys();
    let index = restored(&keys);
    let (first, half, last) = (revision(2), revision(KEYS / 2), revision(KEYS + 2));
    let mut some_keys = keys.iter().cycle().step_by(7919);
    criterion.bench_function("get", |bencher| {
        bencher.iter(|| some_keys.next().map(|key| index.get(key, last)));
    });
    criterion.bench_function("range of 1000", |bencher| {
        bencher.iter(|| {
            let from = some_keys
                .next()
                .map(|key| KeyRange::From(Bytes::copy_from_slice(key)));
            let page = index
                .range(from.as_ref().unwrap_or(&KeyRange::All), last)
                .take(1000);
            page.map(|(key, version)| key.len() as u64 + version.version.number())
                .sum::<u64>()
        });
    });
    for (what, at) in [
        ("latest", last),
        ("half of them old", half),
        ("none", first),
    ] {
        criterion.bench_function(&format!("count 1 M, {what}"), |bencher| {
            bencher.iter(|| index.count(black_box(&KeyRange::All), at));
        });
    }
}

fn writes(criterion: &mut Criterion) {
    let keys = keys();
    let mut some_keys = keys.iter().cycle().step_by(7919);
    let mut next = revision(KEYS + 2);
    let mut index = restored(&keys);
    criterion.bench_function("put", |bencher| {
        bencher.iter(|| {
            next = next.next();
            some_keys
                .next()
                .map(|key| index.put(key, FullRevision::first_of(next)))
        });
    });
    let mut snapshot = index.clone();
    criterion.bench_function("put, a snapshot after each", |bencher| {
        bencher.iter(|| {
            next = next.next();
            let place = some_keys
                .next()
                .map(|key| index.put(key, FullRevision::first_of(next)));
            snapshot = index.clone();
            place
        });
    });
    criterion.bench_function("put of one hot key, a snapshot after each", |bencher| {
        bencher.iter(|| {
            next = next.next();
            let place = index.put(b"/bench/hot", FullRevision::first_of(next));
            snapshot = index.clone();
            place
        });
    });
}

fn whole(criterion: &mut Criterion) {
    let keys = keys();
    let mut group = criterion.benchmark_group("1 M keys");
    group.throughput(Throughput::Elements(KEYS)).sample_size(10);
    group.bench_function("restore", |bencher| {
        bencher.iter_batched(|| (), |()| restored(&keys), BatchSize::PerIteration);
    });
    let mut index = restored(&keys);
    for (number, key) in (KEYS + 2..).zip(keys.iter().step_by(10)) {
        index.put(key, FullRevision::first_of(revision(number)));
    }
    let at = revision(2 * KEYS + 2);
    group.bench_function("plan a compaction that touches a tenth", |bencher| {
        bencher.iter(|| index.plan_compaction(at, None, usize::MAX).keys.len());
    });
    let plan = index.plan_compaction(at, None, usize::MAX);
    group.throughput(Throughput::Elements(plan.keys.len() as u64));
    group.bench_function("compact that tenth", |bencher| {
        bencher.iter_batched_ref(
            || index.clone(),
            |index| plan.keys.iter().for_each(|key| index.compact_key(key, at)),
            BatchSize::PerIteration,
        );
    });
    group.throughput(Throughput::Elements(KEYS));
    group.bench_function("keep-set", |bencher| bencher.iter(|| index.keep(at).len()));
    group.finish();
}

criterion_group!(benches, reads, writes, whole);
criterion_main!(benches);
