//! A learner, and a member that joins: what they serve, and from when on.

use std::thread;

use cairn_proto::etcdserverpb::kv_client::KvClient;
use cairn_proto::etcdserverpb::lease_client::LeaseClient;
use cairn_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use cairn_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, MemberAddRequest, MemberListRequest,
    MemberPromoteRequest, RangeRequest, SnapshotRequest, StatusRequest, WatchRequest,
};
use tonic::transport::Endpoint;
use tonic::{Code, Status};

use crate::cluster_harness::{Cluster, get, put, status};
use crate::harness::{Place, Server, until};
use crate::metrics::total;
use crate::requests::{self, range};
use cairn_testbed::ports::free_address;

const REFUSED: &str = "etcdserver: rpc not supported for learner";

/// Adds a member to a cluster of one, and says how it is started.
async fn added(cluster: &Cluster, is_learner: bool, client_url: &str) -> (u64, Place) {
    let url = format!("http://{}", free_address().unwrap());
    let mut members = cluster.clients(0).await.cluster;
    let add = MemberAddRequest {
        peer_urls: vec![url.clone()],
        is_learner,
    };
    let added = members.member_add(add).await.unwrap().into_inner();
    let initial = format!("m0={},new={url}", cluster.peer_url(0));
    let place = Place::new(&[
        "--name=new",
        "--initial-cluster-state=existing",
        &format!("--initial-cluster={initial}"),
        &format!("--listen-peer-urls={url}"),
        &format!("--initial-advertise-peer-urls={url}"),
        &format!("--listen-client-urls={client_url}"),
        &format!("--advertise-client-urls={client_url}"),
    ]);
    (added.member.unwrap().id, place)
}

fn is_refused<T>(answer: Result<T, Status>, what: &str) {
    let refusal = answer.err().unwrap_or_else(|| panic!("{what} is served"));
    assert_eq!(
        (refusal.code(), refusal.message()),
        (Code::FailedPrecondition, REFUSED),
        "{what}"
    );
}

/// etcd 3.7: `Status`, serializable ranges and `Snapshot` are served, all else is refused, until the
/// learner is promoted.
#[tokio::test]
async fn a_learner_refuses_what_etcds_refuses_until_it_is_promoted() {
    let cluster = Cluster::start(1, &[]);
    let mut leader = cluster.clients(0).await;
    put(&mut leader, "k", "v").await.unwrap();
    let (id, place) = added(&cluster, true, "http://127.0.0.1:0").await;
    let learner: Server = place.start();
    let mut clients = learner.clients().await;
    let serializable = RangeRequest {
        serializable: true,
        ..range("k", "")
    };
    let answer = clients.kv.range(serializable).await.unwrap().into_inner();
    assert_eq!(answer.kvs[0].value, "v");
    assert!(status(&mut clients).await.unwrap().is_learner);
    let snapshot = clients.maintenance.snapshot(SnapshotRequest {}).await;
    assert!(snapshot.unwrap().into_inner().message().await.is_ok());
    is_refused(
        clients.kv.range(range("k", "")).await,
        "a linearizable range",
    );
    is_refused(clients.kv.put(requests::put("k", "w")).await, "a put");
    is_refused(
        clients.kv.txn(requests::then(vec![])).await,
        "a transaction",
    );
    let listed = clients.cluster.member_list(MemberListRequest::default());
    is_refused(listed.await, "a list of members");
    let mut leases = LeaseClient::new(clients.channel.clone());
    let grant = LeaseGrantRequest { id: 7, ttl: 90 };
    is_refused(leases.lease_grant(grant).await, "a grant");
    let renewal = tokio_stream::once(LeaseKeepAliveRequest { id: 7 });
    is_refused(leases.lease_keep_alive(renewal).await, "a renewal");
    let create = tokio_stream::once(WatchRequest::default());
    is_refused(clients.watch.watch(create).await, "a watch");

    until("the promotion", async || {
        let promote = MemberPromoteRequest { id };
        leader.cluster.member_promote(promote).await.is_ok()
    })
    .await;
    let promoted = "etcd_server_learner_promote_successes";
    assert!(total(cluster.member(0), promoted) > 0.0);
    until("the learner votes", async || {
        put(&mut clients, "k", "w").await.is_ok()
    })
    .await;
    let value = get(&mut clients, "k").await.unwrap();
    assert_eq!(value.as_deref(), Some("w"));
}

/// etcd 3.7 serves clients when the member has published itself through the log. Until then there is no
/// answer, also none from an empty store.
#[tokio::test]
async fn a_joining_member_without_data_answers_nobody_before_it_has_caught_up() {
    let cluster = Cluster::start(1, &[]);
    let mut leader = cluster.clients(0).await;
    let mut revision = 0;
    for number in 0..200 {
        let key = format!("k{number}");
        revision = put(&mut leader, &key, "v").await.unwrap();
    }
    let url = format!("http://{}", free_address().unwrap());
    let (_, place) = added(&cluster, false, &url).await;
    let starting = thread::spawn(move || place.start());
    let mut seen = Vec::new();
    until("an answer", async || {
        let endpoint = Endpoint::from_shared(url.clone()).unwrap();
        let Ok(channel) = endpoint.connect().await else {
            return false;
        };
        let mut maintenance = MaintenanceClient::new(channel.clone());
        let mut kv = KvClient::new(channel);
        for _ in 0..20 {
            let status = maintenance.status(StatusRequest::default()).await;
            if let Ok(status) = status {
                seen.push(status.into_inner().header.unwrap().revision);
            }
            let read = RangeRequest {
                serializable: true,
                ..range("k199", "")
            };
            if let Ok(read) = kv.range(read).await {
                assert_eq!(read.into_inner().kvs.len(), 1);
            }
        }
        !seen.is_empty()
    })
    .await;
    assert!(seen.iter().all(|it| *it >= revision), "{seen:?}");
    drop(starting.join().unwrap());
}
