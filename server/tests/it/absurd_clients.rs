//! Slow, broken and hostile clients: each costs itself an error, and others nothing.
//!
//! After whatever a client did, an ordinary one is served as before, and the server's memory has
//! stayed below a bound.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use cairn_proto::etcdserverpb::watch_request::RequestUnion;
use cairn_proto::etcdserverpb::{
    PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest, WatchRequest,
    WatchResponse, request_op,
};
use h2::Reason;
use h2::client::SendRequest;
use http::Request;
use prost::Message;
use rustix::process::{Resource, getrlimit, setrlimit};
use tonic::Code;

use crate::harness::{PATIENCE, Server, until};
use crate::http_client::request as page;

const MIB: u64 = 1 << 20;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Lets this process open as many sockets as the system allows.
pub(crate) fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// An ordinary client's put and read.
async fn assert_serves(server: &Server) {
    let mut kv = server.clients().await.kv;
    let begun = Instant::now();
    let put = PutRequest {
        key: "ordinary".into(),
        value: "client".into(),
        ..Default::default()
    };
    kv.put(put).await.unwrap();
    let range = RangeRequest {
        key: "ordinary".into(),
        ..Default::default()
    };
    let response = kv.range(range).await.unwrap().into_inner();
    assert_eq!(response.kvs[0].value, "client");
    let took = begun.elapsed();
    // Patience, not speed: the machine may be busy with other tests.
    assert!(took < PATIENCE, "{took:?}");
}

