//! The JSON gateway: what etcd 3.7's answers to calls of one message each way.
//!
//! The tables are etcd's answers, but for who answers: ids, terms and sizes.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_proto::etcdserverpb::RangeRequest;
use serde_json::{Value, json};
use tonic::Code;

use crate::harness::{Server, clients_at};
use crate::http_client::{post, post_with, request};

/// An answer without what differs from server to server: of headers only the revision stays.
fn common(mut answer: Value) -> Value {
    if let Some(header) = answer.get_mut("header") {
        let revision = header.get("revision").cloned();
        *header = revision.unwrap_or_default();
    }
    answer
}

fn error(code: u32, message: &str) -> Value {
    json!({"code": code, "message": message})
}

#[tokio::test]
async fn http_moves_to_addresses_of_its_own_and_grpc_stays() {
    let server = Server::start(&["--listen-client-http-urls=http://127.0.0.2:0"]);
    let log = server.log();
    let pages = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .find(|line: &Value| line["msg"] == "serving HTTP pages")
        .expect("a line that says where");
    let pages: SocketAddr = pages["address"].as_str().unwrap().parse().unwrap();
    for path in ["/v3/kv/put", "/v3beta/kv/put"] {
        let (status, answer) = post(pages, path, r#"{"key":"YQ==","value":"MQ=="}"#);
        assert_eq!((status, &answer["header"]["raft_term"]), (200, &json!("2")));
        assert_eq!(post(server.address(), path, "{}").0, 404, "{path}");
    }
    for path in ["/version", "/health", "/metrics"] {
        assert_eq!(request(pages, "GET", path, &[], b"").status, 200, "{path}");
    }
    let get = RangeRequest {
        key: "a".into(),
        ..RangeRequest::default()
    };
    let found = server.clients().await.kv.range(get.clone()).await.unwrap();
    assert_eq!(found.into_inner().kvs[0].version, 2);
    let refused = clients_at(pages).await.kv.range(get).await.unwrap_err();
    // It is a page that is not there: the client looks at its status, or at what stands on it.
    let codes = [Code::Unimplemented, Code::Internal];
    assert!(codes.contains(&refused.code()), "{refused}");
    assert!(refused.message().contains("404"), "{refused}");
}

/// `gateway_vectors.txt`: below each title, what a new server is asked one after another, and etcd 3.7.1's
/// answers. Of their headers it has the revision.
#[test]
fn calls_of_every_service_are_answered_as_etcd_answers_them() {
    let mut server = None;
    for line in include_str!("gateway_vectors.txt").lines() {
        if line.starts_with('#') {
            server = Some(Server::start(&[]));
        }
        let Some((asked, told)) = line.split_once(" → ") else {
            continue;
        };
        let (path, body) = asked.split_once(' ').unwrap_or((asked, ""));
        let (status, expected) = told.split_once(' ').unwrap();
        let server = server.as_ref().expect("a title comes first");
        let (got, answer) = post(server.address(), &format!("/v3/{path}"), body);
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(
            (got, common(answer)),
            (status.parse().unwrap(), expected),
            "{line}"
        );
    }
}

#[test]
fn other_methods_and_paths_are_answered_as_etcd_answers_them() {
    let server = Server::start(&[]);
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let answer = request(server.address(), method, "/v3/kv/range", &[], b"{}");
        assert_eq!(answer.status, 501);
        assert_eq!(answer.json(), error(12, "Method Not Allowed"), "{method}");
    }
    for (path, to) in [
        ("/v3", "/v3/"),
        ("/v3//kv/range", "/v3/kv/range"),
        ("/v3/../version", "/version"),
    ] {
        let answer = request(server.address(), "POST", path, &[], b"{}");
        assert_eq!((answer.status, answer.header("location")), (307, Some(to)));
    }
    for path in ["/v3beta/kv/range", "/v3/kv/%72ange"] {
        assert_eq!(
            post(server.address(), path, r#"{"key":"YQ=="}"#).0,
            200,
            "{path}"
        );
    }
    let (status, text) = post(server.address(), "/v3alpha/kv/range", "{}");
    assert_eq!((status, text), (404, "404 page not found\n".into()));
}

#[test]
fn json_is_read_leniently_and_what_is_wrong_with_it_is_said_with_its_place() {
    let server = Server::start(&[]);
    post(server.address(), "/v3/kv/put", r#"{"key":"+//+"}"#);
    post(server.address(), "/v3/kv/put", r#"{"key":"Zm8="}"#);
    let found = [
        r#"{"key":"-__-"}"#,
        r#"{"key":"Zm9"}"#,
        r#"{"key":"Zm8"}"#,
        r#" { "key" : "Zm8=" } trailing"#,
        r#"{"key":"Zm8="}{"key":"!!"}"#,
        r#"{"key":"Zm8=","limit":1e0}"#,
        r#"{"key":"Zm8=","limit":null,"range_end":null,"sort_order":null}"#,
        r#"{"key":"Zm8=","nope":{"a":[1,2,{"b":null}]},"@type":"x"}"#,
        r#"{"key":"Zm8=","sort_order":"nope"}"#,
        r#"{"key":"Zm8=","sort_order":"DESCEND","sort_target":2}"#,
        r#"{"key":"Zm8=","Range_End":"Zm9w","RANGEEND":"x"}"#,
    ];
    for body in found {
        let (status, answer) = post(server.address(), "/v3/kv/range", body);
        assert_eq!((status, &answer["count"]), (200, &json!("1")), "{body}");
    }
    let refused = [
        "{",
        "x",
        "[]",
        "\"s\"",
        "null",
        "true",
        r#"{"key":"Zm9v""#,
        r#"{"key":1}"#,
        r#"{"key":{}}"#,
        r#"{"key":["Zm9v"]}"#,
        r#"{"key":"Zm9v","limit":"x"}"#,
        r#"{"key":"Zm9v","limit":1.5}"#,
        r#"{"key":"Zm9v","limit":true}"#,
        r#"{"key":"Zm9v","limit":""}"#,
        r#"{"key":"Zm9v","serializable":"true"}"#,
        r#"{"key":"Zm9v","serializable":1}"#,
        r#"{"key":"!!"}"#,
        r#"{"key":"+__-"}"#,
        r#"{"key":"="}"#,
        r#"{"key":"Zm9v",}"#,
        r#"{'key':'Zm9v'}"#,
        r#"{"key":"Zm9v"/*c*/}"#,
        r#"{"sort_order":true,"key":"Zm9v"}"#,
        r#"{"sort_order":77,"key":"Zm9v"}"#,
        "key=Zm9v",
    ];
    for body in refused {
        let (status, answer) = post(server.address(), "/v3/kv/range", body);
        assert_eq!((status, &answer["code"]), (400, &json!(3)), "{body}");
    }
    let (_, answer) = post(
        server.address(),
        "/v3/kv/range",
        "{\"key\":\"Zm9v\",\n\"limit\":\"x\"}",
    );
    let message = answer["message"].as_str().unwrap();
    assert!(message.starts_with("proto: (line 2:"), "{message}");
    let (_, answer) = post(server.address(), "/v3/kv/range", "{");
    assert_eq!(answer["message"], "unexpected EOF");
}

#[test]
fn headers_carry_deadlines_metadata_and_what_browsers_ask() {
    let server = Server::start(&[]);
    let ask = |name: &str, value: &str| {
        post_with(
            server.address(),
            "/v3/kv/range",
            &[(name, value)],
            r#"{"key":"Zm9v"}"#,
        )
    };
    for (time, status) in [
        ("1m", 200),
        ("0S", 200),
        ("10S", 200),
        ("5", 400),
        ("1s", 400),
        ("-1S", 504),
    ] {
        assert_eq!(ask("Grpc-Timeout", time).0, status, "{time}");
    }
    assert_eq!(
        ask("Grpc-Timeout", "x").1,
        error(3, "invalid grpc-timeout: x")
    );
    assert_eq!(ask("Grpc-Metadata-hasleader", "true").0, 200);
    assert_eq!(ask("Grpc-Metadata-X-Bin", "not base64!").0, 400);
    assert_eq!(ask("Grpc-Metadata-X-Bin", "Zm9v").0, 200);
    let answer = request(
        server.address(),
        "POST",
        "/v3/kv/range",
        &[],
        br#"{"key":"Zm9v"}"#,
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(
        answer.header("grpc-metadata-content-type"),
        Some("application/grpc")
    );
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let answer = request(server.address(), "OPTIONS", "/v3/kv/range", &[], b"");
    assert_eq!(answer.status, 200);
}

#[test]
fn users_are_known_by_their_tokens_and_refused_as_over_grpc() {
    let server = Server::start(&[]);
    let address = server.address();
    let ok = |path: &str, body: &str| assert_eq!(post(address, path, body).0, 200, "{path} {body}");
    ok("/v3/auth/user/add", r#"{"name":"root","password":"pw"}"#);
    ok("/v3/auth/user/add", r#"{"name":"u","password":"pw"}"#);
    ok("/v3/auth/role/add", r#"{"name":"r"}"#);
    ok(
        "/v3/auth/role/grant",
        r#"{"name":"r","perm":{"permType":"READWRITE","key":"YQ==","range_end":"Yg=="}}"#,
    );
    ok("/v3/auth/user/grant", r#"{"user":"u","role":"r"}"#);
    ok("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#);
    ok("/v3/auth/enable", "{}");
    let (_, login) = post(
        address,
        "/v3/auth/authenticate",
        r#"{"name":"u","password":"pw"}"#,
    );
    let token = login["token"].as_str().unwrap();
    let bearer = format!("Bearer {token}");
    let ask =
        |header: (&str, &str), path: &str, body: &str| post_with(address, path, &[header], body);
    let put = r#"{"key":"YTE="}"#;
    assert_eq!(ask(("Authorization", token), "/v3/kv/put", put).0, 200);
    assert_eq!(ask(("Authorization", &bearer), "/v3/kv/put", put).0, 200);
    assert_eq!(
        ask(("Grpc-Metadata-Token", token), "/v3/kv/put", put).0,
        200
    );
    let denied = error(7, "etcdserver: permission denied");
    let other = r#"{"key":"YjE="}"#;
    assert_eq!(
        ask(("Authorization", token), "/v3/kv/range", other),
        (403, denied.clone())
    );
    let add = r#"{"name":"x","password":"y"}"#;
    assert_eq!(
        ask(("Authorization", token), "/v3/auth/user/add", add),
        (403, denied)
    );
    let nobody = error(3, "etcdserver: user name is empty");
    assert_eq!(
        ask(("Token", token), "/v3/kv/put", put),
        (400, nobody.clone())
    );
    assert_eq!(
        post(address, "/v3/cluster/member/list", "{}"),
        (400, nobody)
    );
    let headers = [("Authorization", "nope")];
    let answer = request(address, "POST", "/v3/kv/put", &headers, put.as_bytes());
    let invalid = "etcdserver: invalid auth token";
    assert_eq!(
        (answer.status, answer.header("www-authenticate")),
        (401, Some(invalid))
    );
}

#[test]
fn a_body_that_is_too_large_is_refused_as_a_message_would_be() {
    let server = Server::start(&[]);
    let put = |bytes: usize| {
        let value = "A".repeat(bytes / 3 * 4);
        let body = format!(r#"{{"key":"Zm9v","value":"{value}"}}"#);
        post(server.address(), "/v3/kv/put", &body)
    };
    assert_eq!(put(1_572_000).0, 200);
    let too_large = error(3, "etcdserver: request is too large");
    assert_eq!(put(1_572_864 + 3), (400, too_large));
    for bytes in [2_097_153, 3_145_728, 30 << 20] {
        let (status, answer) = put(bytes);
        assert_eq!((status, &answer["code"]), (429, &json!(8)));
    }
    assert_eq!(put(3).0, 200);
}

#[test]
fn a_full_database_refuses_what_needs_space_and_answers_the_rest() {
    let server = Server::start(&["--quota-backend-bytes=1000000"]);
    let value = STANDARD.encode(vec![7; 100_000]);
    let put = |number: u32| {
        let key = STANDARD.encode(number.to_string());
        let body = format!(r#"{{"key":"{key}","value":"{value}"}}"#);
        post(server.address(), "/v3/kv/put", &body)
    };
    let refused = (0..1000).map(put).find(|(status, _)| *status != 200);
    let no_space = error(8, "etcdserver: mvcc: database space exceeded");
    assert_eq!(refused, Some((429, no_space)));
    let read = post(server.address(), "/v3/kv/range", r#"{"key":"MA=="}"#);
    assert_eq!((read.0, &read.1["count"]), (200, &json!("1")));
    let deleted = post(server.address(), "/v3/kv/deleterange", r#"{"key":"MA=="}"#);
    assert_eq!((deleted.0, &deleted.1["deleted"]), (200, &json!("1")));
}

#[test]
fn the_gateway_can_be_switched_off() {
    let server = Server::start(&["--enable-grpc-gateway=false"]);
    let answer = request(server.address(), "POST", "/v3/kv/range", &[], b"{}");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (404, "404 page not found\n")
    );
}

#[test]
fn calls_are_counted_under_their_methods_names() {
    let server = Server::start(&[]);
    post(server.address(), "/v3/kv/put", r#"{"key":"Zm9v"}"#);
    let metrics = request(server.address(), "GET", "/metrics", &[], b"").text();
    let line = "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Put\",\
                grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 1";
    assert!(metrics.lines().any(|it| it == line));
}

#[test]
fn text_is_shown_as_text_where_it_is_asked_for() {
    let server = Server::start(&[]);
    post(
        server.address(),
        "/v3/kv/put",
        r#"{"key":"Zm9v","value":"//4="}"#,
    );
    let body = r#"{"key":"Zm9v"}"#;
    let shown = |(_, answer): (u16, Value)| {
        let kv = &answer["kvs"][0];
        (kv["key"].clone(), kv["value"].clone())
    };
    let expected = (json!("foo"), json!({"base64": "//4="}));
    assert_eq!(
        shown(post(server.address(), "/v3/kv/range?text=1", body)),
        expected
    );
    let accept = [("Accept", "application/json;text")];
    assert_eq!(
        shown(post_with(server.address(), "/v3/kv/range", &accept, body)),
        expected
    );
}

#[test]
fn an_answer_that_is_large_is_sent_as_it_is_read() {
    const MIB: u64 = 1 << 20;

    let server = Server::start(&[]);
    let address = server.address();
    let value = "A".repeat(1 << 20);
    for number in 0..150 {
        let body = json!({"key": STANDARD.encode(format!("k{number:03}")), "value": value});
        assert_eq!(post(address, "/v3/kv/put", &body.to_string()).0, 200);
    }
    let before = server.memory_bytes();
    let all = r#"{"key":"aw==","range_end":"bA==","sort_order":"DESCEND","sort_target":"VERSION"}"#;
    let stalled: Vec<_> = (0..4)
        .map(|_| request(address, "POST", "/v3/kv/range", &[], all.as_bytes()))
        .collect();
    let grown = server.memory_bytes().saturating_sub(before);
    assert!(
        grown < 400 * MIB,
        "{grown} bytes for {} answers",
        stalled.len()
    );
    drop(stalled);
    let (status, answer) = post(address, "/v3/kv/range", all);
    assert_eq!((status, &answer["count"]), (200, &json!("150")));
    let kvs = answer["kvs"].as_array().unwrap();
    assert_eq!(kvs.len(), 150);
    assert!(
        kvs.iter()
            .all(|kv| kv["value"] == value.as_str() && kv["version"] == "1")
    );
    assert_eq!(answer["header"]["revision"], "151");
}
