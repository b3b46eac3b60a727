//! Data directories that are not as a member left them: each start says what is wrong and what to do, ends
//! with 1, and changes nothing; or it has everything.
//!
//! The table is that of docs/OPERATING.md.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_consensus::disk::RealDisk;
use cairn_consensus::wal::WalOptions;
use cairn_consensus::{AdoptError, LogIndex, Term, fit_state};
use rustix::process::Signal;

use crate::cluster_harness::Cluster;
use crate::harness::{Place, Server};
use crate::requests::*;

/// The segment that the log of a young member has.
const SEGMENT: &str = "member/wal/0000000000000001.wal";
const DATABASE: &str = "member/snap/db";

/// A stopped server with ten keys, all of them in the database.
async fn stopped(flags: &[&str]) -> Place {
    let server = Server::start(flags);
    let clients = server.clients().await;
    let mut kv = clients.kv;
    for number in 0..10 {
        kv.put(put(&format!("k{number}"), "v")).await.unwrap();
    }
    server.stop()
}

/// A server's place whose log begins after the first entries, as that of every older member.
async fn killed_with_a_shortened_log() -> Place {
    let server = Server::start(&["--snapshot-count=5", "--snapshot-catchup-entries=1"]);
    let mut kv = server.clients().await.kv;
    crate::harness::until("the log is shortened", async || {
        for number in 0..10 {
            kv.put(put(&format!("k{number}"), "v")).await.unwrap();
        }
        let log = RealDisk::open(&server.data_dir().join("member/wal")).unwrap();
        let options = WalOptions::default();
        let of_the_start = (LogIndex::ZERO, Term::new(0));
        let fits = fit_state(Arc::new(log), options, of_the_start.0, of_the_start.1);
        matches!(fits, Err(AdoptError::TooOld { .. }))
    })
    .await;
    server.kill()
}

/// Every file, with what is in it.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    // Made at each start, and empty.
    found.retain(|path, _| !path.ends_with("member/lock"));
    found
}

/// The start ends with 1, says all of `parts` in its last line, and changes nothing.
fn assert_refused(what: &str, place: &Place, parts: &[&str]) {
    let before = contents(&place.data_dir());
    let refusal = place.refusal();
    assert_eq!(refusal.status.code(), Some(1), "{what}: {}", refusal.log);
    let line = refusal.log.lines().last().unwrap_or_default();
    for part in parts {
        assert!(line.contains(part), "{what}: {part}: {line}");
    }
    let after = contents(&place.data_dir());
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before), "{what}");
    for (path, bytes) in &before {
        assert!(
            after[path] == *bytes,
            "{what}: {} has changed",
            path.display()
        );
    }
}

/// Harms a file, and puts it back afterwards.
fn with_harmed(place: &Place, file: &str, harm: impl FnOnce(&Path), then: impl FnOnce()) {
    let path = place.data_dir().join(file);
    let good = fs::read(&path).unwrap();
    harm(&path);
    then();
    let _ = fs::remove_file(&path);
    fs::write(&path, good).unwrap();
}

fn cut(length: u64) -> impl FnOnce(&Path) {
    move |path| {
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(length).unwrap();
    }
}

