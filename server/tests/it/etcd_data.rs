//! Snapshots, restoring, moving in from etcd and going back to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use cairn_proto::etcdserverpb::kv_client::KvClient;
use cairn_proto::etcdserverpb::lease_client::LeaseClient;
use cairn_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use cairn_proto::etcdserverpb::{
    CompactionRequest, HashKvRequest, LeaseGrantRequest, LeaseTimeToLiveRequest, PutRequest,
    SnapshotRequest, StatusRequest,
};
use cairn_testbed::ports::free_address;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::harness::{Place, binary, until};
use crate::requests::*;

const LEASE: i64 = 77;
/// What [`fill`] leaves: the compacted revision, and the last.
const COMPACTED: i64 = 12;
pub(crate) const LAST: i64 = 33;

/// Writes keys, deletes some, attaches one to a lease, and forgets some history.
pub(crate) async fn fill(channel: &Channel) {
    let mut kv = KvClient::new(channel.clone());
    for number in 0..30 {
        let key = format!("k{}", number % 10);
        kv.put(put(&key, &number.to_string())).await.unwrap();
    }
    kv.delete_range(delete("k3", "")).await.unwrap();
    let lease = LeaseGrantRequest {
        ttl: 6000,
        id: LEASE,
    };
    LeaseClient::new(channel.clone())
        .lease_grant(lease)
        .await
        .unwrap();
    let attached = PutRequest {
        lease: LEASE,
        ..put("leased", "x")
    };
    kv.put(attached).await.unwrap();
    let compaction = CompactionRequest {
        revision: COMPACTED,
        physical: true,
    };
    kv.compact(compaction).await.unwrap();
}

/// The hash at every revision after the compacted one, by one who serves.
pub(crate) async fn hashes(channel: &Channel) -> Vec<u32> {
    let mut maintenance = MaintenanceClient::new(channel.clone());
    let mut hashes = Vec::new();
    for revision in COMPACTED + 1..=LAST {
        let answer = maintenance.hash_kv(HashKvRequest { revision }).await;
        hashes.push(answer.unwrap().into_inner().hash);
    }
    hashes
}

pub(crate) async fn assert_leased(channel: &Channel) {
    let request = LeaseTimeToLiveRequest {
        id: LEASE,
        keys: true,
    };
    let lease = LeaseClient::new(channel.clone())
        .lease_time_to_live(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(lease.keys, ["leased"]);
    assert_eq!(lease.granted_ttl, 6000);
}

pub(crate) async fn save_snapshot(channel: &Channel, path: &Path) {
    let mut stream = MaintenanceClient::new(channel.clone())
        .snapshot(SnapshotRequest {})
        .await
        .unwrap()
        .into_inner();
    let mut file = Vec::new();
    while let Some(chunk) = stream.message().await.unwrap() {
        file.extend_from_slice(&chunk.blob);
    }
    std::fs::write(path, file).unwrap();
}

/// Runs a command of ours, which must succeed.
pub(crate) fn cairn(arguments: &[&str]) -> String {
    let output = try_cairn(arguments);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn try_cairn(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().unwrap()
}

/// A program on the path, if it is there; says so if not.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&paths)
        .map(|directory| directory.join(name))
        .find(|path| path.exists());
    if found.is_none() {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "skipped: {name} is not installed");
    }
    found
}

/// A running etcd.
pub(crate) struct Etcd {
    process: Child,
    pub(crate) address: SocketAddr,
    pub(crate) channel: Channel,
}

impl Etcd {
    /// Starts one, on other ports if somebody else took those meanwhile.
    pub(crate) async fn start(program: &Path, data_dir: &Path) -> Self {
        Self::start_with(program, data_dir, &[]).await
    }

    /// The same with further flags.
    pub(crate) async fn start_with(program: &Path, data_dir: &Path, flags: &[&str]) -> Self {
        const TRIES: usize = 5;
        for _ in 0..TRIES {
            if let Some(etcd) = Self::try_start(program, data_dir, flags).await {
                return etcd;
            }
        }
        panic!("etcd ends by itself at each of {TRIES} starts");
    }

