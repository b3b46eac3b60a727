//! A member that has lost its database, but not its log, gets the one of another member.

use std::fs;
use std::path::{Path, PathBuf};

use cairn_proto::etcdserverpb::lease_client::LeaseClient;
use cairn_proto::etcdserverpb::{LeaseGrantRequest, LeaseTimeToLiveRequest, PutRequest};

use crate::cluster_harness::{Cluster, get, put};
use crate::etcd_data::{cairn, save_snapshot, try_cairn};
use crate::harness::Server;
use crate::requests;

/// A log so short that it begins after what a damaged database had.
const FLAGS: [&str; 2] = ["--snapshot-count=20", "--snapshot-catchup-entries=5"];

/// Scribbles over everything but the first two pages, which say what the file is.
fn damage(database: &Path) {
    let mut bytes = fs::read(database).unwrap();
    for (at, byte) in bytes.iter_mut().enumerate().skip(8192) {
        *byte = u8::try_from(at * 7 % 251).unwrap();
    }
    fs::write(database, bytes).unwrap();
}

async fn puts(cluster: &Cluster, name: &str, count: usize) {
    let mut clients = cluster.clients(0).await;
    for number in 0..count {
        put(&mut clients, &format!("{name}{number}"), name)
            .await
            .unwrap();
    }
}

async fn snapshot(cluster: &Cluster, directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    save_snapshot(&cluster.clients(0).await.channel, &path).await;
    path
}

/// Kills a member and harms its database, so that it does not start.
fn lose(cluster: &mut Cluster, number: usize) -> String {
    cluster.kill(number);
    let data_dir = cluster.data_dir(number);
    damage(&data_dir.join("member/snap/db"));
    let refusal = cluster.refusal(number);
    assert_eq!(refusal.status.code(), Some(1), "{}", refusal.log);
    data_dir.to_str().unwrap().to_owned()
}

/// What is said of a snapshot that cannot be the database of a stopped member, which keeps its own.
fn refused(data_dir: &str, snapshot: &Path) -> String {
    let database = Path::new(data_dir).join("member/snap/db");
    let before = fs::read(&database).ok();
    let text = told(data_dir, snapshot);
    assert!(before == fs::read(&database).ok(), "nothing is changed");
    text
}

fn told(data_dir: &str, snapshot: &Path) -> String {
    let arguments = [
        "rebuild",
        "--data-dir",
        data_dir,
        snapshot.to_str().unwrap(),
    ];
    let output = try_cairn(&arguments);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_member_with_a_damaged_database_goes_on_with_that_of_another_and_forgets_nothing() {
    let files = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(3, &FLAGS);
    let clients = cluster.clients(0).await;
    let mut leases = LeaseClient::new(clients.channel.clone());
    let grant = LeaseGrantRequest { ttl: 6000, id: 77 };
    leases.lease_grant(grant).await.unwrap();
    let attached = PutRequest {
        lease: 77,
        ..requests::put("leased", "x")
    };
    clients.kv.clone().put(attached).await.unwrap();
    let early = snapshot(&cluster, files.path(), "early.db").await;
    puts(&cluster, "before", 60).await;
    cluster.settle().await;

    // The others have gone on, further than the lost member's log.
    let data_dir = lose(&mut cluster, 1);
    puts(&cluster, "meanwhile", 60).await;
    let text = refused(&data_dir, &early);
    assert!(text.contains("one of a later time is needed"), "{text}");
    let now = snapshot(&cluster, files.path(), "now.db").await;
    let now = now.to_str().unwrap();
    let told = cairn(&["rebuild", "--data-dir", &data_dir, now]);
    assert!(told.contains("its log begins there"), "{told}");
    cluster.start_one(1);
    puts(&cluster, "after", 5).await;
    cluster.settle().await;

    // A snapshot of some entries ago: the log goes on from there.
    cluster.kill(1);
    fs::remove_dir_all(Path::new(&data_dir).join("member/snap.damaged")).unwrap();
    cluster.start_one(1);
    let recent = snapshot(&cluster, files.path(), "recent.db").await;
    puts(&cluster, "recent", 3).await;
    cluster.settle().await;
    lose(&mut cluster, 1);
    let told = cairn(&["rebuild", "--data-dir", &data_dir, recent.to_str().unwrap()]);
    assert!(told.contains("its log goes on from there"), "{told}");
    cluster.start_one(1);
    cluster.settle().await;

    // It is a member as any other: with it alone beside a new leader, all is there.
    cluster.kill(0);
    cluster.leader(&[1, 2]).await;
    let mut clients = cluster.clients(1).await;
    let value = get(&mut clients, "recent2").await.unwrap();
    assert_eq!(value.as_deref(), Some("recent"));
    let request = LeaseTimeToLiveRequest { id: 77, keys: true };
    let mut leases = LeaseClient::new(clients.channel.clone());
    let lease = leases.lease_time_to_live(request);
    assert_eq!(lease.await.unwrap().into_inner().keys, ["leased"]);
}

#[tokio::test]
async fn a_database_is_not_rebuilt_from_another_clusters_nor_while_its_member_runs() {
    let files = tempfile::tempdir().unwrap();
    let server = Server::start(&[]);
    let clients = server.clients().await;
    clients
        .kv
        .clone()
        .put(requests::put("k", "v"))
        .await
        .unwrap();
    let own = files.path().join("own.db");
    save_snapshot(&clients.channel, &own).await;
    let data_dir = server.data_dir().to_str().unwrap().to_owned();
    let text = told(&data_dir, &own);
    assert!(text.contains("stop its member first"), "{text}");

    let cluster = Cluster::start(3, &[]);
    let other = snapshot(&cluster, files.path(), "other.db").await;
    let place = server.kill();
    let text = refused(&data_dir, &other);
    let is_told = ["different clusters", "that member"]
        .iter()
        .any(|it| text.contains(it));
    assert!(is_told, "{text}");

    // Its own, also where the database is gone.
    fs::remove_dir_all(place.data_dir().join("member/snap")).unwrap();
    cairn(&["rebuild", "--data-dir", &data_dir, own.to_str().unwrap()]);
    let server = place.start();
    let mut kv = server.clients().await.kv;
    let answer = kv.range(requests::all()).await.unwrap().into_inner();
    assert_eq!(answer.count, 1);
    fs::remove_file(&own).unwrap();
}
