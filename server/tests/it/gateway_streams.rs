//! The JSON gateway's streams: watch, renewals, snapshot, observe, a line of JSON a message.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{PATIENCE, Server, until};
use crate::http_client::{Answer, post, read_head, request};

fn stream(server: &Server, path: &str, body: &str) -> Answer {
    request(server.address(), "POST", path, &[], body.as_bytes())
}

fn put(server: &Server, key: &str) {
    let body = format!(r#"{{"key":"{key}","value":"MQ=="}}"#);
    assert_eq!(post(server.address(), "/v3/kv/put", &body).0, 200);
}

fn watchers(address: SocketAddr) -> String {
    let metrics = request(address, "GET", "/metrics", &[], b"").text();
    let mut lines = metrics.lines();
    let found = lines.find_map(|it| it.strip_prefix("etcd_debugging_mvcc_watcher_total "));
    found.unwrap().to_owned()
}

#[test]
fn a_watch_says_that_it_is_there_and_then_each_event() {
    let server = Server::start(&[]);
    let mut watch = stream(&server, "/v3/watch", r#"{"create_request":{"key":"Zm9v"}}"#);
    assert_eq!(watch.status, 200);
    let created = watch.line();
    assert_eq!(created["result"]["created"], true);
    assert_eq!(created["result"]["header"]["revision"], "1");
    put(&server, "Zm9v");
    let event = watch.line();
    let kv = json!({
        "key": "Zm9v", "create_revision": "2", "mod_revision": "2", "version": "1", "value": "MQ=="
    });
    assert_eq!(event["result"]["events"], json!([{ "kv": kv }]));
    post(server.address(), "/v3/kv/deleterange", r#"{"key":"Zm9v"}"#);
    let deleted = json!([{"type": "DELETE", "kv": {"key": "Zm9v", "mod_revision": "3"}}]);
    assert_eq!(watch.line()["result"]["events"], deleted);
}

#[test]
fn several_requests_in_one_body_are_read_as_they_come() {
    let server = Server::start(&[]);
    let body = "{\"create_request\":{\"key\":\"YQ==\"}}\n{\"create_request\":{\"key\":\"Yg==\"}}\
                {\"cancel_request\":{\"watch_id\":\"1\"}}{\"progress_request\":{}}";
    let mut watch = stream(&server, "/v3/watch", body);
    let lines: Vec<Value> = (0..4).map(|_| watch.line()).collect();
    let says = |what: &str| {
        let mut lines = lines.iter();
        lines.any(|line| line["result"][what] == true)
    };
    assert!(says("created") && says("canceled"), "{lines:?}");
    assert!(lines.iter().any(|line| line["result"]["watch_id"] == "-1"));

    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = "POST /v3/watch HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).unwrap();
    let mut say = socket.try_clone().unwrap();
    let mut say = |text: &str| {
        write!(say, "{:x}\r\n{text}\r\n", text.len()).unwrap();
    };
    say("{\"create_request\"");
    say(":{\"key\":\"YQ==\"}}");
    let mut watch = read_head(socket);
    assert_eq!(watch.line()["result"]["created"], true);
    say("{\"create_request\":{\"key\":\"Yg==\"}}");
    assert_eq!(watch.line()["result"]["watch_id"], "1");
}

#[test]
fn a_request_that_is_no_json_ends_the_stream_and_says_why() {
    let server = Server::start(&[]);
    let refused = stream(&server, "/v3/watch", "{bad");
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["error"]["code"], 3);
    let mut watch = stream(
        &server,
        "/v3/watch",
        r#"{"create_request":{"key":"YQ=="}}{"bad""#,
    );
    // The refusal may overtake the watch's creation, or not.
    if watch.status == 400 {
        assert_eq!(watch.json()["error"]["message"], "unexpected EOF");
        return;
    }
    assert_eq!(watch.line()["result"]["created"], true);
    assert_eq!(watch.line()["error"]["message"], "unexpected EOF");
    assert_eq!(watch.chunk(), None);
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_watch() {
    let server = Server::start(&[]);
    let address = server.address();
    let mut watch = stream(&server, "/v3/watch", r#"{"create_request":{"key":"Zm9v"}}"#);
    watch.line();
    assert_eq!(watchers(address), "1");
    watch.leave();
    until("its watcher is gone", async || watchers(address) == "0").await;
}

#[tokio::test]
async fn a_client_that_leaves_does_not_wait_for_a_lock_any_more() {
    let server = Server::start(&[]);
    let address = server.address();
    for id in ["7", "8"] {
        post(
            address,
            "/v3/lease/grant",
            &format!(r#"{{"ID":"{id}","TTL":"600"}}"#),
        );
    }
    assert_eq!(
        post(address, "/v3/lock/lock", r#"{"name":"TA==","lease":"7"}"#).0,
        200
    );
    let waiters = || {
        let body = r#"{"key":"TC8=","range_end":"TDA=","count_only":true}"#;
        post(address, "/v3/kv/range", body).1["count"].clone()
    };
    let body = r#"{"name":"TA==","lease":"8"}"#;
    let mut waiting = TcpStream::connect(address).unwrap();
    write!(
        waiting,
        "POST /v3/lock/lock HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    until("it waits", async || waiters() == "2").await;
    drop(waiting);
    until("it waits no more", async || waiters() == "1").await;
}

#[tokio::test]
async fn a_stream_ends_at_the_time_that_it_was_given() {
    let server = Server::start(&[]);
    let create = br#"{"create_request":{"key":"Zm9v"}}"#;
    let time = [("Grpc-Timeout", "1S")];
    let answer = request(server.address(), "POST", "/v3/watch", &time, create);
    let (status, text) = (answer.status, answer.text());
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [told @ .., end] = &*lines else {
        panic!("no last word");
    };
    assert_eq!(end["error"]["code"], 4, "{text}");
    // On a slow machine the time may be over before the watch is there.
    if status == 200 {
        assert_eq!(told[0]["result"]["created"], true, "{text}");
    }
    until("it watches no more", async || {
        watchers(server.address()) == "0"
    })
    .await;
}

#[test]
fn renewals_end_with_their_requests() {
    let server = Server::start(&[]);
    post(
        server.address(),
        "/v3/lease/grant",
        r#"{"ID":"77","TTL":"60"}"#,
    );
    let mut renewed = stream(&server, "/v3/lease/keepalive", r#"{"ID":"77"}{"ID":5}"#);
    assert_eq!(renewed.header("content-type"), Some("application/json"));
    let first = renewed.line();
    assert_eq!(
        (&first["result"]["ID"], &first["result"]["TTL"]),
        (&json!("77"), &json!("60"))
    );
    let unknown = renewed.line();
    assert_eq!(
        (&unknown["result"]["ID"], unknown["result"].get("TTL")),
        (&json!("5"), None)
    );
    assert_eq!(renewed.chunk(), None);
    assert_eq!(stream(&server, "/v3/lease/keepalive", "").text(), "");
}

#[test]
fn a_snapshot_comes_whole_with_its_digest() {
    let server = Server::start(&[]);
    put(&server, "Zm9v");
    let mut snapshot = stream(&server, "/v3/maintenance/snapshot", "{}");
    let mut database = Vec::new();
    while let Some(chunk) = snapshot.chunk() {
        let line: Value = serde_json::from_str(&chunk).unwrap();
        let blob = line["result"]["blob"].as_str().unwrap_or_default();
        database.extend(STANDARD.decode(blob).unwrap());
    }
    let (data, digest) = database.split_last_chunk::<32>().unwrap();
    assert_eq!(Sha256::digest(data)[..], digest[..]);
}

#[test]
fn an_observer_is_told_of_each_proclamation() {
    let server = Server::start(&[]);
    let address = server.address();
    post(address, "/v3/lease/grant", r#"{"ID":"88","TTL":"600"}"#);
    let campaign = r#"{"name":"ZWw=","lease":"88","value":"djE="}"#;
    let (_, elected) = post(address, "/v3/election/campaign", campaign);
    let mut observer = stream(&server, "/v3/election/observe", r#"{"name":"ZWw="}"#);
    assert_eq!(observer.line()["result"]["kv"]["value"], "djE=");
    let proclaim = json!({"leader": elected["leader"], "value": "djI="}).to_string();
    post(address, "/v3/election/proclaim", &proclaim);
    assert_eq!(observer.line()["result"]["kv"]["value"], "djI=");
}

#[test]
fn a_watch_that_asks_for_a_leader_is_led() {
    let server = Server::start(&[]);
    let headers = [("Grpc-Metadata-hasleader", "true"), ("Connection", "close")];
    let body = br#"{"create_request":{"key":"YQ=="}}"#;
    let mut watch = request(server.address(), "POST", "/v3/watch", &headers, body);
    assert_eq!(watch.line()["result"]["created"], true);
}

#[test]
fn slow_readers_cost_bounded_memory() {
    const MIB: u64 = 1 << 20;

    let server = Server::start(&[]);
    let before = server.memory_bytes();
    let body = r#"{"create_request":{"key":"Zm9v"}}"#;
    let idle: Vec<_> = (0..20)
        .map(|_| {
            let mut socket = TcpStream::connect(server.address()).unwrap();
            write!(
                socket,
                "POST /v3/watch HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
            socket.read_exact(&mut [0]).unwrap();
            socket
        })
        .collect();
    let value = "A".repeat(1 << 20);
    for _ in 0..40 {
        let put = format!(r#"{{"key":"Zm9v","value":"{value}"}}"#);
        assert_eq!(post(server.address(), "/v3/kv/put", &put).0, 200);
    }
    let grown = server.memory_bytes().saturating_sub(before);
    assert!(
        grown < 400 * MIB,
        "{grown} bytes for {} slow readers",
        idle.len()
    );
}
