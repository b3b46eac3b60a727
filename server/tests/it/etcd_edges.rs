//! What seldom happens to etcd's data on their way in and out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use cairn_proto::etcdserverpb::alarm_request::AlarmAction;
use cairn_proto::etcdserverpb::kv_client::KvClient;
use cairn_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use cairn_proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType};
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::etcd_data::{
    Etcd, LAST, assert_leased, cairn, fill, hashes, installed, save_snapshot, try_cairn,
};
use crate::harness::{Place, binary};
use crate::http_client;
use crate::requests::*;

/// All files under a directory, with what is in them; but for the link to its lock in memory that a
/// killed process may leave, which the next one replaces.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_symlink() {
                assert!(path.ends_with("db-lock"), "{}", path.display());
            } else if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().to_owned();
                all.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    all
}

/// Kills a migration after ever more time, until one comes to its end, and looks each time whether what was
/// there is whole: under its name, or under the one for what is kept.
fn migrate_though_killed(data_dir: &Path, to: &str, kept: &str) -> usize {
    let before = files(&data_dir.join("member"));
    let path = data_dir.to_str().unwrap();
    let mut killed = 0;
    for millis in std::iter::successors(Some(0_u64), |millis| Some(millis * 5 / 4 + 3)) {
        let mut process = Command::new(binary())
            .args(["migrate", "--data-dir", path, "--to", to])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        let _ = process.kill();
        let ended = process.wait().unwrap();
        let places = ["member", kept, "member.migrating"].map(|name| data_dir.join(name));
        let whole = |place: &PathBuf| place.exists() && files(place) == before;
        assert!(places.iter().any(whole), "killed after {millis} ms");
        // A killed command is run again, and does nothing where all is done.
        if ended.success() || !whole(&places[0]) {
            break;
        }
        killed += 1;
    }
    let _ = try_cairn(&["migrate", "--data-dir", path, "--to", to]);
    assert_eq!(files(&data_dir.join(kept)), before);
    assert!(cairn(&["check", "--data-dir", path]).contains("is whole"));
    std::fs::remove_dir_all(data_dir.join(kept)).unwrap();
    killed
}

#[tokio::test]
async fn a_migration_that_is_killed_at_any_moment_leaves_the_old_data_whole() {
    let place = Place::new(&[]);
    let data_dir = place.data_dir();
    let server = place.start();
    let channel = server.clients().await.channel;
    fill(&channel).await;
    let mut kv = KvClient::new(channel.clone());
    let value = "v".repeat(100 << 10);
    for number in 0..10 {
        kv.put(put(&format!("large{number}"), &value))
            .await
            .unwrap();
    }
    let hashes_before = hashes(&channel).await;
    let place = server.kill();
    let killed = migrate_though_killed(&data_dir, "etcd", "member.cairn");
    assert!(killed > 0, "{killed}");
    let killed = migrate_though_killed(&data_dir, "cairn", "member.etcd");
    assert!(killed > 0, "{killed}");
    let server = place.start();
    let channel = server.clients().await.channel;
    assert_eq!(hashes(&channel).await, hashes_before);
    assert_leased(&channel).await;
}

async fn alarm(channel: &Channel, action: AlarmAction, member_id: u64) -> Vec<AlarmMember> {
    let request = AlarmRequest {
        action: action.into(),
        member_id,
        alarm: AlarmType::Nospace.into(),
    };
    let answer = MaintenanceClient::new(channel.clone()).alarm(request).await;
    answer.unwrap().into_inner().alarms
}

