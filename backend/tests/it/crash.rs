//! A process that is killed while it writes, commits and defragments.
//!
//! The test starts its own binary again as the victim, which appends to a log file what it knows
//! to be durable; after the kill, all of that must be there, and nothing half.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use cairn_backend::{LmdbEngine, LmdbOptions, Table};

use crate::engines::{Disk, LmdbDisk, entries, revision_key};

const DIRECTORY: &str = "CAIRN_CRASH_TEST_DIRECTORY";

/// Batches that a victim writes before it ends by itself.
const BATCHES_MAX: u64 = 200_000;
const OPS: u64 = 20;

#[test]
fn a_killed_process_leaves_every_committed_batch_and_no_half_of_one() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return victim(directory.as_ref());
    }
    let disk = LmdbDisk::new();
    for round in 0..6_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "crash::a_killed_process_leaves_every_committed_batch_and_no_half_of_one",
            ])
            .env(DIRECTORY, disk.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait(Duration::from_millis(60 + 37 * round));
        child.kill().unwrap();
        child.wait().unwrap();

        let log = std::fs::read(disk.path().join("durable")).unwrap_or_default();
        let durable = log
            .chunks_exact(8)
            .last()
            .map_or(0, |last| u64::from_be_bytes(last.try_into().unwrap()));
        let backend = disk.open();
        let found = entries(&backend.read().unwrap(), Table::Key).len() as u64;
        assert!(
            found >= durable * OPS,
            "{found} entries, {durable} durable batches"
        );
        assert_eq!(found % OPS, 0, "half a batch");
    }
}

fn victim(directory: &std::path::Path) {
    let engine = LmdbEngine::open(directory, LmdbOptions::default()).unwrap();
    let backend = cairn_backend::Backend::open(engine, Default::default()).unwrap();
    let mut log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(directory.join("durable"))
        .unwrap();
    let first = entries(&backend.read().unwrap(), Table::Key).len() as u64 / OPS;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                backend.defragment().unwrap();
            }
        });
        for number in first..first + BATCHES_MAX {
            let mut batch = backend.write();
            for op in 0..OPS {
                batch.put(
                    Table::Key,
                    &revision_key(number * OPS + op),
                    Bytes::from(vec![7; 100]),
                );
            }
            batch.end().unwrap();
            if number % 7 == 0 {
                backend.commit().unwrap();
                log.write_all(&(number + 1).to_be_bytes()).unwrap();
            }
        }
        std::process::exit(0);
    });
}

#[expect(
    clippy::disallowed_methods,
    reason = "the moment of the kill is the point of the test"
)]
fn wait(time: Duration) {
    std::thread::sleep(time);
}
