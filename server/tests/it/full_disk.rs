//! A member whose disk is full: it says so, refuses writes, goes on with the rest, and comes back by
//! itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_proto::etcdserverpb::{AlarmRequest, CompactionRequest, DefragmentRequest};
use tempfile::TempDir;

use crate::cluster_harness::Cluster;
use crate::harness::{Clients, Place, Server, until};
use crate::metrics::total;
use crate::requests::*;

/// A small file system with the data directory on it, and room for the log elsewhere.
struct SmallDisk {
    directory: TempDir,
    log: TempDir,
}

impl SmallDisk {
    fn mount() -> Option<Self> {
        Self::mount_of("size=8m")
    }

    fn mount_of(size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", size, "tmpfs"])
            .arg(directory.path())
            .output();
        if mounted.is_ok_and(|it| it.status.success()) {
            let log = tempfile::tempdir().unwrap();
            return Some(Self { directory, log });
        }
        #[expect(clippy::print_stderr, reason = "who runs the test should know")]
        {
            eprintln!("skipped: no small file system can be mounted here");
        }
        None
    }

    fn place(&self, flags: &[&str]) -> Place {
        let data_dir = format!(
            "--data-dir={}",
            self.directory.path().join("data").display()
        );
        let wal_dir = format!("--wal-dir={}", self.log.path().display());
        let mut all = vec![data_dir.as_str(), wal_dir.as_str()];
        all.extend(flags);
        Place::new(&all)
    }

    /// Gives it another size.
    fn resize(&self, size: &str) {
        let options = format!("remount,{size}");
        let done = Command::new("mount")
            .args(["-o", &options])
            .arg(self.directory.path())
            .status();
        assert!(done.unwrap().success());
    }

    fn ballast(&self) -> PathBuf {
        self.directory.path().join("ballast")
    }

    /// Leaves so many bytes.
    fn fill(&self, left_bytes: usize) {
        let mut ballast = std::fs::File::create(self.ballast()).unwrap();
        while std::io::Write::write_all(&mut ballast, &[7; 4096]).is_ok() {}
        let full = ballast.metadata().unwrap().len();
        ballast
            .set_len(full.saturating_sub(left_bytes as u64))
            .unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.directory.path())
            .status();
    }
}

async fn alarm_is_on(clients: &Clients) -> bool {
    let mut maintenance = clients.maintenance.clone();
    let answer = maintenance.alarm(AlarmRequest::default()).await;
    !answer.unwrap().into_inner().alarms.is_empty()
}

fn logged(log: &str, text: &str) -> String {
    let line = log.lines().find(|line| line.contains(text));
    line.unwrap_or_else(|| panic!("{text}: {log}")).to_owned()
}

fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_commit_that_finds_no_space_while_nobody_writes_is_told_at_once_and_nothing_is_lost() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    // Without a reserve, so that the disk fills as if another process had taken all at once.
    let server = disk
        .place(&[
            "--disk-reserve-bytes=0",
            "--backend-batch-interval=500ms",
            "--alarm-clear-delay=0s",
        ])
        .start();
    let clients = server.clients().await;
    let mut kv = clients.kv.clone();
    disk.fill(0);
    let value = "v".repeat(200_000);
    kv.put(put("acknowledged", &value)).await.unwrap();
    // Nobody writes any more.
    until("it is said", async || {
        server.log().contains("the database cannot grow")
    })
    .await;
    let line = logged(&server.log(), "the database cannot grow");
    let path = disk.directory.path().join("data/member/snap/db");
    assert!(line.contains(path.to_str().unwrap()), "{line}");
    assert!(line.contains("os error"), "{line}");
    until("the alarm is on", async || alarm_is_on(&clients).await).await;
    refused(kv.put(put("refused", "")).await, NO_SPACE, "a put");
    assert_eq!(kv.range(all()).await.unwrap().into_inner().count, 1);
    kv.delete_range(delete("none", "")).await.unwrap();

    // Killed here, it starts on the full disk and has all.
    let server = server.kill().start();
    let clients = server.clients().await;
    let mut kv = clients.kv.clone();
    assert_eq!(kv.range(all()).await.unwrap().into_inner().count, 1);

    remove(&disk.ballast());
    until("the alarm is off", async || !alarm_is_on(&clients).await).await;
    kv.put(put("again", "")).await.unwrap();
    let server = server.kill().start();
    let mut kv = server.clients().await.kv;
    assert_eq!(kv.range(all()).await.unwrap().into_inner().count, 2);
}