#[tokio::test]
async fn alarms_move_in_and_go_back() {
    let Some(program) = installed("etcd") else {
        return;
    };
    let place = Place::new(&[]);
    let data_dir = place.data_dir();
    let path = data_dir.to_str().unwrap();
    let etcd = Etcd::start(&program, &data_dir).await;
    fill(&etcd.channel).await;
    // Anybody's number: who it is does not matter.
    let raised = alarm(&etcd.channel, AlarmAction::Activate, 77).await;
    assert_eq!(raised.len(), 1);
    etcd.stop();
    cairn(&["migrate", "--data-dir", path]);
    let server = place.start();
    let channel = server.clients().await.channel;
    assert_eq!(alarm(&channel, AlarmAction::Get, 0).await, raised);
    let refused = KvClient::new(channel.clone()).put(put("a", "b")).await;
    assert_eq!(error(&refused.unwrap_err()), NO_SPACE);
    drop(channel);
    let place = server.kill();
    let version = Command::new(&program).arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let version = version.split_whitespace().nth(2).unwrap().to_owned();
    cairn(&[
        "migrate",
        "--data-dir",
        path,
        "--to",
        "etcd",
        "--target-version",
        &version,
    ]);
    let etcd = Etcd::start(&program, &data_dir).await;
    assert_eq!(alarm(&etcd.channel, AlarmAction::Get, 0).await, raised);
    etcd.stop();
    drop(place);
}

/// Those of 3.4 and 3.5 still serve them.
#[tokio::test]
async fn keys_of_the_second_api_stay_behind_and_that_is_said() {
    let Some(program) = installed("etcd") else {
        return;
    };
    let version = Command::new(&program).arg("--version").output().unwrap();
    if !String::from_utf8_lossy(&version.stdout).contains("etcd Version: 3.4") {
        return;
    }
    // In the log alone, and in raft's snapshot.
    for flags in [&["--enable-v2"][..], &["--enable-v2", "--snapshot-count=5"]] {
        let place = Place::new(&[]);
        let data_dir = place.data_dir();
        let etcd = Etcd::start_with(&program, &data_dir, flags).await;
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let put_v2 = || {
            let path = "/v2/keys/folder/key";
            let answer = http_client::request(etcd.address, "PUT", path, &form, b"value=x");
            assert!(answer.status < 300, "{}", answer.status);
        };
        put_v2();
        fill(&etcd.channel).await;
        // After the last entry that the database knows of.
        put_v2();
        let hashes_before = hashes(&etcd.channel).await;
        etcd.kill();
        let told = cairn(&["migrate", "--data-dir", data_dir.to_str().unwrap()]);
        assert!(told.contains("keys of the second API"), "{told}");
        let server = place.start();
        let channel = server.clients().await.channel;
        assert_eq!(hashes(&channel).await, hashes_before);
    }
}

/// As a crash leaves it between raft's snapshot and the database that belongs to it.
#[tokio::test]
async fn a_database_from_the_leader_that_has_not_got_its_name_moves_in() {
    let Some(program) = installed("etcd") else {
        return;
    };
    let place = Place::new(&[]);
    let data_dir = place.data_dir();
    let flags = ["--snapshot-count=10"];
    let etcd = Etcd::start_with(&program, &data_dir, &flags).await;
    let mut kv = KvClient::new(etcd.channel.clone());
    kv.put(put("early", "x")).await.unwrap();
    etcd.stop();
    let snap = data_dir.join("member/snap");
    let old = std::fs::read(snap.join("db")).unwrap();
    let etcd = Etcd::start_with(&program, &data_dir, &flags).await;
    fill(&etcd.channel).await;
    let mut kv = KvClient::new(etcd.channel.clone());
    kv.put(put("late", "x")).await.unwrap();
    etcd.stop();
    let names = std::fs::read_dir(&snap).unwrap();
    let names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
    let newest = names.filter(|name| name.ends_with(".snap")).max().unwrap();
    let index = newest
        .strip_suffix(".snap")
        .unwrap()
        .split_once('-')
        .unwrap()
        .1;
    std::fs::rename(snap.join("db"), snap.join(format!("{index}.snap.db"))).unwrap();
    std::fs::write(snap.join("db"), old).unwrap();

    cairn(&["migrate", "--data-dir", data_dir.to_str().unwrap()]);
    let server = place.start();
    let clients = server.clients().await;
    assert_leased(&clients.channel).await;
    let mut kv = clients.kv;
    let found = kv.range(range("late", "")).await.unwrap().into_inner();
    assert_eq!(found.kvs.len(), 1);
    let found = kv.range(range("early", "")).await.unwrap().into_inner();
    assert_eq!(found.kvs.len(), 1);
}

