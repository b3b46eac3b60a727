//! Compaction at the edges, and what HashKV says of it.

use cairn_proto::etcdserverpb::{CompactionRequest, HashKvRequest, RangeRequest};
use tonic::Code;

use crate::harness::{Server, until};
use crate::requests::*;

fn at(revision: i64) -> CompactionRequest {
    CompactionRequest {
        revision,
        physical: true,
    }
}

#[tokio::test]
async fn compactions_at_the_edges_answer_as_etcd_does() {
    let server = Server::start(&[]);
    let mut kv = server.clients().await.kv;
    for value in ["1", "2", "3", "4", "5"] {
        kv.put(put("a", value)).await.unwrap();
    }
    kv.delete_range(delete("a", "")).await.unwrap();
    // In this order: the revision to compact at, and the refusal if it is one.
    let cases = [
        (-1, Some(COMPACTED)),
        (i64::MIN, Some(COMPACTED)),
        (0, None),
        (0, Some(COMPACTED)),
        (8, Some(FUTURE)),
        (i64::MAX, Some(FUTURE)),
        (1, None),
        (1, Some(COMPACTED)),
        (3, None),
        (2, Some(COMPACTED)),
        (3, Some(COMPACTED)),
        (0, Some(COMPACTED)),
        (7, None),
        (7, Some(COMPACTED)),
    ];
    for (revision, refusal) in cases {
        let case = format!("compact at {revision}");
        match (kv.compact(at(revision)).await, refusal) {
            (answer, Some(expected)) => refused(answer, expected, &case),
            (answer, None) => {
                let answer = answer.unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(answer.into_inner().header.unwrap().revision, 7, "{case}");
            }
        }
    }
    let read = |revision| RangeRequest {
        revision,
        ..range("a", "")
    };
    refused(
        kv.range(read(6)).await,
        COMPACTED,
        "below the compacted revision",
    );
    let answer = kv.range(read(7)).await.unwrap().into_inner();
    assert_eq!((answer.count, answer.header.unwrap().revision), (0, 7));
}

#[tokio::test]
async fn a_fresh_store_can_be_compacted_at_its_first_revision() {
    let server = Server::start(&[]);
    let mut kv = server.clients().await.kv;
    refused(kv.compact(at(2)).await, FUTURE, "nothing is written");
    kv.compact(at(1)).await.unwrap();
    refused(kv.compact(at(1)).await, COMPACTED, "again");
    let answer = kv.range(all()).await.unwrap().into_inner();
    assert_eq!(answer.header.unwrap().revision, 1);
}

#[tokio::test]
async fn reads_at_and_above_the_compacted_revision_are_as_before() {
    let server = Server::start(&[]);
    let mut kv = server.clients().await.kv;
    for round in 0..20 {
        for key in ["a", "b", "c", "d"] {
            kv.put(put(key, &round.to_string())).await.unwrap();
        }
        kv.delete_range(delete("b", "d")).await.unwrap();
    }
    let mut before = Vec::new();
    for revision in 50..=101 {
        let request = RangeRequest { revision, ..all() };
        before.push((
            request.clone(),
            kv.range(request).await.unwrap().into_inner(),
        ));
    }
    kv.compact(CompactionRequest {
        revision: 50,
        physical: false,
    })
    .await
    .unwrap();
    for _ in 0..2 {
        for (request, answer) in &before {
            let now = kv.range(request.clone()).await.unwrap().into_inner();
            assert_eq!(&now, answer, "at {}", request.revision);
        }
        // Answered when the deleting before it is done.
        let _ = kv.compact(at(50)).await;
    }
}

#[tokio::test]
async fn hash_kv_tells_contents_whatever_compaction_has_deleted_so_far() {
    let server = Server::start(&[]);
    let mut clients = server.clients().await;
    let kv = &mut clients.kv;
    for round in 0..50 {
        for key in ["a", "b", "c"] {
            kv.put(put(key, &round.to_string())).await.unwrap();
        }
        kv.delete_range(delete("b", "")).await.unwrap();
    }
    let hash_at = |revision| HashKvRequest { revision };
    let maintenance = &mut clients.maintenance;
    let newest = maintenance.hash_kv(hash_at(0)).await.unwrap().into_inner();
    assert_eq!(newest.hash_revision, 201);
    assert_eq!(newest.compact_revision, -1);
    kv.compact(CompactionRequest {
        revision: 150,
        physical: false,
    })
    .await
    .unwrap();
    let compacting = maintenance
        .hash_kv(hash_at(180))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (compacting.compact_revision, compacting.hash_revision),
        (150, 180)
    );
    assert_eq!(compacting.header.unwrap().revision, 201);
    for _ in 0..10 {
        let again = maintenance
            .hash_kv(hash_at(180))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(again.hash, compacting.hash);
    }
    refused(maintenance.hash_kv(hash_at(149)).await, COMPACTED, "below");
    refused(maintenance.hash_kv(hash_at(202)).await, FUTURE, "above");
    maintenance
        .defragment(cairn_proto::etcdserverpb::DefragmentRequest {})
        .await
        .unwrap();
    let again = maintenance
        .hash_kv(hash_at(180))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again.hash, compacting.hash, "after a defragmentation");
}

#[tokio::test]
async fn periodic_compaction_compacts_by_itself() {
    let server = Server::start(&["--auto-compaction-retention=1s"]);
    let mut kv = server.clients().await.kv;
    for value in ["1", "2", "3", "4"] {
        kv.put(put("a", value)).await.unwrap();
    }
    let old = RangeRequest {
        revision: 4,
        ..range("a", "")
    };
    until("revision 4 is compacted", || {
        let (mut kv, old) = (kv.clone(), old.clone());
        async move {
            kv.range(old)
                .await
                .is_err_and(|it| it.code() == Code::OutOfRange)
        }
    })
    .await;
    let answer = kv.range(range("a", "")).await.unwrap().into_inner();
    assert_eq!(pairs(&answer.kvs), ["a=4"]);
}