/// Everything that a server answers to `bytes`, after which the client says no more.
fn answer(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server may close before it has read all.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// Bytes without meaning, the same in every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// An HTTP/2 connection on which anything can be sent, and the end of it.
pub(crate) async fn connect(
    server: &Server,
    builder: &h2::client::Builder,
) -> (
    SendRequest<Bytes>,
    tokio::task::JoinHandle<Result<(), h2::Error>>,
) {
    let socket = tokio::net::TcpStream::connect(server.address())
        .await
        .unwrap();
    let (requests, connection) = builder.handshake(socket).await.unwrap();
    (requests, tokio::spawn(connection))
}

pub(crate) fn call(server: &Server, path: &str) -> Request<()> {
    Request::post(format!("http://{}{path}", server.address()))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

/// A gRPC message: its prefix and itself.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap();
    let mut bytes = vec![0];
    bytes.extend(length.to_be_bytes());
    bytes.extend(message);
    bytes.into()
}

#[tokio::test]
async fn noise_on_the_port_ends_its_connection_and_nothing_else() {
    let server = Server::start(&[]);
    let mut openings = vec![
        Vec::new(),
        b"GET".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX".to_vec(),
        PREFACE.to_vec(),
    ];
    for seed in 0..50 {
        openings.push(noise(seed, 4096));
        openings.push([PREFACE, &noise(seed, 4096)].concat());
        openings.push([PREFACE, &SETTINGS, &noise(seed, 4096)].concat());
        openings.push(
            [
                b"GET /version HTTP/1.1\r\nhost: ".to_vec(),
                noise(seed, 512),
            ]
            .concat(),
        );
    }
    for opening in openings {
        // Returning at all means that the server has closed.
        answer(server.address(), &opening);
    }
    assert_serves(&server).await;
    assert!(!server.log().contains(r#""level":"error""#));
}

#[tokio::test]
async fn what_is_no_grpc_gets_an_http_error() {
    let server = Server::start(&[]);
    for (request, status) in [
        (
            "GET /nope HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            "404",
        ),
        (
            "POST /etcdserverpb.KV/Put HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            "404",
        ),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", "400"),
    ] {
        let answer = answer(server.address(), request.as_bytes());
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let line = answer.lines().next().unwrap_or_default();
        assert_eq!(line.split(' ').nth(1), Some(status), "{request}: {answer}");
    }
    let long = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "y".repeat(1 << 20)
    );
    let answer = answer(server.address(), long.as_bytes());
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    assert_serves(&server).await;
}

#[tokio::test]
async fn calls_to_methods_that_nobody_knows_are_unimplemented() {
    let server = Server::start(&[]);
    let (requests, _end) = connect(&server, &h2::client::Builder::new()).await;
    for path in ["/etcdserverpb.KV/Nope", "/nobody.Knows/This", "/"] {
        let mut requests = requests.clone().ready().await.unwrap();
        let (response, _) = requests.send_request(call(&server, path), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["grpc-status"], "12", "{path}");
    }
}

/// How a call of one message ends.
async fn code(server: &Server, requests: &SendRequest<Bytes>, path: &str, message: Bytes) -> Code {
    let mut requests = requests.clone().ready().await.unwrap();
    let (response, mut stream) = requests.send_request(call(server, path), false).unwrap();
    // A server may refuse before it has taken all.
    let _ = stream.send_data(message, true);
    let Ok(response) = tokio::time::timeout(PATIENCE, response).await.unwrap() else {
        return Code::Internal;
    };
    if let Some(status) = response.headers().get("grpc-status") {
        return Code::from_bytes(status.as_bytes());
    }
    let mut body = response.into_body();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
    }
    let trailers = body.trailers().await.ok().flatten();
    let status = trailers.as_ref().and_then(|it| it.get("grpc-status"));
    status.map_or(Code::Internal, |status| Code::from_bytes(status.as_bytes()))
}

/// etcd 3.7 passes over a known field of another wire type, as over one that it does not know.
#[tokio::test]
async fn a_field_of_another_wire_type_is_passed_over_by_every_service() {
    let server = Server::start(&[]);
    let (requests, _end) = connect(&server, &h2::client::Builder::new()).await;
    // A lease in letters, a limit of eight bytes, a number where a transaction has operations, an ID in
    // letters, a key that is a number.
    let cases: [(&str, &[u8]); 6] = [
        ("/etcdserverpb.KV/Put", b"\x0a\x01k\x12\x01w\x1a\x02ab"),
        (
            "/etcdserverpb.KV/Range",
            b"\x0a\x01k\x19\x01\x01\x01\x01\x01\x01\x01\x01",
        ),
        ("/etcdserverpb.KV/Txn", b"\x10\x05"),
        ("/etcdserverpb.Lease/LeaseGrant", b"\x08\x20\x12\x01x"),
        ("/etcdserverpb.Lease/LeaseKeepAlive", b"\x0a\x01x"),
        ("/etcdserverpb.Cluster/MemberList", b"\x0a\x01x"),
    ];
    for (path, message) in cases {
        let code = code(&server, &requests, path, framed(message)).await;
        assert_eq!(code, Code::Ok, "{path}");
    }
    let mut kv = server.clients().await.kv;
    let read = RangeRequest {
        key: "k".into(),
        ..Default::default()
    };
    let kvs = kv.range(read).await.unwrap().into_inner().kvs;
    assert_eq!((kvs[0].value.as_ref(), kvs[0].lease), (b"w".as_slice(), 0));
}

#[tokio::test]
async fn messages_that_are_too_large_torn_or_no_messages_are_refused_each_with_a_status() {
    let server = Server::start(&[]);
    let (requests, _end) = connect(&server, &h2::client::Builder::new()).await;
    let huge = PutRequest {
        key: "k".into(),
        value: vec![0; 3 << 20].into(),
        ..Default::default()
    };
    let cases = [
        ("/etcdserverpb.KV/Put", framed(&huge.encode_to_vec())),
        // A prefix that promises four gigabytes.
        (
            "/etcdserverpb.KV/Put",
            Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff, 1, 2]),
        ),
        ("/etcdserverpb.KV/Put", framed(&[0xff; 100])),
        ("/etcdserverpb.KV/Put", Bytes::new()),
        ("/etcdserverpb.KV/Txn", Bytes::from_static(&[0, 0, 0])),
        (
            "/etcdserverpb.KV/Range",
            Bytes::from_static(&[7, 0, 0, 0, 0]),
        ),
        ("/etcdserverpb.Watch/Watch", framed(&[0xff; 100])),
        // A string that is not UTF-8.
        (
            "/grpc.health.v1.Health/Check",
            framed(&[0x0a, 2, 0xc3, 0x28]),
        ),
    ];
    for (number, (path, body)) in cases.into_iter().enumerate() {
        let code = code(&server, &requests, path, body).await;
        let is_watch = path.ends_with("Watch");
        assert!(code != Code::Ok || is_watch, "case {number}: {path}");
    }
    assert_serves(&server).await;
}

#[tokio::test]
async fn five_thousand_idle_connections_wait_without_disturbing_anyone() {
    raise_descriptor_limit();
    let server = Server::start(&[]);
    assert_serves(&server).await;
    server.reset_memory_peak();
    let before = server.memory_peak_bytes();
    let mut idle = Vec::new();
    for number in 0..5000 {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        // Some say nothing, some begin and stop, some are HTTP/2 without a call.
        match number % 4 {
            0 => {}
            1 => stream.write_all(b"PRI * HT").unwrap(),
            2 => stream
                .write_all(b"GET /version HTTP/1.1\r\nx-slow: ")
                .unwrap(),
            _ => stream.write_all(&[PREFACE, &SETTINGS].concat()).unwrap(),
        }
        idle.push(stream);
    }
    assert_serves(&server).await;
    let grown = server.memory_peak_bytes().saturating_sub(before);
    assert!(grown < 256 * MIB, "{grown} bytes for idle connections");
    drop(idle);
    assert_serves(&server).await;
}