/// `etcdutl` writes a row without a value for it.
#[tokio::test]
async fn a_revision_that_etcdutl_raised_is_restored_and_moves_in() {
    let (Some(program), Some(tool)) = (installed("etcd"), installed("etcdutl")) else {
        return;
    };
    let server = Place::new(&[]).start();
    let channel = server.clients().await.channel;
    fill(&channel).await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("snapshot.db");
    save_snapshot(&channel, &file).await;
    drop(server);
    let place = Place::new(&[]);
    let data_dir = place.data_dir();
    let raised = Command::new(tool)
        .args([
            "snapshot",
            "restore",
            "--bump-revision=1000",
            "--mark-compacted",
            "--data-dir",
        ])
        .args([&data_dir, &file])
        .output()
        .unwrap();
    assert!(raised.status.success(), "{raised:?}");
    let copy = directory.path().join("copy.db");
    std::fs::copy(data_dir.join("member/snap/db"), &copy).unwrap();

    // Its database restored, the directory moved, and a snapshot of the etcd that ran on it restored.
    let restored = Place::new(&[]);
    restore(&copy, &restored, &["--skip-hash-check"]);
    assert_goes_on(restored, LAST + 1001).await;
    let etcd = Etcd::start(&program, &data_dir).await;
    let later = directory.path().join("later.db");
    save_snapshot(&etcd.channel, &later).await;
    etcd.stop();
    cairn(&["migrate", "--data-dir", data_dir.to_str().unwrap()]);
    assert_goes_on(place, LAST + 1001).await;
    let restored = Place::new(&[]);
    restore(&later, &restored, &[]);
    assert_goes_on(restored, LAST + 1001).await;
}

/// Raised by us, the revision stays raised in etcd, whether Cairn ran on it or not.
#[tokio::test]
async fn a_revision_that_we_raised_goes_back_to_etcd() {
    let Some(program) = installed("etcd") else {
        return;
    };
    let version = Command::new(&program).arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let version = version.split_whitespace().nth(2).unwrap().to_owned();
    let server = Place::new(&[]).start();
    let channel = server.clients().await.channel;
    fill(&channel).await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("snapshot.db");
    save_snapshot(&channel, &file).await;
    drop(server);
    let mut place = Place::new(&[]);
    restore(&file, &place, &["--bump-revision=1000", "--mark-compacted"]);
    let data_dir = place.data_dir();
    let server = place.start();
    let mut kv = server.clients().await.kv;
    let written = kv.put(put("k1", "v")).await.unwrap().into_inner();
    assert_eq!(written.header.unwrap().revision, LAST + 1001);
    server.signal(rustix::process::Signal::TERM);
    (_, place) = server.ended();
    let path = data_dir.to_str().unwrap();
    cairn(&[
        "migrate",
        "--data-dir",
        path,
        "--to",
        "etcd",
        "--target-version",
        &version,
    ]);
    let etcd = Etcd::start(&program, &data_dir).await;
    let mut kv = KvClient::new(etcd.channel.clone());
    let written = kv.put(put("k1", "v")).await.unwrap().into_inner();
    assert_eq!(written.header.unwrap().revision, LAST + 1002);
    etcd.stop();
    drop(place);
}

fn restore(file: &Path, place: &Place, flags: &[&str]) {
    let data_dir = place.data_dir();
    let mut all = vec!["snapshot", "restore", file.to_str().unwrap()];
    all.extend(["--data-dir", data_dir.to_str().unwrap()]);
    all.extend(flags);
    cairn(&all);
    assert!(cairn(&["check", "--data-dir", data_dir.to_str().unwrap()]).contains("is whole"));
}

/// The next write has this revision, and keys and lease are there.
async fn assert_goes_on(place: Place, revision: i64) {
    let server = place.start();
    let clients = server.clients().await;
    assert_leased(&clients.channel).await;
    let mut kv = clients.kv;
    let found = kv.range(all()).await.unwrap().into_inner();
    assert_eq!(found.kvs.len(), 10);
    let written = kv.put(put("k1", "v")).await.unwrap().into_inner();
    assert_eq!(written.header.unwrap().revision, revision);
}
