//! Locks and elections by name, as clients see them.

use std::time::Duration;

use cairn_proto::etcdserverpb::lease_client::LeaseClient;
use cairn_proto::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest};
use cairn_proto::v3electionpb::election_client::ElectionClient;
use cairn_proto::v3electionpb::{
    CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest,
};
use cairn_proto::v3lockpb::lock_client::LockClient;
use cairn_proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest};
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::harness::{Clients, Server, until};
use crate::requests::all;

async fn grant(clients: &Clients, id: i64, ttl: i64) {
    let mut leases = LeaseClient::new(clients.channel.clone());
    leases
        .lease_grant(LeaseGrantRequest { ttl, id })
        .await
        .unwrap();
}

async fn revoke(clients: &Clients, id: i64) {
    let mut leases = LeaseClient::new(clients.channel.clone());
    leases
        .lease_revoke(LeaseRevokeRequest { id })
        .await
        .unwrap();
}

async fn lock(clients: &Clients, name: &str, lease: i64) -> Result<LockResponse, Status> {
    let mut locks = LockClient::new(clients.channel.clone());
    let name = name.to_owned().into();
    let locked = locks.lock(LockRequest { name, lease }).await?;
    Ok(locked.into_inner())
}

async fn unlock(clients: &Clients, key: &'static str) -> Result<(), Status> {
    let mut locks = LockClient::new(clients.channel.clone());
    locks.unlock(UnlockRequest { key: key.into() }).await?;
    Ok(())
}

/// Waits until so many keys are there.
async fn until_keys(clients: &Clients, count: i64) {
    until("as many keys", || async {
        let answer = clients.kv.clone().range(all()).await.unwrap();
        answer.into_inner().count == count
    })
    .await;
}

fn election(clients: &Clients) -> ElectionClient<Channel> {
    ElectionClient::new(clients.channel.clone())
}

async fn campaign(clients: &Clients, lease: i64, value: &'static str) -> Result<LeaderKey, Status> {
    let request = CampaignRequest {
        name: "e".into(),
        lease,
        value: value.into(),
    };
    let answer = election(clients).campaign(request).await?.into_inner();
    Ok(answer.leader.unwrap())
}

fn told(status: &Status) -> (Code, &str) {
    (status.code(), status.message())
}

#[tokio::test]
async fn a_lock_passes_on_in_the_order_of_those_who_wait() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    for id in [0xa, 0xb, 0xc] {
        grant(&clients, id, 600).await;
    }
    let first = lock(&clients, "n", 0xa).await.unwrap();
    assert_eq!(first.key, "n/a");
    assert_eq!(
        lock(&clients, "n", 0xa).await.unwrap().key,
        "n/a",
        "once more"
    );
    let mut waiting = Vec::new();
    for (lease, count) in [(0xb, 2), (0xc, 3)] {
        let clients = clients.clone();
        waiting.push(tokio::spawn({
            let clients = clients.clone();
            async move { lock(&clients, "n", lease).await }
        }));
        until_keys(&clients, count).await;
    }
    let [second, third] = waiting.try_into().unwrap();
    unlock(&clients, "n/a").await.unwrap();
    assert_eq!(second.await.unwrap().unwrap().key, "n/b");
    assert!(!third.is_finished());
    unlock(&clients, "n/b").await.unwrap();
    assert_eq!(third.await.unwrap().unwrap().key, "n/c");
}

#[tokio::test]
async fn a_session_that_expires_while_it_waits_never_gets_the_lock() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    grant(&clients, 1, 600).await;
    grant(&clients, 2, 2).await;
    lock(&clients, "n", 1).await.unwrap();
    let waited = lock(&clients, "n", 2).await.unwrap_err();
    assert_eq!(told(&waited), (Code::Unknown, "mutex: session is expired"));
    until_keys(&clients, 1).await;
    // The same, when the one in front goes at the same moment.
    grant(&clients, 3, 600).await;
    let waiting = tokio::spawn({
        let clients = clients.clone();
        async move { lock(&clients, "n", 3).await }
    });
    until_keys(&clients, 2).await;
    revoke(&clients, 3).await;
    revoke(&clients, 1).await;
    let waited = waiting.await.unwrap().unwrap_err();
    assert_eq!(told(&waited), (Code::Unknown, "mutex: session is expired"));
    let unknown = lock(&clients, "n", 99).await.unwrap_err();
    let expected = (Code::Unknown, "etcdserver: requested lease not found");
    assert_eq!(told(&unknown), expected);
}

