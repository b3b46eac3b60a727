//! What an index of many keys costs in memory, and what processor time it takes:
//! `cargo run --release -p cairn-index --example footprint -- 1000000`.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use bytes::Bytes;
use cairn_index::{FullRevision, KeyRange, KeyVersion, Restore, Revision, TreeIndex};

/// A bijection on `0..2^32` that scatters neighbours.
fn scatter(number: u64) -> u64 {
    (number.wrapping_mul(0x9E37_79B1) & 0xFFFF_FFFF) ^ 0x5bd1_e995
}

fn short_key(number: u64) -> String {
    format!("/bench/keys/{:028x}", scatter(number))
}

fn pod_key(number: u64) -> String {
    let (namespace, pod) = (scatter(number % 500), scatter(number));
    format!(
        "/registry/pods/namespace-{namespace:08x}/deployment-{:010x}-{:020}",
        pod % 5000,
        pod
    )
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or_default() * 4096
}

/// The processor time of this thread, which other programs disturb less than the clock.
fn cpu_nanos() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    schedstat
        .split(' ')
        .next()
        .and_then(|nanos| nanos.parse().ok())
        .unwrap_or_default()
}

fn revision(number: u64) -> Revision {
    Revision::new(number).unwrap_or(Revision::FIRST)
}

fn report(what: &str, keys: u64, started: u64, resident_before: usize) {
    let nanos = (cpu_nanos() - started) / keys;
    let bytes = resident_bytes().saturating_sub(resident_before) as u64 / keys;
    println!("{what:<44} {nanos:>7} ns/key {bytes:>6} B/key");
}

fn measure(name: &str, count: u64, key: fn(u64) -> String) {
    let before = resident_bytes();
    let started = cpu_nanos();
    let mut restore = Restore::new();
    for number in 0..count {
        let at = FullRevision::first_of(revision(number + 2));
        restore.put(key(number).as_bytes(), KeyVersion::created_by(at));
    }
    report(
        &format!("{name}: records collected"),
        count,
        started,
        before,
    );
    let mut index = restore.finish();
    report(&format!("{name}: restored"), count, started, before);
    let started = cpu_nanos();
    let all = index.count(&KeyRange::All, revision(u64::from(u32::MAX)));
    report(&format!("{name}: counted {all}"), count, started, before);
    let started = cpu_nanos();
    for number in 0..count {
        let at = revision(u64::from(u32::MAX));
        assert!(
            index
                .get(key(scatter(number) % count).as_bytes(), at)
                .is_some(),
            "key {number}"
        );
    }
    report(&format!("{name}: got, at random"), count, started, before);
    let started = cpu_nanos();
    let pages = KeyRange::From(Bytes::from(key(count / 2)));
    let page = index.range(&pages, revision(u64::from(u32::MAX))).count();
    report(
        &format!("{name}: scanned {page}"),
        page.max(1) as u64,
        started,
        before,
    );
    let started = cpu_nanos();
    for number in 0..count {
        let at = FullRevision::first_of(revision(count + number + 2));
        index.put(key(number).as_bytes(), at);
    }
    report(
        &format!("{name}: every key put again"),
        count,
        started,
        before,
    );
    let started = cpu_nanos();
    let at = revision(2 * count + 2);
    let plan = index.plan_compaction(at, None, usize::MAX);
    report(
        &format!("{name}: compaction planned"),
        count,
        started,
        before,
    );
    for touched in &plan.keys {
        index.compact_key(touched, at);
    }
    report(
        &format!("{name}: compacted {}", plan.keys.len()),
        count,
        started,
        before,
    );
    drop(plan);
    let started = cpu_nanos();
    let mut snapshot = index.clone();
    for number in 0..count {
        let at = FullRevision::first_of(revision(2 * count + number + 2));
        index.put(key(scatter(number) % count).as_bytes(), at);
        snapshot = index.clone();
    }
    report(
        &format!("{name}: put, a snapshot after each"),
        count,
        started,
        before,
    );
    drop(snapshot);
    drop(index);
    let before = resident_bytes();
    let started = cpu_nanos();
    let mut index = TreeIndex::new();
    for number in 0..count {
        index.put(
            key(number).as_bytes(),
            FullRevision::first_of(revision(number + 2)),
        );
    }
    report(
        &format!("{name}: put, random order (memory reused)"),
        count,
        started,
        before,
    );
}

fn main() {
    let count = std::env::args()
        .nth(1)
        .and_then(|count| count.parse().ok())
        .unwrap_or(100_000);
    match std::env::args().nth(2).as_deref() {
        Some("pods") => measure("pods, 69 B", count, pod_key),
        _ => measure("short, 40 B", count, short_key),
    }
}