#[tokio::test]
async fn thousands_of_half_open_streams_wait_without_disturbing_anyone() {
    const STREAMS: usize = 10_000;

    let server = Server::start(&[]);
    assert_serves(&server).await;
    server.reset_memory_peak();
    let before = server.memory_peak_bytes();
    let mut builder = h2::client::Builder::new();
    builder.initial_max_send_streams(STREAMS);
    let (requests, end) = connect(&server, &builder).await;
    let mut half_open = Vec::new();
    for number in 0..STREAMS {
        let path = ["/etcdserverpb.KV/Put", "/etcdserverpb.Watch/Watch"][number % 2];
        let mut requests = requests.clone().ready().await.unwrap();
        let mut open = requests.send_request(call(&server, path), false).unwrap();
        // Half a prefix.
        open.1
            .send_data(Bytes::from_static(&[0, 0]), false)
            .unwrap();
        half_open.push(open);
    }
    assert_serves(&server).await;
    let grown = server.memory_peak_bytes().saturating_sub(before);
    assert!(grown < 256 * MIB, "{grown} bytes for half-open streams");
    drop(half_open);
    end.abort();
    assert_serves(&server).await;
}

/// As clients cancel and renew what they have thousands of; HTTP/2 guards against small frames.
#[tokio::test]
async fn a_burst_of_small_messages_on_one_stream_ends_no_connection() {
    const WATCHES: usize = 20_000;

    let server = Server::start(&[]);
    let (requests, end) = connect(&server, &h2::client::Builder::new()).await;
    let mut requests = requests.ready().await.unwrap();
    let watch = call(&server, "/etcdserverpb.Watch/Watch");
    let (response, mut stream) = requests.send_request(watch, false).unwrap();
    for number in 0..WATCHES {
        let create = WatchCreateRequest {
            key: format!("watched/{number}").into(),
            ..WatchCreateRequest::default()
        };
        let message = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        let message = framed(&message.encode_to_vec());
        stream.send_data(message, false).unwrap();
    }
    let mut body = response.await.unwrap().into_body();
    let (mut received, mut created) = (BytesMut::new(), 0);
    while created < WATCHES {
        let data = body.data().await.unwrap().unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        received.extend_from_slice(&data);
        while let Some(length) = received.get(1..5) {
            let length = u32::from_be_bytes(length.try_into().unwrap());
            let end = 5 + usize::try_from(length).unwrap();
            if received.len() < end {
                break;
            }
            let answer = WatchResponse::decode(&received.split_to(end)[5..]).unwrap();
            assert!(answer.created && !answer.canceled, "{answer:?}");
            created += 1;
        }
    }
    end.abort();
    assert_serves(&server).await;
}

#[tokio::test]
async fn clients_that_open_and_reset_streams_as_fast_as_they_can_are_stopped() {
    let server = Server::start(&[]);
    let (requests, end) = connect(&server, &h2::client::Builder::new()).await;
    for _ in 0..20_000 {
        let Ok(mut requests) = requests.clone().ready().await else {
            break;
        };
        let put = call(&server, "/etcdserverpb.KV/Put");
        let Ok((_, mut stream)) = requests.send_request(put, false) else {
            break;
        };
        stream.send_reset(Reason::CANCEL);
    }
    assert_serves(&server).await;
    end.abort();
}

#[tokio::test]
async fn clients_that_never_read_a_large_range_hold_a_bounded_part_of_it() {
    const CLIENTS: usize = 4;

    let server = Server::start(&[]);
    let mut kv = server.clients().await.kv;
    for number in 0..100 {
        let put = PutRequest {
            key: format!("large/{number:03}").into(),
            value: vec![1; 1 << 20].into(),
            ..Default::default()
        };
        kv.put(put).await.unwrap();
    }
    let range = RangeRequest {
        key: "large/".into(),
        range_end: "large0".into(),
        ..Default::default()
    };
    let range = framed(&range.encode_to_vec());
    let mut unread = Vec::new();
    for _ in 0..CLIENTS {
        let (requests, end) = connect(&server, &h2::client::Builder::new()).await;
        let mut requests = requests.ready().await.unwrap();
        let path = "/etcdserverpb.KV/Range";
        let (response, mut stream) = requests.send_request(call(&server, path), false).unwrap();
        stream.send_data(range.clone(), true).unwrap();
        // The answer begins, and nobody takes it.
        let response = tokio::time::timeout(PATIENCE, response).await.unwrap();
        unread.push((response.unwrap(), requests, end));
        assert_serves(&server).await;
    }
    let peak = server.memory_peak_bytes();
    assert!(peak < 1024 * MIB, "{peak} bytes");
    drop(unread);
    assert_serves(&server).await;
}