#[tokio::test]
async fn without_a_lease_the_server_grants_one_of_a_minute() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    let locked = lock(&clients, "n", 0).await.unwrap();
    let id = std::str::from_utf8(&locked.key)
        .unwrap()
        .strip_prefix("n/")
        .unwrap();
    let id = i64::from_str_radix(id, 16).unwrap();
    let request = cairn_proto::etcdserverpb::LeaseTimeToLiveRequest { id, keys: true };
    let mut leases = LeaseClient::new(clients.channel.clone());
    let left = leases
        .lease_time_to_live(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((left.granted_ttl, left.keys), (60, vec![locked.key]));
}

#[tokio::test]
async fn who_gives_up_waiting_leaves_the_queue() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    grant(&clients, 1, 600).await;
    grant(&clients, 2, 600).await;
    lock(&clients, "n", 1).await.unwrap();
    let short = Duration::from_millis(300);
    let waited = tokio::time::timeout(short, lock(&clients, "n", 2)).await;
    assert!(waited.is_err());
    until_keys(&clients, 1).await;
}

#[tokio::test]
async fn leaders_campaign_proclaim_and_resign() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    for id in [0xa, 0xb] {
        grant(&clients, id, 600).await;
    }
    let name = || LeaderRequest { name: "e".into() };
    let none = election(&clients).leader(name()).await.unwrap_err();
    assert_eq!(told(&none), (Code::Unknown, "election: no leader"));
    let observed = election(&clients).observe(name()).await.unwrap();
    let mut observed = observed.into_inner();
    let leader = campaign(&clients, 0xa, "one").await.unwrap();
    assert_eq!((&leader.key[..], leader.lease), (&b"e/a"[..], 0xa));
    assert_eq!(
        observed.next().await.unwrap().unwrap().kv.unwrap().value,
        "one"
    );
    let next = tokio::spawn({
        let clients = clients.clone();
        async move { campaign(&clients, 0xb, "two").await }
    });
    until_keys(&clients, 2).await;
    let proclaim = ProclaimRequest {
        leader: Some(leader.clone()),
        value: "uno".into(),
    };
    election(&clients).proclaim(proclaim.clone()).await.unwrap();
    assert_eq!(
        observed.next().await.unwrap().unwrap().kv.unwrap().value,
        "uno"
    );
    let resign = ResignRequest {
        leader: Some(leader),
    };
    election(&clients).resign(resign).await.unwrap();
    let next = next.await.unwrap().unwrap();
    assert_eq!(next.key, "e/b");
    let kv = observed.next().await.unwrap().unwrap().kv.unwrap();
    assert_eq!((kv.value, kv.create_revision), ("two".into(), next.rev));
    let deposed = election(&clients).proclaim(proclaim).await.unwrap_err();
    assert_eq!(told(&deposed), (Code::Unknown, "election: not leader"));
    assert_eq!(campaign(&clients, 0xb, "due").await.unwrap().rev, next.rev);
    let kv = election(&clients)
        .leader(name())
        .await
        .unwrap()
        .into_inner()
        .kv
        .unwrap();
    assert_eq!(kv.value, "due");
}

/// A malformed request panicked once in etcd, which took the server with it.
#[tokio::test]
async fn malformed_elections_are_refused() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    let missing = (Code::Unknown, "\"leader\" field must be provided");
    let proclaimed = election(&clients)
        .proclaim(ProclaimRequest::default())
        .await;
    assert_eq!(told(&proclaimed.unwrap_err()), missing);
    let resigned = election(&clients).resign(ResignRequest::default()).await;
    assert_eq!(told(&resigned.unwrap_err()), missing);
    let empty = ProclaimRequest {
        leader: Some(LeaderKey::default()),
        value: "v".into(),
    };
    let refused = election(&clients).proclaim(empty).await.unwrap_err();
    let expected = (Code::Unknown, "etcdserver: key is not provided");
    assert_eq!(told(&refused), expected);
    assert_eq!(told(&unlock(&clients, "").await.unwrap_err()), expected);
}