#[tokio::test]
async fn below_the_reserve_writes_are_refused_and_all_else_goes_on() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let server = disk
        .place(&["--disk-reserve-bytes=700000", "--alarm-clear-delay=0s"])
        .start();
    let clients = server.clients().await;
    let mut kv = clients.kv.clone();
    kv.put(put("a", "1")).await.unwrap();
    disk.fill(600_000);
    until("the alarm is on", async || alarm_is_on(&clients).await).await;
    let line = logged(&server.log(), "the disk is nearly full");
    for part in ["data/member/snap", "available-bytes", "700000", "compact"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    refused(kv.put(put("b", "2")).await, NO_SPACE, "a put");
    kv.delete_range(delete("a", "")).await.unwrap();
    let request = CompactionRequest {
        revision: 3,
        physical: true,
    };
    kv.compact(request).await.unwrap();
    assert_eq!(kv.range(all()).await.unwrap().into_inner().count, 0);
    remove(&disk.ballast());
    until("the alarm is off", async || !alarm_is_on(&clients).await).await;
    kv.put(put("b", "2")).await.unwrap();
}

/// The next segment of the log finds no space: nothing can be acknowledged any more, and what was is there.
#[tokio::test]
async fn a_segment_of_the_log_that_finds_no_space_stops_the_member_with_file_and_cause() {
    // A segment has 64 MiB, and a spare is not to be had.
    let Some(disk) = SmallDisk::mount_of("size=80m") else {
        return;
    };
    let log = format!("--wal-dir={}", disk.directory.path().join("log").display());
    let server = Place::new(&[&log, "--disk-reserve-bytes=0"]).start();
    let mut kv = server.clients().await.kv;
    let value = "v".repeat(1_000_000);
    let mut acknowledged = 0;
    while kv
        .put(put(&format!("k{acknowledged}"), &value))
        .await
        .is_ok()
    {
        acknowledged += 1;
        assert!(acknowledged < 100, "the disk does not hold so many");
    }
    let said = server.log_when_ended();
    let line = logged(&said.log, "cannot go on: stopping before anything is lost");
    // A segment is made under this name.
    let segment = disk.directory.path().join("log/spare-");
    for part in [segment.to_str().unwrap(), "No space left on device"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(said.status.code(), Some(1));

    disk.resize("size=300m");
    let server = said.place.start();
    let mut kv = server.clients().await.kv;
    let found = kv.range(all()).await.unwrap().into_inner().count;
    assert!(
        found == acknowledged || found == acknowledged + 1,
        "{found} of {acknowledged}"
    );
    kv.put(put("again", "")).await.unwrap();
}

#[tokio::test]
async fn a_defragmentation_that_finds_no_space_says_so_and_changes_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let server = disk
        .place(&["--disk-reserve-bytes=0", "--backend-batch-interval=10ms"])
        .start();
    let clients = server.clients().await;
    let mut kv = clients.kv.clone();
    let value = "v".repeat(200_000);
    for number in 0..10 {
        kv.put(put(&format!("k{number}"), &value)).await.unwrap();
    }
    disk.fill(100_000);
    let mut maintenance = clients.maintenance.clone();
    let refusal = maintenance
        .defragment(DefragmentRequest {})
        .await
        .unwrap_err();
    let file = disk
        .directory
        .path()
        .join("data/member/snap/db.defragment-0");
    for part in [file.to_str().unwrap(), "os error"] {
        assert!(refusal.message().contains(part), "{part}: {refusal:?}");
    }
    assert!(!file.exists(), "what was begun is removed");
    assert_eq!(kv.range(all()).await.unwrap().into_inner().count, 10);
    remove(&disk.ballast());
    maintenance.defragment(DefragmentRequest {}).await.unwrap();
    kv.put(put("again", "")).await.unwrap();
    let server = server.kill().start();
    let mut kv = server.clients().await.kv;
    assert_eq!(kv.range(all()).await.unwrap().into_inner().count, 11);
}

