//! Continuous backups: what is left of a cluster that is destroyed.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cairn_proto::etcdserverpb::lease_client::LeaseClient;
use cairn_proto::etcdserverpb::{HashKvRequest, LeaseGrantRequest, RangeRequest};
use cairn_testbed::ports::free_address;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cluster_harness::{Cluster, get, put};
use crate::harness::{Clients, Place, Server, binary, until};
use crate::http_client;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A number on a member's page.
fn metric(address: SocketAddr, name: &str) -> i64 {
    let text = http_client::request(address, "GET", "/metrics", &[], b"").text();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name}"))
        .trim()
        .parse()
        .unwrap()
}

/// The revision that a member says is in the backup.
fn backed_up(server: &Server) -> i64 {
    metric(server.address(), "cairn_backup_revision ")
}

/// Runs a command of ours, with what a store that speaks S3 wants to know.
fn cairn(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(binary())
        .args(arguments)
        .envs(S3_VARIABLES)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn done(arguments: &[&str]) -> String {
    let (is_done, text) = cairn(arguments);
    assert!(is_done, "{arguments:?}: {text}");
    text
}

async fn hash_at(clients: &mut Clients, revision: i64) -> u32 {
    let answer = clients
        .maintenance
        .hash_kv(HashKvRequest { revision })
        .await;
    answer.unwrap().into_inner().hash
}

async fn revision(clients: &mut Clients) -> i64 {
    let request = RangeRequest {
        key: "k".into(),
        ..RangeRequest::default()
    };
    let header = clients.kv.range(request).await.unwrap().into_inner().header;
    header.unwrap().revision
}

/// A member of a new cluster, restored from a backup.
fn restored(flags: &[&str]) -> Server {
    let place = Place::new(&[]);
    let directory = place.data_dir();
    let mut all = vec![
        "snapshot",
        "restore",
        "--data-dir",
        directory.to_str().unwrap(),
    ];
    all.extend(flags);
    done(&all);
    place.start()
}

/// Writes until the cluster is gone, and notes what was acknowledged at which revision.
async fn write(mut clients: Clients, number: usize, acknowledged: Arc<Mutex<Vec<(String, i64)>>>) {
    for count in 0.. {
        let key = format!("writer{number}/{count}");
        match put(&mut clients, &key, &key).await {
            Ok(revision) => acknowledged.lock().unwrap().push((key, revision)),
            Err(_) if count > 10_000_000 => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// All that was said to be in the backup is there, with every write that was acknowledged by then.
async fn assert_nothing_safe_is_lost(
    url: &str,
    said: i64,
    (early, hash): (i64, u32),
    acknowledged: &[(String, i64)],
) {
    let server = restored(&["--from", url]);
    let mut clients = server.clients().await;
    let last = revision(&mut clients).await;
    assert!(
        last >= said,
        "{last} is left of the {said} that were said to be safe"
    );
    assert_eq!(hash_at(&mut clients, early).await, hash);
    let safe: Vec<_> = acknowledged.iter().filter(|(_, at)| *at <= last).collect();
    for (key, at) in safe.iter().step_by(safe.len().div_ceil(200)) {
        let value = get(&mut clients, key).await.unwrap();
        assert_eq!(
            value.as_deref(),
            Some(key.as_str()),
            "revision {at} of {last}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_cluster_that_is_destroyed_no_more_is_lost_than_it_said() {
    let backup = tempfile::tempdir().unwrap();
    let url = format!("file://{}", backup.path().display());
    let flags = [
        format!("--backup-url={url}"),
        "--backup-interval=200ms".to_owned(),
        "--backup-base-interval=2s".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut cluster = Cluster::start(3, &flags);
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let mut writers = Vec::new();
    for number in 0..3 {
        let clients = cluster.clients(number).await;
        writers.push(tokio::spawn(write(
            clients,
            number,
            Arc::clone(&acknowledged),
        )));
    }
    let leader = cluster.leader(&[0, 1, 2]).await;
    until("a backup", async || backed_up(cluster.member(leader)) > 100).await;
    // The next leader goes on with the backup where this one was.
    cluster.kill(leader);
    let others: Vec<_> = (0..3).filter(|other| *other != leader).collect();
    let next = cluster.leader(&others).await;
    let mut clients = cluster.clients(next).await;
    let early = revision(&mut clients).await;
    let hash = hash_at(&mut clients, early).await;
    until("the next leader's backup", async || {
        backed_up(cluster.member(next)) > early + 100
    })
    .await;
    assert!(
        !cluster.member(next).log().contains("does not continue"),
        "it began anew"
    );

    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .subsec_nanos();
    tokio::time::sleep(Duration::from_millis(u64::from(nanos % 1500))).await;
    let said = backed_up(cluster.member(next));
    for number in others {
        cluster.kill(number);
    }
    drop(cluster);
    for writer in writers {
        writer.abort();
    }

    let told = done(&["backup", "verify", "--from", &url]);
    assert!(told.contains("is whole"), "{told}");
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert_nothing_safe_is_lost(&url, said, (early, hash), &acknowledged).await;
    let server = restored(&["--from", &url, "--revision", &early.to_string()]);
    let mut clients = server.clients().await;
    assert_eq!(revision(&mut clients).await, early);
    assert_eq!(hash_at(&mut clients, early).await, hash);
}

/// A server that speaks S3, if there is one here: `moto`, a Python package.
struct S3 {
    process: Child,
    address: SocketAddr,
}

const S3_VARIABLES: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_SECRET_ACCESS_KEY", "test"),
    ("AWS_REGION", "us-east-1"),
];

impl S3 {
    async fn start(address: SocketAddr) -> Option<Self> {
        let begun = Command::new("moto_server")
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = begun else {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "skipped: moto_server is not installed");
            return None;
        };
        let server = Self { process, address };
        until("a server that speaks S3", async || {
            TcpStream::connect(address).is_ok()
        })
        .await;
        let answer = http_client::request(address, "PUT", "/bucket", &[], b"");
        assert_eq!(answer.status, 200);
        Some(server)
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn key_file(directory: &Path) -> String {
    let path = directory.join("key");
    std::fs::write(&path, KEY).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_backup_goes_to_s3_encrypted_and_comes_back() {
    let Some(s3) = S3::start(free_address().unwrap()).await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let key = key_file(directory.path());
    let (endpoint, url) = (s3.endpoint(), "s3://bucket/some/path");
    let flags = [
        format!("--backup-url={url}"),
        format!("--backup-endpoint={endpoint}"),
        format!("--backup-key-file={key}"),
        "--backup-interval=200ms".to_owned(),
        "--backup-base-interval=2s".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = Place::new(&flags).with_variables(&S3_VARIABLES).start();
    let mut clients = server.clients().await;
    let lease = LeaseGrantRequest { ttl: 6000, id: 77 };
    LeaseClient::new(clients.channel.clone())
        .lease_grant(lease)
        .await
        .unwrap();
    for number in 0..200 {
        put(
            &mut clients,
            &format!("k{number}"),
            "a value that nobody may read",
        )
        .await
        .unwrap();
    }
    let early = revision(&mut clients).await;
    until("a backup", async || backed_up(&server) >= early).await;
    put(&mut clients, "k0", "a mistake").await.unwrap();
    until("the last of it", async || backed_up(&server) > early).await;
    let hash = hash_at(&mut clients, early).await;
    drop(server.kill());

    let access = ["--from", url, "--endpoint", &endpoint];
    let (is_done, told) = cairn(&[&["backup", "ls"], &access[..]].concat());
    assert!(!is_done && told.contains("a key file is needed"), "{told}");
    let access = [&access[..], &["--key-file", &key]].concat();
    let told = done(&[&["backup", "ls"], &access[..]].concat());
    assert!(told.contains(&format!("to {}", early + 1)), "{told}");
    let told = done(&[&["backup", "verify"], &access[..]].concat());
    assert!(told.contains("is whole"), "{told}");
    let revision = early.to_string();
    let server = restored(&[&access[..], &["--revision", &revision]].concat());
    let mut clients = server.clients().await;
    assert_eq!(hash_at(&mut clients, 0).await, hash);
    let value = get(&mut clients, "k0").await.unwrap();
    assert_eq!(value.as_deref(), Some("a value that nobody may read"));
}

#[tokio::test]
async fn a_store_that_is_away_holds_nobody_up_and_is_caught_up_with() {
    let directory = tempfile::tempdir().unwrap();
    // A file where the directory should be: nothing can be written.
    let place = directory.path().join("away");
    std::fs::write(&place, "").unwrap();
    let url = format!("file://{}", place.display());
    let flag = format!("--backup-url={url}");
    let server = Server::start(&[&flag, "--backup-interval=100ms"]);
    let mut clients = server.clients().await;
    for number in 0..50 {
        put(&mut clients, &format!("k{number}"), "v").await.unwrap();
    }
    until("failures", async || {
        metric(server.address(), "cairn_backup_errors_total ") > 0
    })
    .await;
    assert_eq!(metric(server.address(), "cairn_backup_lag_revisions "), 51);
    std::fs::remove_file(&place).unwrap();
    until("a backup", async || backed_up(&server) == 51).await;
    assert_eq!(metric(server.address(), "cairn_backup_lag_revisions "), 0);
    assert_eq!(
        metric(server.address(), "cairn_backup_lag_milliseconds "),
        0
    );
    let told = done(&["backup", "ls", "--from", &url]);
    assert!(told.contains("to 51"), "{told}");
}

#[tokio::test]
async fn a_backup_gives_back_what_was_there_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().display());
    let flag = format!("--backup-url={url}");
    let server = Server::start(&[&flag, "--backup-interval=100ms"]);
    let mut clients = server.clients().await;
    let mut revisions = Vec::new();
    let mut times = Vec::new();
    for value in ["first", "second"] {
        times.push(OffsetDateTime::now_utc().format(&Rfc3339).unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
        let revision = put(&mut clients, "k", value).await.unwrap();
        until("a backup", async || backed_up(&server) >= revision).await;
        revisions.push(revision);
    }
    drop(server.kill());
    let server = restored(&["--from", &url, "--time", &times[1]]);
    let mut clients = server.clients().await;
    assert_eq!(revision(&mut clients).await, revisions[0]);
    let value = get(&mut clients, "k").await.unwrap();
    assert_eq!(value.as_deref(), Some("first"));
}

#[tokio::test]
async fn a_backup_that_more_was_written_beside_than_is_kept_for_it_begins_anew() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("away");
    let url = format!("file://{}", place.display());
    let flag = format!("--backup-url={url}");
    let server = Server::start(&[
        &flag,
        "--backup-interval=100ms",
        "--backup-buffer-bytes=16777216",
    ]);
    let mut clients = server.clients().await;
    let early = put(&mut clients, "early", "v").await.unwrap();
    until("a backup", async || backed_up(&server) >= early).await;
    let aside = directory.path().join("aside");
    std::fs::rename(&place, &aside).unwrap();
    // A file where the directory was: nothing can be written.
    std::fs::write(&place, "").unwrap();
    let value = "v".repeat(1 << 20);
    for number in 0..30 {
        put(&mut clients, &format!("k{number}"), &value)
            .await
            .unwrap();
    }
    let last = revision(&mut clients).await;
    std::fs::remove_file(&place).unwrap();
    std::fs::rename(&aside, &place).unwrap();
    until("a backup of all", async || backed_up(&server) == last).await;
    let told = done(&["backup", "ls", "--from", &url]);
    assert!(told.contains("begun anew"), "{told}");
    let hash = hash_at(&mut clients, last).await;
    drop(server.kill());
    for (at, keys) in [(early, 1), (last, 31)] {
        let server = restored(&["--from", &url, "--revision", &at.to_string()]);
        let mut clients = server.clients().await;
        let all = RangeRequest {
            key: "\0".into(),
            range_end: "\0".into(),
            count_only: true,
            ..RangeRequest::default()
        };
        let count = clients.kv.range(all).await.unwrap().into_inner().count;
        assert_eq!(count, keys, "at revision {at}");
        if at == last {
            assert_eq!(hash_at(&mut clients, 0).await, hash);
        }
    }
}