    /// One that serves, or none if it ended before.
    async fn try_start(program: &Path, data_dir: &Path, flags: &[&str]) -> Option<Self> {
        let [client, peer] = [free_address().unwrap(), free_address().unwrap()];
        let process = Command::new(program)
            .arg("--data-dir")
            .arg(data_dir)
            .args(["--listen-client-urls", &format!("http://{client}")])
            .args(["--advertise-client-urls", &format!("http://{client}")])
            .args(["--listen-peer-urls", &format!("http://{peer}")])
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let endpoint = Channel::from_shared(format!("http://{client}")).unwrap();
        let channel = endpoint.connect_lazy();
        let mut etcd = Self {
            process,
            address: client,
            channel,
        };
        let mut has_ended = false;
        until("an etcd that serves", async || {
            has_ended = etcd.process.try_wait().unwrap().is_some();
            let mut kv = KvClient::new(etcd.channel.clone());
            has_ended || kv.range(range("a", "")).await.is_ok()
        })
        .await;
        (!has_ended).then_some(etcd)
    }

    /// As a power failure would, but for the disk.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) fn stop(mut self) {
        let id = i32::try_from(self.process.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_restored_snapshot_hashes_alike_at_every_revision() {
    let server = Place::new(&[]).start();
    let channel = server.clients().await.channel;
    fill(&channel).await;
    let hashes_before = hashes(&channel).await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("snapshot.db");
    save_snapshot(&channel, &file).await;
    drop(server);
    let file = file.to_str().unwrap();

    let last = format!("{}, {LAST}, {COMPACTED}\n", hashes_before.last().unwrap());
    assert_eq!(cairn(&["hashkv", file]), last);
    let status = cairn(&["snapshot", "status", file, "-w", "json"]);
    assert!(
        status.contains("\"revision\":33,\"totalKey\":10"),
        "{status}"
    );

    let place = Place::new(&[]);
    let data_dir = place.data_dir();
    let data_dir = data_dir.to_str().unwrap();
    cairn(&["snapshot", "restore", file, "--data-dir", data_dir]);
    let again = try_cairn(&["snapshot", "restore", file, "--data-dir", data_dir]);
    assert!(
        !again.status.success(),
        "a directory with data is left alone"
    );
    assert!(cairn(&["check", "--data-dir", data_dir]).contains("is whole"));
    let server = place.start();
    let channel = server.clients().await.channel;
    assert_eq!(hashes(&channel).await, hashes_before);
    assert_leased(&channel).await;
}

#[tokio::test]
async fn a_restored_revision_can_be_raised_and_what_is_before_is_compacted() {
    let server = Place::new(&[]).start();
    let channel = server.clients().await.channel;
    fill(&channel).await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("snapshot.db");
    save_snapshot(&channel, &file).await;
    drop(server);
    let file = file.to_str().unwrap();
    let place = Place::new(&[]);
    let data_dir = place.data_dir();
    let restore = [
        "snapshot",
        "restore",
        file,
        "--data-dir",
        data_dir.to_str().unwrap(),
        "--bump-revision",
        "1000",
    ];
    assert!(
        !try_cairn(&restore).status.success(),
        "without the other flag"
    );
    cairn(&[&restore[..], &["--mark-compacted"]].concat());
    let server = place.start();
    let mut kv = server.clients().await.kv;
    let written = kv.put(put("k1", "v")).await.unwrap().into_inner();
    assert_eq!(written.header.unwrap().revision, LAST + 1001);
    let old = cairn_proto::etcdserverpb::RangeRequest {
        revision: LAST,
        ..range("k1", "")
    };
    let refused = kv.range(old).await.unwrap_err();
    assert!(refused.message().contains("compacted"), "{refused}");
}

#[tokio::test]
async fn a_snapshot_with_a_changed_byte_is_not_restored() {
    let server = Place::new(&[]).start();
    let channel = server.clients().await.channel;
    fill(&channel).await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("snapshot.db");
    save_snapshot(&channel, &file).await;
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let to = directory.path().join("data");
    let [file, to] = [&file, &to].map(|path| path.to_str().unwrap());
    let refused = try_cairn(&["snapshot", "restore", file, "--data-dir", to]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    assert!(told.contains("expected sha256"), "{told}");
}

/// With etcd's own tools: those of 3.5 and later are `etcdutl`, those before `etcdctl`.
#[tokio::test]
async fn etcds_own_tools_read_a_snapshot_and_etcd_starts_on_it() {
    let Some(etcd) = installed("etcd") else {
        return;
    };
    let Some(tool) = installed("etcdutl").or_else(|| installed("etcdctl")) else {
        return;
    };
    let server = Place::new(&[]).start();
    let channel = server.clients().await.channel;
    fill(&channel).await;
    let hashes_before = hashes(&channel).await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("snapshot.db");
    save_snapshot(&channel, &file).await;
    drop(server);
    let status = Command::new(&tool)
        .env("ETCDCTL_API", "3")
        .args(["snapshot", "status", "-w", "simple"])
        .arg(&file)
        .output()
        .unwrap();
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    let ours = cairn(&["snapshot", "status", file.to_str().unwrap()]);
    // Hash and revision: etcd 3.4 counts revisions where later ones count keys.
    let of = |status: &str| -> Vec<String> {
        let fields = status.split(", ").take(2);
        fields.map(str::to_owned).collect()
    };
    assert_eq!(of(&ours), of(&status));
    let data_dir = directory.path().join("restored");
    let restored = Command::new(&tool)
        .env("ETCDCTL_API", "3")
        .args(["snapshot", "restore", "--data-dir"])
        .args([&data_dir, &file])
        .output()
        .unwrap();
    assert!(restored.status.success(), "{restored:?}");
    let etcd = Etcd::start(&etcd, &data_dir).await;
    assert_eq!(hashes(&etcd.channel).await, hashes_before);
    assert_leased(&etcd.channel).await;
    etcd.stop();
}

#[tokio::test]
async fn a_killed_etcd_moves_in_and_goes_back_as_the_same_member() {
    let Some(program) = installed("etcd") else {
        return;
    };
    let place = Place::new(&[]);
    let data_dir = place.data_dir();
    let etcd = Etcd::start(&program, &data_dir).await;
    fill(&etcd.channel).await;
    let hashes_before = hashes(&etcd.channel).await;
    let status = |channel: &Channel| {
        let mut maintenance = MaintenanceClient::new(channel.clone());
        async move {
            let answer = maintenance.status(StatusRequest {}).await.unwrap();
            let answer = answer.into_inner();
            let header = answer.header.unwrap();
            (header.cluster_id, header.member_id, answer.version)
        }
    };
    let (cluster, member, version) = status(&etcd.channel).await;
    let path = data_dir.to_str().unwrap();
    let refused = try_cairn(&["migrate", "--data-dir", path]);
    assert!(!refused.status.success(), "while etcd runs");
    // What it has acknowledged is in its log, and not yet in its database.
    etcd.kill();

    let refusal = place.refusal();
    assert!(refusal.log.contains("cairn migrate"), "{}", refusal.log);
    cairn(&["migrate", "--data-dir", path]);
    let server = place.start();
    let channel = server.clients().await.channel;
    assert_eq!(hashes(&channel).await, hashes_before);
    assert_leased(&channel).await;
    let moved = status(&channel).await;
    assert_eq!((moved.0, moved.1), (cluster, member));
    let mut kv = KvClient::new(channel);
    kv.put(put("written", "by Cairn")).await.unwrap();

    let place = server.kill();
    let minor: Vec<&str> = version.split('.').take(2).collect();
    let minor = minor.join(".");
    cairn(&[
        "migrate",
        "--data-dir",
        path,
        "--to",
        "etcd",
        "--target-version",
        &minor,
    ]);
    let etcd = Etcd::start(&program, &data_dir).await;
    assert_eq!(hashes(&etcd.channel).await, hashes_before);
    assert_leased(&etcd.channel).await;
    let back = status(&etcd.channel).await;
    assert_eq!((back.0, back.1), (cluster, member));
    let mut kv = KvClient::new(etcd.channel.clone());
    let found = kv.range(range("written", "")).await.unwrap().into_inner();
    assert_eq!(found.kvs[0].value, "by Cairn");
    etcd.stop();
    drop(place);
}