#[tokio::test]
async fn a_database_that_is_received_and_finds_no_space_is_asked_for_again_until_there_is() {
    let Some(disk) = SmallDisk::mount_of("size=16m") else {
        return;
    };
    let flags = [
        "--snapshot-count=10",
        "--snapshot-catchup-entries=2",
        "--disk-reserve-bytes=0",
    ];
    let mut cluster = Cluster::start(3, &flags);
    cluster.settle().await;
    cluster.kill(2);
    // Its database on a small disk from now on.
    let snap = cluster.data_dir(2).join("member/snap");
    let moved = disk.directory.path().join("snap");
    std::fs::create_dir(&moved).unwrap();
    std::fs::copy(snap.join("db"), moved.join("db")).unwrap();
    std::fs::remove_dir_all(&snap).unwrap();
    std::os::unix::fs::symlink(&moved, &snap).unwrap();
    let mut kv = cluster.clients(0).await.kv;
    let value = "v".repeat(1_000_000);
    for number in 0..25 {
        kv.put(put(&format!("k{number}"), &value)).await.unwrap();
    }
    // It serves when it has caught up.
    let starting = cluster.begin(2);
    let told = "failed to send database snapshot";
    let logs = || cluster.member(0).log() + &cluster.member(1).log();
    until("the leader hears that there is no space", async || {
        logs().contains(told)
    })
    .await;
    let line = logged(&logs(), told);
    for part in ["snap/db.receiving-", "os error"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    kv.put(put("meanwhile", "")).await.unwrap();
    disk.resize("size=200m");
    cluster.begun(2, starting);
    cluster.settle().await;
    let server = cluster.member(2);
    let mut kv = server.clients().await.kv;
    assert_eq!(kv.range(all()).await.unwrap().into_inner().count, 26);
}

#[tokio::test]
async fn a_backup_that_finds_no_space_says_so_holds_nobody_up_and_is_caught_up_with() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let backup = disk.directory.path().join("backup");
    let url = format!("--backup-url=file://{}", backup.display());
    let server = Server::start(&[&url, "--backup-interval=100ms"]);
    let mut kv = server.clients().await.kv;
    kv.put(put("first", "")).await.unwrap();
    until("a backup", async || {
        total(&server, "cairn_backup_revision") >= 2.0
    })
    .await;
    disk.fill(0);
    let mut random = 1_u64;
    for number in 0..20 {
        // Which cannot be compressed.
        let value: String = std::iter::repeat_with(|| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            char::from(b' ' + u8::try_from((random >> 40) % 94).unwrap())
        })
        .take(100_000)
        .collect();
        kv.put(put(&format!("k{number}"), &value)).await.unwrap();
    }
    let told = "the backup could not be written";
    until("it is said", async || server.log().contains(told)).await;
    let line = logged(&server.log(), told);
    for part in [backup.to_str().unwrap(), "No space left on device"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(total(&server, "cairn_backup_lag_revisions") > 0.0);
    kv.put(put("last", "")).await.unwrap();
    remove(&disk.ballast());
    until("all is in the backup", async || {
        total(&server, "cairn_backup_revision") >= 23.0
    })
    .await;
}
