//! A divergence made by hand, behind the members' backs: every check sees it.

use std::ops::{Bound, ControlFlow};
use std::path::Path;

use bytes::Bytes;
use cairn_backend::{Backend, BackendOptions, LmdbEngine, LmdbOptions, Table};
use cairn_proto::etcdserverpb::alarm_request::AlarmAction;
use cairn_proto::etcdserverpb::{AlarmRequest, AlarmType, CompactionRequest};

use crate::cluster_harness::{Cluster, get, put};
use crate::harness::{Clients, Server, until};
use crate::requests::{COMPACTED, range};

/// Changes the last byte of the first value in the database of a member that is down.
fn spoil(data_dir: &Path) {
    let engine = LmdbEngine::open(&data_dir.join("member/snap"), LmdbOptions::default()).unwrap();
    let backend = Backend::open(engine, BackendOptions::default()).unwrap();
    let mut first = None;
    let all = (Bound::Unbounded, Bound::Unbounded);
    let view = backend.read().unwrap();
    view.scan(Table::Key, all, &mut |key, record| {
        first = Some((key.to_vec(), record.to_vec()));
        ControlFlow::Break(())
    })
    .unwrap();
    let (key, mut record) = first.unwrap();
    let value = record
        .windows(7)
        .position(|bytes| bytes == b"written")
        .unwrap();
    record[value + 6] = b'N';
    let mut batch = backend.write();
    batch.put(Table::Key, &key, Bytes::from(record));
    batch.end().unwrap();
    backend.commit().unwrap();
}

/// A cluster of three whose third member is down, and holds something else than the others.
async fn spoilt(flags: &[&str]) -> (Cluster, [usize; 2]) {
    let mut cluster = Cluster::start(3, flags);
    let leader = cluster.leader(&[0, 1, 2]).await;
    let mut clients = cluster.clients(leader).await;
    for key in ["a", "b", "c"] {
        put(&mut clients, key, "written").await.unwrap();
    }
    cluster.settle().await;
    let third = (leader + 2) % 3;
    // What it has applied is written to the database when it ends.
    cluster.signal(third, rustix::process::Signal::TERM);
    cluster.ended(third);
    spoil(&cluster.data_dir(third));
    (cluster, [leader, third])
}

async fn until_alarm(cluster: &Cluster, number: usize) {
    until("a corruption alarm", async || {
        let mut clients = cluster.clients(number).await;
        let alarms = clients.maintenance.alarm(AlarmRequest {
            action: AlarmAction::Get.into(),
            ..AlarmRequest::default()
        });
        let Ok(alarms) = alarms.await else {
            return false;
        };
        let alarms = alarms.into_inner().alarms;
        alarms.iter().any(|it| it.alarm() == AlarmType::Corrupt)
    })
    .await;
    let mut clients = cluster.clients(number).await;
    let refused = put(&mut clients, "d", "written").await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: corrupt cluster");
}

/// Puts a key, and compacts up to that; waits until all is deleted if it is to be `physical`.
async fn write_and_compact(clients: &mut Clients, key: &str, physical: bool) {
    let revision = put(clients, key, "written").await.unwrap();
    let compaction = CompactionRequest { revision, physical };
    clients.kv.compact(compaction).await.unwrap();
}

#[tokio::test]
async fn the_check_at_the_start_keeps_a_member_that_differs_from_serving() {
    let flags = ["--feature-gates=InitialCorruptCheck=true"];
    let (cluster, [leader, third]) = spoilt(&flags).await;
    let refusal = cluster.refusal(third);
    let is_told = refusal.log.contains("found data inconsistency with peers");
    assert!(is_told, "{}", refusal.log);
    let mut clients = cluster.clients(leader).await;
    let read = get(&mut clients, "a").await.unwrap();
    assert_eq!(read.as_deref(), Some("written"));
}

#[tokio::test]
async fn the_check_now_and_then_raises_the_alarm() {
    let (mut cluster, [leader, third]) = spoilt(&["--corrupt-check-time=1s"]).await;
    cluster.start_one(third);
    until_alarm(&cluster, leader).await;
}

#[tokio::test]
async fn the_check_after_a_compaction_raises_the_alarm() {
    let flags = [
        "--feature-gates=CompactHashCheck=true",
        "--compact-hash-check-time=1s",
    ];
    let (mut cluster, [leader, third]) = spoilt(&flags).await;
    cluster.start_one(third);
    let mut clients = cluster.clients(leader).await;
    write_and_compact(&mut clients, "d", false).await;
    until_alarm(&cluster, leader).await;
}

/// What comes after a restart: the rest of the compaction of the one, the comparison of the other.
#[tokio::test]
async fn a_check_that_a_restart_interrupts_goes_on() {
    let flags = [
        "--feature-gates=CompactHashCheck=true",
        "--compact-hash-check-time=2s",
    ];
    let (mut cluster, [leader, third]) = spoilt(&flags).await;
    let slow = [
        "--compaction-batch-limit=1",
        "--compaction-sleep-interval=1h",
    ];
    cluster.add_flags(third, &slow);
    cluster.start_one(third);
    let mut clients = cluster.clients(leader).await;
    write_and_compact(&mut clients, "d", false).await;
    // The third one is not done with it, and will not be before it is killed.
    let mut its = cluster.clients(third).await;
    until("the compaction at the third", async || {
        let mut old = range("a", "");
        (old.revision, old.serializable) = (2, true);
        let read = its.kv.range(old).await;
        read.is_err_and(|status| status.message() == COMPACTED.1)
    })
    .await;
    cluster.kill(third);
    cluster.kill(leader);
    cluster.add_flags(third, &["--compaction-sleep-interval=1ms"]);
    cluster.start_these(&[leader, third]);
    let leader = cluster.leader(&[0, 1, 2]).await;
    until_alarm(&cluster, leader).await;
}

#[tokio::test]
async fn a_compaction_and_its_check_are_told_when_they_are_finished() {
    let flags = [
        "--feature-gates=CompactHashCheck=true",
        "--compact-hash-check-time=1s",
    ];
    let server = Server::start(&flags);
    let mut clients = server.clients().await;
    write_and_compact(&mut clients, "a", true).await;
    for told in [
        "finished scheduled compaction",
        "finished compaction hash check",
    ] {
        until(told, async || server.log().contains(told)).await;
    }
}
