//! What leases cost: time by operation, and bytes of memory per lease and attached key.
//!
//! `cargo bench -p cairn-lease [-- <part of a name>]`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark fails where it cannot go on, and says what it measured"
)]

use std::hint::black_box;
use std::time::Duration;

use cairn_backend::{Backend, BackendOptions, MemoryEngine};
use cairn_lease::{LeaseId, Leases, Moment, Renewal, Term, Ttl};
use cairn_mvcc::Store;
use criterion::{Criterion, criterion_group, criterion_main};

const LEASES: u64 = 100_000;

/// A bijection that scatters neighbours, as random ids would.
fn id(number: u64) -> LeaseId {
    let scattered = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 1;
    LeaseId::from_wire(i64::try_from(scattered | 1).unwrap()).unwrap()
}

fn at(millis: u64) -> Moment {
    Moment::after_start(Duration::from_millis(millis))
}

fn store() -> Store {
    let backend = Backend::open(MemoryEngine::new(), BackendOptions::default()).unwrap();
    Store::restore(backend).unwrap()
}

fn granted(store: &Store, with_key: bool) -> Leases {
    let mut leases = Leases::default();
    leases.promote(Term(1), at(0));
    let mut batch = store.write();
    for number in 0..LEASES {
        let ttl = Ttl::from_wire(60).unwrap();
        leases
            .grant(id(number), ttl, Renewal(number), batch.backend())
            .unwrap();
        if with_key {
            let mut txn = batch.txn();
            txn.put(
                format!("/bench/keys/{number:020}").as_bytes(),
                b"",
                Some(id(number)),
            );
            leases.follow(&txn.end().changes).unwrap();
        }
    }
    drop(batch);
    leases.tick(at(0));
    leases
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * 4096
}

/// The store holds the records, too: what a second table of the same leases takes is the table's.
fn footprint(_: &mut Criterion) {
    for (name, with_key) in [("a lease", false), ("a lease with a key of 32 bytes", true)] {
        let store = store();
        let first = granted(&store, with_key);
        let tx = store.backend().read().unwrap();
        let keys = || {
            let of = |id| {
                first
                    .keys(id)
                    .map(move |key| (id, bytes::Bytes::copy_from_slice(key)))
            };
            first.ids().flat_map(of)
        };
        let before = resident_bytes();
        let mut second = Leases::restore(&tx, keys()).unwrap();
        second.promote(Term(1), at(0));
        let taken = resident_bytes().saturating_sub(before);
        println!("{name}: {} bytes", taken / LEASES);
        black_box(&second);
    }
}

fn operations(criterion: &mut Criterion) {
    let store = store();
    let mut leases = granted(&store, false);
    let mut number = 0;
    criterion.bench_function("renew", |bencher| {
        bencher.iter(|| {
            number = (number + 7919) % LEASES;
            black_box(leases.renew(id(number), at(1)))
        });
    });
    criterion.bench_function("promote 100,000", |bencher| {
        bencher.iter(|| leases.promote(Term(2), at(5)));
    });
    criterion.bench_function("find 1,000 that expired", |bencher| {
        bencher.iter(|| {
            let expiry = leases.take_expired(at(100_000)).unwrap();
            leases.expiry_failed(&expiry, at(0));
        });
    });
}

criterion_group!(benches, footprint, operations);
criterion_main!(benches);
