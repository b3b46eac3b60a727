//! What clients ask for beside their requests: a leader, an answer in time.

use cairn_proto::etcdserverpb::WatchCreateRequest;
use http::HeaderValue;
use tonic::{Code, Request};

use crate::absurd_clients::{call, connect};
use crate::cluster_harness::Cluster;
use crate::harness::{Server, until};
use crate::requests::{error, put, range};
use crate::watches::Watching;

const NO_LEADER: (Code, &str) = (Code::Unavailable, "etcdserver: no leader");

#[tokio::test]
async fn a_member_that_leads_answers_calls_that_ask_for_a_leader() {
    let server = Server::start(&[]);
    let mut clients = server.clients().await;
    let mut request = Request::new(put("a", "b"));
    let metadata = request.metadata_mut();
    metadata.insert("hasleader", "true".parse().unwrap());
    clients.kv.put(request).await.unwrap();
    let mut stream = Watching::open_with(&clients, &[("hasleader", "true")]).await;
    let request = WatchCreateRequest {
        key: "a".into(),
        start_revision: 2,
        ..WatchCreateRequest::default()
    };
    stream.create(request).await;
    assert!(stream.next().await.created);
    assert_eq!(stream.next().await.events.len(), 1);
}

#[tokio::test]
async fn a_member_that_is_cut_off_refuses_calls_that_ask_for_a_leader_and_ends_their_streams() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.leader(&[0, 1, 2]).await;
    let clients = cluster.clients(0).await;
    let mut stream = Watching::open_with(&clients, &[("hasleader", "true")]).await;
    let mut patient = Watching::open(&clients).await;
    for stream in [&mut stream, &mut patient] {
        let request = WatchCreateRequest {
            key: "a".into(),
            ..WatchCreateRequest::default()
        };
        stream.create(request).await;
        assert!(stream.next().await.created);
    }
    cluster.kill(1);
    cluster.kill(2);
    assert_eq!(error(&stream.ended().await), NO_LEADER);
    let asking = || {
        let mut request = Request::new(range("a", ""));
        let metadata = request.metadata_mut();
        metadata.insert("hasleader", "true".parse().unwrap());
        request.get_mut().serializable = true;
        request
    };
    let mut kv = clients.kv.clone();
    let refusal = kv.range(asking()).await.unwrap_err();
    assert_eq!(error(&refusal), NO_LEADER);
    let mut request = asking();
    request.metadata_mut().remove("hasleader");
    kv.range(request).await.unwrap();
    cluster.start_all();
    until("a leader", async || kv.range(asking()).await.is_ok()).await;
    kv.put(put("a", "b")).await.unwrap();
    assert_eq!(patient.next().await.events.len(), 1);
}

#[tokio::test]
async fn a_call_ends_when_its_time_is_over_and_at_once_if_it_names_no_time() {
    let server = Server::start(&[]);
    let (requests, _end) = connect(&server, &h2::client::Builder::new()).await;
    for (time, code) in [("1m", "4"), ("0n", "4"), ("soon", "13"), ("5", "13")] {
        let mut requests = requests.clone().ready().await.unwrap();
        let mut call = call(&server, "/etcdserverpb.KV/Put");
        let time = HeaderValue::from_static(time);
        call.headers_mut().insert("grpc-timeout", time.clone());
        // The message never comes.
        let (response, _stream) = requests.send_request(call, false).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.headers()["grpc-status"], code, "{time:?}");
    }
}

#[tokio::test]
async fn slow_requests_are_named_in_the_log() {
    let server = Server::start(&["--warning-unary-request-duration=1ns"]);
    let mut kv = server.clients().await.kv;
    kv.put(put("a", "b")).await.unwrap();
    kv.range(range("a", "")).await.unwrap();
    let said = |method: &str| {
        let log = server.log();
        let mut lines = log.lines().filter(|line| line.contains("request stats"));
        lines.any(|line| line.contains(method) && line.contains("127.0.0.1:"))
    };
    until("the lines", || async {
        said("/etcdserverpb.KV/Put") && said("/etcdserverpb.KV/Range")
    })
    .await;
}
