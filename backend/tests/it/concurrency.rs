//! One writer, readers, commits and defragmentations at once.
//!
//! Every batch is numbered and leaves the store in a state that is known from its number, so that
//! whoever reads, reads one such state or has found a fault.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cairn_backend::{Backend, BackendOptions, MemoryEngine, ReadError, Table, Visit};

use crate::engines::{ALL, Disk, LmdbDisk, revision_key};

/// How many revisions the writer keeps; it deletes older ones, each second one late.
const KEPT: u64 = 300;
const NUMBER: &[u8] = b"number";

fn value(number: u64) -> Bytes {
    Bytes::from(
        number
            .to_be_bytes()
            .repeat(1 + usize::try_from(number % 60).unwrap()),
    )
}

fn write(backend: &Backend, number: u64) {
    let mut batch = backend.write();
    batch.put(
        Table::Meta,
        NUMBER,
        Bytes::copy_from_slice(&number.to_be_bytes()),
    );
    batch.put(Table::Key, &revision_key(number), value(number));
    batch.put(Table::Lease, &(number % 50).to_be_bytes(), value(number));
    if let Some(old) = number.checked_sub(KEPT) {
        batch.delete(Table::Key, &revision_key(old));
    }
    batch.end().unwrap();
}

/// Checks that what `scan` gives is the state after some batch, and tells which.
fn check(scan: impl Fn(Table, &mut Visit<'_>) -> Result<(), ReadError>) -> u64 {
    let mut number = 0;
    scan(Table::Meta, &mut |_, value| {
        number = u64::from_be_bytes(value.try_into().unwrap());
        ControlFlow::Continue(())
    })
    .unwrap();
    let mut next = (number + 1).saturating_sub(KEPT).max(1);
    scan(Table::Key, &mut |key, found| {
        assert_eq!(key, revision_key(next), "after batch {number}");
        assert_eq!(found, value(next));
        next += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(next, number + 1);
    let mut leases = 0;
    scan(Table::Lease, &mut |key, found| {
        let slot = u64::from_be_bytes(key.try_into().unwrap());
        let last = number - (number + 50 - slot) % 50;
        assert_eq!(found, value(last), "lease {slot} after batch {number}");
        leases += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(leases, number.min(50));
    number
}

fn hammer(disk: &dyn Disk, batches: u64) {
    let options = BackendOptions {
        batch_ops_max: 200,
        ..BackendOptions::default()
    };
    let backend = disk.open_with(options);
    let committer = backend.spawn_committer(Duration::from_millis(1)).unwrap();
    let (ended, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let running = || !stop.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while running() {
                    let before = ended.load(Ordering::SeqCst);
                    let view = backend.read().unwrap();
                    let number = check(|table, visit| view.scan(table, ALL, visit));
                    assert!(
                        number >= before,
                        "a view misses batch {before}, it has {number}"
                    );
                }
            });
        }
        scope.spawn(|| {
            while running() {
                backend.defragment().unwrap();
            }
        });
        for number in 1..=batches {
            write(&backend, number);
            ended.store(number, Ordering::SeqCst);
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(committer);
    drop(backend);
    let backend = disk.open();
    let view = backend.read().unwrap();
    assert_eq!(check(|table, visit| view.scan(table, ALL, visit)), batches);
}

#[test]
fn every_view_of_lmdb_is_the_state_after_some_batch() {
    hammer(&LmdbDisk::new(), 4000);
}

#[test]
fn every_view_of_a_small_map_that_grows_is_the_state_after_some_batch() {
    hammer(&LmdbDisk::small(), 1200);
}

#[test]
fn every_view_of_memory_is_the_state_after_some_batch() {
    hammer(&MemoryEngine::new(), 4000);
}
