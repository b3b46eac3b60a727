//! Maintenance, Cluster and health: what operators and their tools ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cairn_proto::etcdserverpb::{
    CompactionRequest, DefragmentRequest, HashKvRequest, HashRequest, MemberListRequest,
    MoveLeaderRequest, SnapshotRequest, StatusRequest,
};
use cairn_proto::health::HealthCheckRequest;
use cairn_proto::health::health_check_response::ServingStatus;
use cairn_proto::health::health_client::HealthClient;
use sha2::{Digest, Sha256};
use tonic::Code;

use crate::harness::{Clients, Server};
use crate::requests::*;

#[tokio::test]
async fn status_and_members_agree_about_who_serves() {
    let server = Server::start(&["--name=alone"]);
    let clients = server.clients().await;
    let mut kv = clients.kv.clone();
    let mut maintenance = clients.maintenance.clone();
    let before = maintenance
        .status(StatusRequest {})
        .await
        .unwrap()
        .into_inner();
    kv.put(put("a", &"v".repeat(100_000))).await.unwrap();
    let status = maintenance
        .status(StatusRequest {})
        .await
        .unwrap()
        .into_inner();
    let header = status.header.unwrap();
    assert_eq!(header.revision, 2);
    assert_eq!(status.leader, header.member_id);
    assert_eq!(status.raft_term, header.raft_term);
    assert!(status.raft_index > before.raft_index);
    assert_eq!(status.raft_applied_index, status.raft_index);
    assert!(status.db_size > 0 && status.db_size_in_use > 0);
    assert!(status.version.starts_with("3.") && status.storage_version.starts_with("3."));
    assert!(status.errors.is_empty() && !status.is_learner);
    for linearizable in [false, true] {
        let request = MemberListRequest { linearizable };
        let answer = clients
            .cluster
            .clone()
            .member_list(request)
            .await
            .unwrap()
            .into_inner();
        let [member] = &answer.members[..] else {
            panic!("one member: {answer:?}");
        };
        assert_eq!(
            (member.id, member.name.as_str()),
            (header.member_id, "alone")
        );
        assert_eq!(member.client_urls, ["http://127.0.0.1:0"]);
        assert!(!member.is_learner && member.peer_urls.len() == 1);
    }
}

#[tokio::test]
async fn leadership_moves_to_the_leader_and_to_nobody_unknown() {
    let server = Server::start(&[]);
    let mut maintenance = server.clients().await.maintenance;
    let status = maintenance
        .status(StatusRequest {})
        .await
        .unwrap()
        .into_inner();
    let to = |target_id| MoveLeaderRequest { target_id };
    maintenance
        .move_leader(to(status.leader))
        .await
        .expect("the leader leads already");
    let bad = (
        Code::FailedPrecondition,
        "etcdserver: bad leader transferee",
    );
    refused(
        maintenance.move_leader(to(status.leader + 1)).await,
        bad,
        "unknown",
    );
    refused(maintenance.move_leader(to(0)).await, bad, "nobody");
}

#[tokio::test]
async fn health_is_serving_and_knows_no_other_service() {
    let server = Server::start(&[]);
    let mut health = HealthClient::new(server.clients().await.channel);
    let named = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = health.check(named("")).await.unwrap().into_inner();
    assert_eq!(answer.status, i32::from(ServingStatus::Serving));
    let unknown = health.check(named("etcdserverpb.KV")).await.unwrap_err();
    assert_eq!(error(&unknown), (Code::NotFound, "unknown service"));
    let mut watched = health.watch(named("")).await.unwrap().into_inner();
    let first = watched.message().await.unwrap().unwrap();
    assert_eq!(first.status, i32::from(ServingStatus::Serving));
}

