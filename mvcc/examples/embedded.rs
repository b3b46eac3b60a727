//! A revisioned store inside a program, without a server or a log:
//! `cargo run -p cairn-mvcc --example embedded`.
//!
//! The store stands on the in-memory engine. On disk it would be `LmdbEngine::open`, and a
//! `Committer` that writes batches out (`Backend::spawn_committer`).
#![expect(clippy::print_stdout, reason = "what is read is shown")]

use bytes::Bytes;
use cairn_backend::{Backend, BackendOptions, MemoryEngine};
use cairn_mvcc::{KeyRange, RangeQuery, ReadAt, Revision, Store};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let disk = MemoryEngine::new();
    let backend = Backend::open(disk.clone(), BackendOptions::default())?;
    let store = Store::restore(backend)?;

    // A batch is what readers get to see at once; each transaction in it is one revision.
    let mut batch = store.write();
    let mut txn = batch.txn();
    txn.put(b"fruit/apple", b"green", None);
    txn.put(b"fruit/pear", b"yellow", None);
    let planted = txn.end().revision;
    let mut txn = batch.txn();
    txn.put(b"fruit/apple", b"red", None);
    let ripe = txn.end().revision;
    batch.end()?;

    show(&store, planted)?;
    show(&store, ripe)?;

    // What was committed is there when the store is opened again; the rest a log would replay.
    store.backend().commit()?;
    drop(store);
    let store = Store::restore(Backend::open(disk, BackendOptions::default())?)?;
    assert_eq!(store.current(), ripe, "nothing that was committed is lost");
    Ok(())
}

/// Prints all fruit as they were at a revision.
fn show(store: &Store, at: Revision) -> Result<(), Box<dyn std::error::Error>> {
    let fruit = KeyRange::prefix(Bytes::from_static(b"fruit/"));
    let query = RangeQuery {
        at: ReadAt::Revision(at),
        ..RangeQuery::new(fruit)
    };
    let mut values = Vec::new();
    let summary = store.range(&query, &mut |kv| {
        values.push(kv.fields().map(|fields| fields.value.to_vec()));
    })?;
    println!("revision {}: {} keys", at.to_wire(), summary.count);
    for value in values {
        println!("  {}", value?.escape_ascii());
    }
    Ok(())
}
