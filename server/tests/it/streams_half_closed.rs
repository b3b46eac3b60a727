//! Streams whose client has said all it has to say and goes on listening, as `grpcurl -d` and an iterator
//! of one request do; and requests on a stream that are none.

use bytes::Bytes;
use cairn_proto::etcdserverpb::lease_client::LeaseClient;
use cairn_proto::etcdserverpb::watch_request::RequestUnion;
use cairn_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, WatchCreateRequest, WatchRequest,
};
use tonic::{Code, Status};

use crate::absurd_clients::{call, connect};
use crate::harness::{PATIENCE, Server};
use crate::requests::*;

fn create(key: &'static str) -> WatchRequest {
    WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
            key: key.into(),
            ..WatchCreateRequest::default()
        })),
    }
}

/// etcd 3.7 goes on with a watch until its client leaves.
#[tokio::test]
async fn a_watch_goes_on_when_its_client_has_nothing_more_to_ask() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    let mut watch = clients.watch.clone();
    let opened = watch.watch(tokio_stream::once(create("k"))).await;
    let mut answers = opened.unwrap().into_inner();
    assert!(answers.message().await.unwrap().unwrap().created);
    let mut kv = clients.kv.clone();
    for value in ["one", "two"] {
        kv.put(put("k", value)).await.unwrap();
        let next = tokio::time::timeout(PATIENCE, answers.message()).await;
        let events = next.expect("in time").unwrap().expect("it goes on").events;
        assert_eq!(events[0].kv.as_ref().unwrap().value, value);
    }
}

/// etcd 3.7 answers what it was asked, and ends the call with OK.
#[tokio::test]
async fn renewals_are_all_answered_when_their_client_has_nothing_more_to_ask() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    let mut leases = LeaseClient::new(clients.channel.clone());
    let grant = LeaseGrantRequest { id: 7, ttl: 90 };
    leases.lease_grant(grant).await.unwrap();
    let asked = [7, 8, 7].map(|id| LeaseKeepAliveRequest { id });
    let call = leases.lease_keep_alive(tokio_stream::iter(asked)).await;
    let mut answers = call.unwrap().into_inner();
    for (id, ttl) in [(7, 90), (8, 0), (7, 90)] {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!((answer.id, answer.ttl), (id, ttl));
    }
    assert!(answers.message().await.unwrap().is_none());
}

/// etcd 3.7 ends such a stream with code 13 and what its decoder says.
#[tokio::test]
async fn a_request_on_a_stream_that_cannot_be_read_ends_it_with_an_error() {
    let server = Server::start(&[]);
    for method in ["Watch/Watch", "Lease/LeaseKeepAlive"] {
        let (mut requests, connection) = connect(&server, &h2::client::Builder::new()).await;
        let call = call(&server, &format!("/etcdserverpb.{method}"));
        let (answer, mut body) = requests.send_request(call, false).unwrap();
        // A length that goes beyond the message.
        let torn = Bytes::from_static(&[0, 0, 0, 0, 2, 0x0a, 9]);
        body.send_data(torn, false).unwrap();
        let mut answer = answer.await.unwrap().into_body();
        while let Some(data) = answer.data().await {
            let length = data.unwrap().len();
            answer.flow_control().release_capacity(length).unwrap();
        }
        let trailers = answer.trailers().await.unwrap().expect("trailers");
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!(status.code(), Code::Internal, "{method}: {status}");
        connection.abort();
    }
}
