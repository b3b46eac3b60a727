//! What it takes to bring a member that has missed a million revisions to where the leader is, without
//! a network between them: `cargo run --release -p cairn-mvcc --example catch_up [DIRECTORY]`.
//!
//! The leader's database goes to the follower as rows (decision 10). Files are made under DIRECTORY, or
//! where the system has temporary ones.
#![expect(clippy::print_stdout, reason = "what was measured is shown")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cairn_backend::{Applied, Backend, BackendOptions, LmdbEngine, LmdbOptions};
use cairn_mvcc::{ReadAt, Restored, Store};

const REVISIONS: u64 = 1_000_000;
const KEYS: [u64; 2] = [1_000_000, 100_000];
const VALUE: [u8; 256] = [7; 256];

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let parent = std::env::args().nth(1);
    let parent = parent.map_or_else(std::env::temp_dir, PathBuf::from);
    for keys in KEYS {
        let directory = parent.join(format!("cairn-catch-up-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let done = measure(&directory, keys);
        std::fs::remove_dir_all(&directory)?;
        done?;
    }
    Ok(())
}

fn measure(directory: &Path, keys: u64) -> Result<(), Error> {
    println!("{REVISIONS} revisions of {keys} keys, 32 and 256 bytes each");
    let leader = open(&directory.join("leader"))?;
    fill(&leader, keys)?;
    let megabytes = leader.backend().size() / 1_000_000;
    println!("  the leader's database: {megabytes} MB");

    let mut sender = leader.backend().send()?;
    let mut bytes = 0;
    let sent = timed(|| {
        while let Some(chunk) = sender.next_chunk()? {
            bytes += chunk.len();
        }
        Ok(())
    })?;
    drop(sender);
    println!(
        "  rows, read:            {sent:?} ({} MB)",
        bytes / 1_000_000
    );

    let follower = open(&directory.join("follower"))?;
    let mut prepared = None;
    let receiving = timed(|| {
        let mut sender = leader.backend().send()?;
        let announced = sender.applied();
        let mut receiving = follower.receive()?;
        while let Some(chunk) = sender.next_chunk()? {
            receiving.write(&chunk)?;
        }
        prepared = Some(receiving.finish(announced)?);
        Ok(())
    })?;
    println!("  received and indexed:  {receiving:?}");
    let installing = timed(|| {
        follower.install(prepared.take().ok_or("nothing was prepared")?)?;
        Ok(())
    })?;
    println!("  installed:             {installing:?}");
    println!("  = in all:              {:?}", receiving + installing);
    let megabytes = follower.backend().size() / 1_000_000;
    println!("  the follower's database: {megabytes} MB");
    assert_eq!(
        leader.hash_kv(ReadAt::Latest)?.hash,
        follower.hash_kv(ReadAt::Latest)?.hash
    );
    Ok(())
}

fn open(directory: &Path) -> Result<Store, Error> {
    std::fs::create_dir_all(directory)?;
    let engine = LmdbEngine::open(directory, LmdbOptions::default())?;
    let backend = Backend::open(engine, BackendOptions::default())?;
    Ok(Restored::read(backend)?.store)
}

/// Writes all revisions, in the order that a hash gives the keys.
fn fill(store: &Store, keys: u64) -> Result<(), Error> {
    for batch_number in 0..REVISIONS / 1000 {
        let mut batch = store.write();
        for number in 0..1000 {
            let number: u64 = batch_number * 1000 + number;
            let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys;
            batch
                .txn()
                .put(format!("{key:032}").as_bytes(), &VALUE, None);
        }
        let applied = Applied {
            index: batch_number + 1,
            term: 1,
        };
        applied.write(batch.backend());
        batch.end()?;
    }
    store.backend().commit()?;
    Ok(())
}

fn timed(work: impl FnOnce() -> Result<(), Error>) -> Result<Duration, Error> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}
