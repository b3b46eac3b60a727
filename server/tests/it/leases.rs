//! Leases as clients see them.

use cairn_proto::etcdserverpb::lease_client::LeaseClient;
use cairn_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, PutRequest, WatchCreateRequest, WatchRequest,
    watch_request::RequestUnion,
};
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::harness::{Clients, Place, Server, until};
use crate::requests::{all, put};

const NOT_FOUND: (Code, &str) = (Code::NotFound, "etcdserver: requested lease not found");

fn leases(clients: &Clients) -> LeaseClient<Channel> {
    LeaseClient::new(clients.channel.clone())
}

fn told(status: &Status) -> (Code, &str) {
    (status.code(), status.message())
}

async fn grant(clients: &Clients, id: i64, ttl: i64) -> Result<(i64, i64), Status> {
    let grant = LeaseGrantRequest { ttl, id };
    let granted = leases(clients).lease_grant(grant).await?.into_inner();
    Ok((granted.id, granted.ttl))
}

async fn revoke(clients: &Clients, id: i64) -> Result<i64, Status> {
    let revoked = leases(clients)
        .lease_revoke(LeaseRevokeRequest { id })
        .await?;
    Ok(revoked.into_inner().header.unwrap().revision)
}

async fn time_to_live(clients: &Clients, id: i64) -> LeaseTimeToLiveResponse {
    let request = LeaseTimeToLiveRequest { id, keys: true };
    let answer = leases(clients).lease_time_to_live(request).await;
    answer.unwrap().into_inner()
}

async fn listed(clients: &Clients) -> Vec<i64> {
    let answer = leases(clients).lease_leases(LeaseLeasesRequest {}).await;
    let leases = answer.unwrap().into_inner().leases;
    leases.into_iter().map(|lease| lease.id).collect()
}

async fn keep_alive(clients: &Clients, ids: &[i64]) -> Vec<i64> {
    let requests: Vec<_> = ids
        .iter()
        .map(|id| LeaseKeepAliveRequest { id: *id })
        .collect();
    let mut leases = leases(clients);
    let answers = leases.lease_keep_alive(tokio_stream::iter(requests)).await;
    let answers = answers.unwrap().into_inner();
    let answers: Vec<_> = answers.map(|answer| answer.unwrap()).collect().await;
    assert_eq!(answers.iter().map(|it| it.id).collect::<Vec<_>>(), ids);
    answers.into_iter().map(|answer| answer.ttl).collect()
}

async fn put_with_lease(clients: &Clients, key: &str, lease: i64) -> Result<i64, Status> {
    let put = PutRequest {
        lease,
        ..put(key, "v")
    };
    let answer = clients.kv.clone().put(put).await?.into_inner();
    Ok(answer.header.unwrap().revision)
}

async fn keys(clients: &Clients) -> Vec<String> {
    let kvs = clients
        .kv
        .clone()
        .range(all())
        .await
        .unwrap()
        .into_inner()
        .kvs;
    let keys = kvs.into_iter().map(|kv| String::from_utf8(kv.key.to_vec()));
    keys.map(Result::unwrap).collect()
}

#[tokio::test]
async fn grants_are_raised_numbered_and_refused_as_etcd_does() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    assert_eq!(grant(&clients, 5, 60).await.unwrap(), (5, 60));
    assert_eq!(grant(&clients, -7, 1).await.unwrap(), (-7, 2));
    assert_eq!(grant(&clients, 6, -9).await.unwrap(), (6, 2));
    let (chosen, _) = grant(&clients, 0, 60).await.unwrap();
    assert!(chosen > 0);
    let exists = grant(&clients, 5, 60).await.unwrap_err();
    let expected = (Code::FailedPrecondition, "etcdserver: lease already exists");
    assert_eq!(told(&exists), expected);
    let long = grant(&clients, 8, 9_000_000_001).await.unwrap_err();
    let expected = (Code::OutOfRange, "etcdserver: too large lease TTL");
    assert_eq!(told(&long), expected);
    let unknown = put_with_lease(&clients, "k", 99).await.unwrap_err();
    assert_eq!(told(&unknown), NOT_FOUND);
    assert!(keys(&clients).await.is_empty());
}