/// etcd holds all of it for as long as the client likes: 2 GB for 30 clients that read none of 40 MB.
#[tokio::test]
async fn the_slowest_of_many_clients_that_never_read_lose_their_answers() {
    const CLIENTS: usize = 30;
    const BUDGET: u64 = 16 * MIB;

    let server = Server::start(&["--unread-answers-bytes=16777216"]);
    let mut kv = server.clients().await.kv;
    for number in 0..10 {
        let put = PutRequest {
            key: format!("large/{number:03}").into(),
            value: vec![1; 1 << 20].into(),
            ..Default::default()
        };
        kv.put(put).await.unwrap();
    }
    let range = RangeRequest {
        key: "large/".into(),
        range_end: "large0".into(),
        ..Default::default()
    };
    // A transaction's answer cannot be read a second time, so that all of it is held.
    let request = Some(request_op::Request::RequestRange(range.clone()));
    let txn = TxnRequest {
        success: vec![RequestOp { request }],
        ..Default::default()
    };
    let calls = [
        ("/etcdserverpb.KV/Range", range.encode_to_vec()),
        ("/etcdserverpb.KV/Txn", txn.encode_to_vec()),
    ];
    let before = server.memory_bytes();
    let mut unread = Vec::new();
    for number in 0..CLIENTS {
        let (requests, end) = connect(&server, &h2::client::Builder::new()).await;
        let mut requests = requests.ready().await.unwrap();
        let (path, message) = &calls[number % 2];
        let (response, mut stream) = requests.send_request(call(&server, path), false).unwrap();
        stream.send_data(framed(message), true).unwrap();
        let response = tokio::time::timeout(PATIENCE, response).await.unwrap();
        unread.push((response.unwrap(), requests, end));
    }
    assert_serves(&server).await;
    // Beside the budget: what is being made, and what each connection has in hand.
    let held = server.memory_bytes().saturating_sub(before);
    assert!(held < 10 * BUDGET, "{held} bytes");
    // Whoever was there first has lost its answer, and is told so when it reads at last.
    let (response, ..) = &mut unread[1];
    let body = response.body_mut();
    while let Some(data) = body.data().await {
        let length = data.unwrap().len();
        body.flow_control().release_capacity(length).unwrap();
    }
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "8", "RESOURCE_EXHAUSTED");
    until("the loss to be counted", async || {
        let metrics = page(server.address(), "GET", "/metrics", &[], b"").text();
        let mut lines = metrics.lines();
        let lost = lines.find_map(|it| it.strip_prefix("cairn_server_unread_answers_lost_total "));
        lost.unwrap().parse::<usize>().unwrap() > 0
    })
    .await;
    // Whoever reads gets all of it, at any time.
    let read = kv.max_decoding_message_size(64 << 20).range(range).await;
    assert_eq!(read.unwrap().into_inner().kvs.len(), 10);
}

#[tokio::test]
async fn clients_that_ping_too_often_are_sent_away_and_told_why() {
    let server = Server::start(&[]);
    let socket = tokio::net::TcpStream::connect(server.address())
        .await
        .unwrap();
    let handshake = h2::client::handshake(socket).await.unwrap();
    let (_requests, mut connection): (SendRequest<Bytes>, _) = handshake;
    let mut pings = connection.ping_pong().unwrap();
    let end = tokio::spawn(connection);
    let mut answered = 0;
    while pings.ping(h2::Ping::opaque()).await.is_ok() {
        answered += 1;
        assert!(answered <= 3, "every ping is answered");
    }
    assert_eq!(answered, 3);
    let error = end.await.unwrap().unwrap_err();
    assert!(error.is_go_away() && error.is_remote(), "{error}");
    assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
    assert!(error.to_string().contains("too_many_pings"), "{error}");
    assert_serves(&server).await;
}

#[tokio::test]
async fn clients_that_ping_as_often_as_they_may_are_served_on() {
    let server = Server::start(&["--grpc-keepalive-min-time", "10ms"]);
    let socket = tokio::net::TcpStream::connect(server.address())
        .await
        .unwrap();
    let handshake = h2::client::handshake(socket).await.unwrap();
    let (requests, mut connection): (SendRequest<Bytes>, _) = handshake;
    let mut pings = connection.ping_pong().unwrap();
    let _end = tokio::spawn(connection);
    let mut requests = requests.ready().await.unwrap();
    let watch = call(&server, "/etcdserverpb.Watch/Watch");
    let _open = requests.send_request(watch, false).unwrap();
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let answered = pings.ping(h2::Ping::opaque());
        tokio::time::timeout(PATIENCE, answered)
            .await
            .unwrap()
            .unwrap();
    }
}