fn scribble(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(&[0x5a; 8192], 0).unwrap();
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

async fn assert_all_is_there(place: Place) -> Place {
    let server = place.start();
    let mut kv = server.clients().await.kv;
    assert_eq!(kv.range(all()).await.unwrap().into_inner().count, 10);
    server.kill()
}

#[tokio::test]
async fn a_harmed_file_refuses_the_start_with_its_name() {
    let place = stopped(&[]).await;
    let database = place.data_dir().join(DATABASE);
    let database = database.to_str().unwrap();
    let refused = |what: &str, file: &str, harm: &dyn Fn(&Path), parts: &[&str]| {
        with_harmed(&place, file, harm, || assert_refused(what, &place, parts));
    };
    refused(
        "a short database",
        DATABASE,
        &|it| cut(12_288)(it),
        &[database, "bytes"],
    );
    refused("a scribbled database", DATABASE, &scribble, &[database]);
    refused(
        "a scribbled log",
        SEGMENT,
        &scribble,
        &[SEGMENT, "add it again"],
    );
    refused("an empty log", SEGMENT, &|it| cut(0)(it), &["wal"]);
    refused(
        "no log",
        SEGMENT,
        &remove,
        &["there is no log", "empty data directory"],
    );
    let place = assert_all_is_there(place).await;

    // All that the database had is in the log still.
    let database = place.data_dir().join(DATABASE);
    remove(&database);
    let place = assert_all_is_there(place).await;
    cut(0)(&database);
    assert_all_is_there(place).await;
}

#[tokio::test]
async fn a_lost_database_beside_a_log_that_has_not_all_of_it_is_refused() {
    let place = killed_with_a_shortened_log().await;
    let refused = |what: &str, harm: &dyn Fn(&Path)| {
        let advice = ["the log begins after", "cairn rebuild --data-dir"];
        with_harmed(&place, DATABASE, harm, || {
            let refusal = place.refusal();
            assert_eq!(refusal.status.code(), Some(1), "{what}: {}", refusal.log);
            let line = refusal.log.lines().last().unwrap_or_default();
            for part in advice {
                assert!(line.contains(part), "{what}: {part}: {line}");
            }
        });
    };
    refused("no database", &remove);
    refused("an empty database", &|it| cut(0)(it));
    assert_all_is_there(place).await;
}

#[tokio::test]
async fn a_database_or_a_log_of_another_cluster_is_refused() {
    let place = stopped(&[]).await;
    let other = stopped(&["--initial-cluster-token=another"]).await;
    for (what, file) in [("database", DATABASE), ("log", SEGMENT)] {
        let from = other.data_dir().join(file);
        let take = |path: &Path| {
            fs::copy(&from, path).unwrap();
        };
        with_harmed(&place, file, take, || {
            assert_refused(
                what,
                &place,
                &["of cluster", "put back the one that belongs to the other"],
            );
        });
    }
    assert_all_is_there(place).await;
}

#[tokio::test]
async fn a_directory_in_use_or_of_another_user_is_refused() {
    let server = Server::start(&[]);
    let data_dir = format!("--data-dir={}", server.data_dir().display());
    let second = Place::new(&[&data_dir]);
    let refusal = second.refusal();
    assert_eq!(refusal.status.code(), Some(1));
    assert!(
        refusal.log.contains("is in use by another server"),
        "{}",
        refusal.log
    );

    let place = server.kill();
    let output = as_nobody(&place.data_dir());
    let Some((status, log)) = output else { return };
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("Permission denied"), "{log}");
    assert!(log.contains(place.data_dir().to_str().unwrap()), "{log}");
}

/// What a server says that another user starts there; nothing if this user may not do that, or the other
/// cannot run the program.
fn as_nobody(data_dir: &Path) -> Option<(Option<i32>, String)> {
    use std::os::unix::process::CommandExt as _;

    const NOBODY: u32 = 65_534;
    let output = std::process::Command::new(crate::harness::binary())
        .arg("--data-dir")
        .arg(data_dir)
        .uid(NOBODY)
        .gid(NOBODY)
        .output();
    let Ok(output) = output else {
        use std::io::Write as _;
        let _ = writeln!(
            std::io::stderr(),
            "skipped: no server can be started as another user"
        );
        return None;
    };
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    Some((output.status.code(), log))
}

/// What members have applied is the same, so either database goes with either log: as far as the log goes.
#[tokio::test]
async fn databases_that_were_swapped_between_members_lose_nothing() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader(&[0, 1, 2]).await;
    let mut kv = cluster.clients(leader).await.kv;
    for number in 0..5 {
        kv.put(put(&format!("k{number}"), "v")).await.unwrap();
    }
    // One of them has not all of it.
    cluster.settle().await;
    cluster.kill((leader + 1) % 3);
    for number in 5..10 {
        kv.put(put(&format!("k{number}"), "v")).await.unwrap();
    }
    for number in cluster.running() {
        cluster.signal(number, Signal::TERM);
        cluster.ended(number);
    }
    let [behind, other] = [1, 2].map(|more| (leader + more) % 3);
    let [one, two] = [behind, other].map(|number| cluster.data_dir(number).join(DATABASE));
    let databases = [&one, &two].map(|path| fs::read(path).unwrap());
    fs::write(&one, &databases[1]).unwrap();
    fs::write(&two, &databases[0]).unwrap();
    // Its log has not what the database has applied.
    assert_refused(
        "a database beside a shorter log",
        cluster.place(behind),
        &["has been applied, but the log ends at", "put back the log"],
    );
    // The other's log has all that its database lacks.
    cluster.start_these(&[leader, other]);
    cluster.settle().await;
    let mut kv = cluster.clients(other).await.kv;
    assert_eq!(kv.range(all()).await.unwrap().into_inner().count, 10);
}