#[tokio::test]
async fn a_revoked_lease_takes_its_keys_with_it_sorted_and_in_one_revision() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    for id in [1, 2] {
        grant(&clients, id, 60).await.unwrap();
    }
    let create = WatchCreateRequest {
        key: "a".into(),
        range_end: "z".into(),
        ..WatchCreateRequest::default()
    };
    let create = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    let requests = tokio_stream::iter([create]).chain(tokio_stream::pending());
    let events = clients.watch.clone().watch(requests).await.unwrap();
    let mut events = events.into_inner();
    assert!(events.next().await.unwrap().unwrap().created);
    for key in ["c", "a", "b", "moved", "detached", "deleted"] {
        put_with_lease(&clients, key, 1).await.unwrap();
    }
    put_with_lease(&clients, "moved", 2).await.unwrap();
    put_with_lease(&clients, "detached", 0).await.unwrap();
    let delete = crate::requests::delete("deleted", "");
    clients.kv.clone().delete_range(delete).await.unwrap();
    assert_eq!(time_to_live(&clients, 1).await.keys, ["a", "b", "c"]);
    assert_eq!(revoke(&clients, 1).await.unwrap(), 11);
    assert_eq!(keys(&clients).await, ["detached", "moved"]);
    let mut deleted = Vec::new();
    while deleted.len() < 4 {
        let events = events.next().await.unwrap().unwrap().events;
        let deletions = events.into_iter().filter(|event| event.r#type == 1);
        deleted.extend(
            deletions
                .map(|event| event.kv.unwrap())
                .map(|kv| (kv.key, kv.mod_revision)),
        );
    }
    assert_eq!(
        deleted[1..],
        [("a".into(), 11), ("b".into(), 11), ("c".into(), 11)]
    );
    // A lease without keys changes nothing.
    grant(&clients, 3, 60).await.unwrap();
    assert_eq!(revoke(&clients, 3).await.unwrap(), 11);
    assert_eq!(told(&revoke(&clients, 3).await.unwrap_err()), NOT_FOUND);
    assert_eq!(told(&revoke(&clients, 0).await.unwrap_err()), NOT_FOUND);
}

#[tokio::test]
async fn a_lease_lives_while_it_is_kept_alive_and_no_longer() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    for (id, key) in [(1, "kept"), (2, "left")] {
        grant(&clients, id, 2).await.unwrap();
        put_with_lease(&clients, key, id).await.unwrap();
    }
    until("a lease expires", || async {
        assert_eq!(keep_alive(&clients, &[1]).await, [2], "renewed in time");
        keys(&clients).await == ["kept"]
    })
    .await;
    assert_eq!(listed(&clients).await, [1]);
    assert_eq!(keep_alive(&clients, &[2, 1, 77, 0]).await, [0, 2, 0, 0]);
    let gone = time_to_live(&clients, 2).await;
    assert_eq!((gone.id, gone.ttl, gone.granted_ttl), (2, -1, 0));
    let kept = time_to_live(&clients, 1).await;
    assert_eq!((kept.granted_ttl, kept.keys), (2, vec!["kept".into()]));
    until("the other expires too", || async {
        listed(&clients).await.is_empty()
    })
    .await;
    assert!(keys(&clients).await.is_empty());
}

#[tokio::test]
async fn many_renewals_on_one_stream_are_answered_in_order() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    grant(&clients, 1, 60).await.unwrap();
    let ids: Vec<i64> = (0..5000).map(|number| number % 3).collect();
    let expected: Vec<i64> = ids.iter().map(|id| if *id == 1 { 60 } else { 0 }).collect();
    assert_eq!(keep_alive(&clients, &ids).await, expected);
}

#[tokio::test]
async fn leases_and_their_keys_are_there_after_a_crash() {
    let server = Place::new(&[]).start();
    let clients = server.clients().await;
    grant(&clients, 1, 600).await.unwrap();
    grant(&clients, 2, 2).await.unwrap();
    put_with_lease(&clients, "long", 1).await.unwrap();
    put_with_lease(&clients, "short", 2).await.unwrap();
    let server = server.kill().start();
    let clients = server.clients().await;
    until("what was short expires", || async {
        listed(&clients).await == [1]
    })
    .await;
    assert_eq!(keys(&clients).await, ["long"]);
    assert_eq!(time_to_live(&clients, 1).await.keys, ["long"]);
    revoke(&clients, 1).await.unwrap();
    assert!(keys(&clients).await.is_empty());
}
