//! A process that is killed while it writes, commits, defragments and installs.
//!
//! The test starts its own binary again as the victim, which appends to a log file what it knows
//! to be durable; after the kill, all of that must be there, and nothing half.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use cairn_backend::{Applied, Backend, LmdbEngine, LmdbOptions, MemoryEngine, ReadTx, Table};

use crate::engines::{Disk, LmdbDisk, entries, revision_key};
use crate::transfer::{applied, chunks, receive};

const DIRECTORY: &str = "CAIRN_CRASH_TEST_DIRECTORY";

/// Batches that a victim writes before it ends by itself.
const BATCHES_MAX: u64 = 200_000;
const OPS: u64 = 20;

/// P1 (etcd issues 13766, 14685): what was applied, and how far, are in one commit, also when the
/// process is killed while it defragments.
#[test]
fn p1_a_killed_process_leaves_every_committed_batch_and_no_half_of_one() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return write_until_killed(directory.as_ref());
    }
    let name = "crash::p1_a_killed_process_leaves_every_committed_batch_and_no_half_of_one";
    let disk = LmdbDisk::new();
    for round in 0..6_u64 {
        let durable = kill_a_victim(name, &disk, Duration::from_millis(60 + 37 * round));
        check(&disk.open().read().unwrap(), durable);
    }
}

/// P1, P4, P11 (etcd issue 18055): the old database or the new one, each whole; and a received one that
/// waits is whole too, and can be installed at the start.
#[test]
fn p1_p4_a_process_killed_while_it_installs_leaves_the_old_database_or_the_new_one() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return install_until_killed(directory.as_ref());
    }
    let name =
        "crash::p1_p4_a_process_killed_while_it_installs_leaves_the_old_database_or_the_new_one";
    let disk = LmdbDisk::new();
    let mut durable = 0;
    for round in 0..12_u64 {
        durable = kill_a_victim(name, &disk, Duration::from_millis(60 + 23 * round));
        let backend = disk.open();
        let ours = check(&backend.read().unwrap(), durable);
        for received in backend.received() {
            assert!(received.index > ours);
            let view = backend.read_received(received).unwrap().unwrap();
            assert_eq!(check(&view, 0), received.index);
        }
        if round % 2 == 0
            && let Some(received) = backend.received().last()
        {
            backend.begin_install(*received).unwrap().end();
            assert_eq!(check(&backend.read().unwrap(), durable), received.index);
            let names = std::fs::read_dir(disk.path()).unwrap();
            let names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
            let mut databases: Vec<_> = names.filter(|name| name.starts_with("db")).collect();
            databases.sort();
            assert_eq!(databases, ["db"]);
        }
    }
    assert!(durable > 0, "nothing was ever installed");
}

/// Starts a victim, kills it after a while, and tells the last index that it knew to be durable.
fn kill_a_victim(name: &str, disk: &LmdbDisk, after: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(DIRECTORY, disk.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait(after);
    child.kill().unwrap();
    child.wait().unwrap();
    let log = std::fs::read(disk.path().join("durable")).unwrap_or_default();
    let whole = log.chunks_exact(8).last();
    whole.map_or(0, |last| u64::from_be_bytes(last.try_into().unwrap()))
}

/// Checks that a view is the state after a batch, at least `durable`, and tells after which.
fn check(view: &ReadTx, durable: u64) -> u64 {
    let Applied { index, .. } = Applied::read(view).unwrap();
    assert!(index >= durable, "{index} applied, {durable} durable");
    let found = entries(view, Table::Key);
    assert_eq!(found.len() as u64, index * OPS, "half a batch");
    for (number, (key, value)) in (0..).zip(found) {
        assert_eq!(key, revision_key(number));
        assert_eq!(value, value_of(number));
    }
    index
}

fn value_of(number: u64) -> Vec<u8> {
    number.to_be_bytes().repeat(12)
}

/// Applies entry `index`.
fn apply(backend: &Backend, index: u64) {
    let mut batch = backend.write();
    for number in (index - 1) * OPS..index * OPS {
        let value = Bytes::from(value_of(number));
        batch.put(Table::Key, &revision_key(number), value);
    }
    applied(index).write(&mut batch);
    batch.end().unwrap();
}

/// A victim's backend and its log.
fn open(directory: &Path) -> (Backend, std::fs::File) {
    let engine = LmdbEngine::open(directory, LmdbOptions::default()).unwrap();
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(directory.join("durable"))
        .unwrap();
    (Backend::open(engine, Default::default()).unwrap(), log)
}

fn write_until_killed(directory: &Path) {
    let (backend, mut log) = open(directory);
    let Applied { index: before, .. } = Applied::read(&backend.read().unwrap()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                backend.defragment().unwrap();
            }
        });
        for index in before + 1..before + BATCHES_MAX {
            apply(&backend, index);
            if index % 7 == 0 {
                backend.commit().unwrap();
                log.write_all(&index.to_be_bytes()).unwrap();
            }
        }
        std::process::exit(0);
    });
}

fn install_until_killed(directory: &Path) {
    let (follower, mut log) = open(directory);
    let leader = MemoryEngine::new().open();
    let Applied { mut index, .. } = Applied::read(&follower.read().unwrap()).unwrap();
    (1..=index).for_each(|index| apply(&leader, index));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                follower.defragment().unwrap();
            }
        });
        for _ in 0..BATCHES_MAX {
            let (first, last) = (index + 1, index + 5);
            (first..=last).for_each(|index| apply(&leader, index));
            let sent = chunks(leader.send().unwrap());
            let received = receive(&follower, &sent).unwrap();
            // Some of it comes by the log as well.
            apply(&follower, first);
            if index % 2 == 0 {
                follower.commit().unwrap();
            }
            follower.begin_install(received).unwrap().end();
            log.write_all(&last.to_be_bytes()).unwrap();
            index = last;
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