#[tokio::test]
async fn hashes_stay_the_same_while_nothing_is_written() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    let mut maintenance = clients.maintenance.clone();
    clients.kv.clone().put(put("a", "1")).await.unwrap();
    let first = maintenance.hash(HashRequest {}).await.unwrap().into_inner();
    let again = maintenance.hash(HashRequest {}).await.unwrap().into_inner();
    assert_eq!(
        (first.hash, first.header.unwrap().revision),
        (again.hash, 2)
    );
    let at = |revision| HashKvRequest { revision };
    let old = maintenance.hash_kv(at(2)).await.unwrap().into_inner();
    clients.kv.clone().put(put("a", "2")).await.unwrap();
    let new = maintenance.hash_kv(at(0)).await.unwrap().into_inner();
    assert_ne!(old.hash, new.hash);
    assert_eq!(
        maintenance.hash_kv(at(2)).await.unwrap().into_inner().hash,
        old.hash
    );
}

#[tokio::test]
async fn a_snapshot_is_whole_and_checked_while_writes_and_a_defragmentation_go_on() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    let mut kv = clients.kv.clone();
    let value = "v".repeat(1000);
    for batch in 0..50 {
        let puts = (0..100).map(|n| put_op(&format!("k{batch:02}{n:02}"), &value));
        kv.txn(then(puts.collect())).await.unwrap();
    }
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (mut kv, done) = (clients.kv.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let mut written = 0;
            while !done.load(Ordering::Relaxed) {
                kv.put(put("during", &written.to_string())).await.unwrap();
                written += 1;
            }
            written
        })
    };
    let mut defragmenting = clients.maintenance.clone();
    let defragmentation =
        tokio::spawn(async move { defragmenting.defragment(DefragmentRequest {}).await });
    let mut maintenance = clients.maintenance.clone();
    let mut stream = maintenance
        .snapshot(SnapshotRequest {})
        .await
        .unwrap()
        .into_inner();
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.message().await.unwrap() {
        assert_eq!(chunk.version, "3.7.0");
        chunks.push(chunk);
    }
    done.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 0, "writes went on");
    defragmentation.await.unwrap().unwrap();
    let digest = chunks.pop().unwrap();
    let total: usize = chunks.iter().map(|chunk| chunk.blob.len()).sum();
    let mut left = total as u64;
    for chunk in &chunks {
        left -= chunk.blob.len() as u64;
        assert_eq!(chunk.remaining_bytes, left);
    }
    assert_eq!((left, digest.remaining_bytes), (0, 0));
    let file: Vec<u8> = chunks
        .iter()
        .flat_map(|chunk| chunk.blob.to_vec())
        .collect();
    assert_eq!(Sha256::digest(&file).as_slice(), digest.blob.as_ref());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot.db");
    std::fs::write(&path, &file).unwrap();
    let status = cairn_migrate::snapshot_status(&path, &mut cairn_migrate::NoProgress).unwrap();
    assert!(status.total_keys >= 5000, "{status:?}");
}

/// etcd 3.7 answers for a compacted revision with the hash from before the compaction, until it is
/// started again.
#[tokio::test]
async fn a_compacted_revision_has_the_hash_that_it_had_before_until_a_restart() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    let mut kv = clients.kv.clone();
    for value in ["1", "2", "3"] {
        kv.put(put("k", value)).await.unwrap();
    }
    let hash_at = async |clients: &Clients| {
        let mut maintenance = clients.maintenance.clone();
        let answer = maintenance.hash_kv(HashKvRequest { revision: 3 }).await;
        let answer = answer.unwrap().into_inner();
        (answer.hash, answer.compact_revision, answer.hash_revision)
    };
    let before = hash_at(&clients).await;
    assert_eq!((before.1, before.2), (-1, 3));
    let compaction = CompactionRequest {
        revision: 3,
        physical: true,
    };
    kv.compact(compaction).await.unwrap();
    assert_eq!(hash_at(&clients).await, before);
    let server = server.kill().start();
    let after = hash_at(&server.clients().await).await;
    assert_eq!((after.1, after.2), (3, 3));
    assert_ne!(after.0, before.0);
}
