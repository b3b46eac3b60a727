//! The JSON gateway's streams over WebSocket, and its watches as server-sent events.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::harness::{PATIENCE, Server, until};
use crate::http_client::{Answer, post, request};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open_with(
    server: &Server,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<Socket, tungstenite::Error> {
    let mut request = format!("ws://{}{path}", server.address()).into_client_request()?;
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    Ok(connect_async(request).await?.0)
}

async fn open(server: &Server, path: &str) -> Socket {
    open_with(server, path, &[]).await.unwrap()
}

async fn say(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
}

async fn hear(socket: &mut Socket) -> Value {
    let heard = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
    match heard.unwrap().unwrap() {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("not a text: {other:?}"),
    }
}

/// The code that the server closes with.
async fn closed(socket: &mut Socket) -> u16 {
    loop {
        let heard = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
        match heard {
            Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
            Some(Ok(_)) => {}
            other => panic!("not closed: {other:?}"),
        }
    }
}

/// Users `root` and `u`, who may read and write `a`; the token of `u`.
fn with_users(server: &Server) -> String {
    for (path, body) in [
        ("user/add", r#"{"name":"root","password":"pw"}"#),
        ("user/add", r#"{"name":"u","password":"pw"}"#),
        ("role/add", r#"{"name":"r"}"#),
        (
            "role/grant",
            r#"{"name":"r","perm":{"permType":"READWRITE","key":"YQ=="}}"#,
        ),
        ("user/grant", r#"{"user":"u","role":"r"}"#),
        ("user/grant", r#"{"user":"root","role":"root"}"#),
        ("enable", "{}"),
    ] {
        let path = format!("/v3/auth/{path}");
        assert_eq!(post(server.address(), &path, body).0, 200, "{path}");
    }
    let login = r#"{"name":"u","password":"pw"}"#;
    let (_, login) = post(server.address(), "/v3/auth/authenticate", login);
    login["token"].as_str().unwrap().to_owned()
}

fn put(server: &Server, key: &str) {
    let body = format!(r#"{{"key":"{key}","value":"MQ=="}}"#);
    assert_eq!(post(server.address(), "/v3/kv/put", &body).0, 200);
}

#[tokio::test]
async fn a_watch_over_a_websocket_takes_requests_and_tells_of_events() {
    let server = Server::start(&[]);
    let mut socket = open(&server, "/v3/watch").await;
    say(&mut socket, r#"{"create_request":{"key":"Zm9v"}}"#).await;
    assert_eq!(hear(&mut socket).await["result"]["created"], true);
    put(&server, "Zm9v");
    let event = hear(&mut socket).await;
    assert_eq!(event["result"]["events"][0]["kv"]["value"], "MQ==");
    // Objects may be split over messages, or joined in one.
    say(&mut socket, r#"{"create_request":"#).await;
    say(
        &mut socket,
        r#"{"key":"YQ=="}}{"create_request":{"key":"Yg=="}}"#,
    )
    .await;
    assert_eq!(hear(&mut socket).await["result"]["watch_id"], "1");
    assert_eq!(hear(&mut socket).await["result"]["watch_id"], "2");
    socket.send(Message::Ping("p".into())).await.unwrap();
    let pong = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
    assert!(matches!(pong, Some(Ok(Message::Pong(_)))), "{pong:?}");
    let watchers = || {
        let metrics = request(server.address(), "GET", "/metrics", &[], b"").text();
        metrics.contains("\netcd_debugging_mvcc_watcher_total 3\n")
    };
    assert!(watchers());
    socket.close(None).await.unwrap();
    until("its watchers are gone", async || !watchers()).await;
}

/// The keys' numbers in the events that come until there are `count`, and messages that brought them.
async fn numbers(socket: &mut Socket, count: usize) -> (Vec<u64>, usize) {
    let (mut found, mut messages) = (Vec::new(), 0);
    while found.len() < count {
        let told = hear(socket).await;
        messages += 1;
        for event in told["result"]["events"].as_array().unwrap() {
            let version = event["kv"]["version"].as_str().unwrap();
            found.push(version.parse().unwrap());
        }
    }
    (found, messages)
}

#[tokio::test]
async fn events_that_wait_for_a_client_come_in_order_and_each_once() {
    const COUNT: u64 = 300;
    let server = Server::start(&[]);
    let mut sockets = Vec::new();
    for path in ["/v3/watch", "/v3/watch", "/v3/watch?text=1"] {
        let mut socket = open(&server, path).await;
        say(&mut socket, r#"{"create_request":{"key":"Zm9v"}}"#).await;
        assert_eq!(hear(&mut socket).await["result"]["created"], true);
        sockets.push(socket);
    }
    // Nobody reads meanwhile.
    for _ in 0..COUNT {
        put(&server, "Zm9v");
    }
    for socket in &mut sockets {
        let (found, messages) = numbers(socket, COUNT.try_into().unwrap()).await;
        assert_eq!(found, (1..=COUNT).collect::<Vec<_>>());
        assert!(messages > 1, "a message for each revision, or for some");
        socket.send(Message::Ping("p".into())).await.unwrap();
        let next = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
        assert!(matches!(next, Some(Ok(Message::Pong(_)))), "{next:?}");
    }
}

#[tokio::test]
async fn watchers_of_one_event_are_each_told_as_they_want_to_see_it() {
    let server = Server::start(&[]);
    let (base64, text) = ("/v3/watch", "/v3/watch?text=1");
    let create = r#"{"create_request":{"key":"Zm9v"}}"#;
    let mut sockets = Vec::new();
    for path in [base64, text, base64, text] {
        let mut socket = open(&server, path).await;
        say(&mut socket, create).await;
        hear(&mut socket).await;
        sockets.push((path, socket));
    }
    // One whose watcher has another id, and one that wants to know what was replaced.
    let mut other = open(&server, base64).await;
    for request in [
        r#"{"create_request":{"key":"YQ=="}}"#,
        r#"{"create_request":{"key":"Zm9v","prev_kv":true}}"#,
    ] {
        say(&mut other, request).await;
        hear(&mut other).await;
    }
    let mut lines = request(server.address(), "POST", text, &[], create.as_bytes());
    assert_eq!(lines.line()["result"]["created"], true);
    let query = "/v3/watch?text=1&key=foo";
    let accept = [("Accept", "text/event-stream")];
    let mut events = request(server.address(), "GET", query, &accept, b"");
    let mut data = || {
        let event = events.chunk().unwrap();
        let (_, data) = event.split_once("data: ").unwrap();
        serde_json::from_str::<Value>(data).unwrap()
    };
    assert_eq!(data()["created"], true);
    for (revision, value) in [(2, "MQ=="), (3, "Mg==")] {
        let body = format!(r#"{{"key":"Zm9v","value":"{value}"}}"#);
        assert_eq!(post(server.address(), "/v3/kv/put", &body).0, 200);
        let shown = if value == "MQ==" { "1" } else { "2" };
        for (path, socket) in &mut sockets {
            let told = hear(socket).await;
            let kv = &told["result"]["events"][0]["kv"];
            let (key, value) = if *path == text {
                ("foo", shown)
            } else {
                ("Zm9v", value)
            };
            assert_eq!((&kv["key"], &kv["value"]), (&json!(key), &json!(value)));
            assert_eq!(kv["mod_revision"], revision.to_string());
            assert_eq!(told["result"]["watch_id"], Value::Null);
        }
        let told = hear(&mut other).await;
        assert_eq!(told["result"]["watch_id"], "1");
        let before = &told["result"]["events"][0]["prev_kv"]["value"];
        assert_eq!(
            before,
            &if revision == 3 {
                json!("MQ==")
            } else {
                Value::Null
            }
        );
        for told in [lines.line()["result"].clone(), data()] {
            assert_eq!(told["events"][0]["kv"]["value"], shown);
        }
    }
}

#[tokio::test]
async fn other_streams_work_over_websockets_and_say_how_they_ended() {
    let server = Server::start(&[]);
    post(
        server.address(),
        "/v3/lease/grant",
        r#"{"ID":"77","TTL":"60"}"#,
    );
    let mut renewals = open(&server, "/v3/lease/keepalive").await;
    for _ in 0..2 {
        say(&mut renewals, r#"{"ID":"77"}"#).await;
        assert_eq!(hear(&mut renewals).await["result"]["TTL"], "60");
    }
    let mut snapshot = open(&server, "/v3/maintenance/snapshot").await;
    say(&mut snapshot, "{}").await;
    assert!(hear(&mut snapshot).await["result"]["blob"].is_string());
    assert_eq!(closed(&mut snapshot).await, 1000);
    let mut watch = open(&server, "/v3/watch").await;
    say(&mut watch, "{bad}").await;
    assert_eq!(hear(&mut watch).await["error"]["code"], 3);
    assert_eq!(closed(&mut watch).await, 1007);
    for (path, status) in [("/v3/kv/put", 400), ("/v3/nope", 404)] {
        let refused = open_with(&server, path, &[]).await.unwrap_err();
        let tungstenite::Error::Http(answer) = refused else {
            panic!("{path}: {refused}");
        };
        assert_eq!(answer.status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_opens_no_websocket_where_origins_are_named() {
    let from = |origin| [("origin", origin)];
    let anybodys = Server::start(&[]);
    open_with(&anybodys, "/v3/watch", &from("http://b.example:80"))
        .await
        .unwrap();
    let server = Server::start(&["--cors=http://a.example:80"]);
    let ours = from("http://a.example:80");
    for headers in [&ours[..], &[]] {
        let mut socket = open_with(&server, "/v3/watch", headers).await.unwrap();
        say(&mut socket, r#"{"create_request":{"key":"YQ=="}}"#).await;
        assert_eq!(hear(&mut socket).await["result"]["created"], true);
    }
    let foreign = from("http://b.example:80");
    let refused = open_with(&server, "/v3/watch", &foreign).await.unwrap_err();
    let tungstenite::Error::Http(answer) = refused else {
        panic!("{refused}");
    };
    assert_eq!(answer.status(), 403);
}

#[tokio::test]
async fn a_token_over_a_websocket_is_a_protocol_or_a_cookie() {
    let server = Server::start(&[]);
    let token = with_users(&server);
    let (protocol, cookie) = (format!("Bearer, {token}"), format!("token={token}"));
    let create = r#"{"create_request":{"key":"YQ=="}}"#;
    for header in [("sec-websocket-protocol", &*protocol), ("cookie", &*cookie)] {
        let mut socket = open_with(&server, "/v3/watch", &[header]).await.unwrap();
        say(&mut socket, create).await;
        let created = hear(&mut socket).await;
        assert_eq!(created["result"].get("canceled"), None, "{created}");
    }
    let mut nobody = open(&server, "/v3/watch").await;
    say(&mut nobody, create).await;
    let refused = hear(&mut nobody).await;
    let reason = refused["result"]["cancel_reason"].as_str().unwrap();
    assert!(
        reason.ends_with("etcdserver: user name is empty"),
        "{reason}"
    );
    let mut renewals = open(&server, "/v3/lease/keepalive").await;
    say(&mut renewals, r#"{"ID":"77"}"#).await;
    assert_eq!(hear(&mut renewals).await["error"]["code"], 3);
    closed(&mut renewals).await;
}

/// The next event of a stream: its id and data.
fn event(events: &mut Answer) -> (Option<i64>, Value) {
    let text = events.chunk().expect("the stream goes on");
    let mut id = None;
    for line in text.lines() {
        if let Some(it) = line.strip_prefix("id: ") {
            id = Some(it.parse().unwrap());
        } else if let Some(data) = line.strip_prefix("data: ") {
            return (id, serde_json::from_str(data).unwrap());
        }
    }
    event(events)
}

fn events(server: &Server, query: &str, headers: &[(&str, &str)]) -> Answer {
    let headers = [&[("Accept", "text/event-stream")], headers].concat();
    let path = format!("/v3/watch?{query}");
    request(server.address(), "GET", &path, &headers, b"")
}

#[test]
fn a_browser_that_comes_back_for_events_misses_none() {
    let server = Server::start(&[]);
    let mut first = events(&server, "key=foo&text=1", &[]);
    assert_eq!(first.header("content-type"), Some("text/event-stream"));
    let (id, created) = event(&mut first);
    assert_eq!((id, &created["created"]), (Some(1), &json!(true)));
    put(&server, "Zm9v");
    let (id, told) = event(&mut first);
    assert_eq!(id, Some(2));
    let kv = &told["events"][0]["kv"];
    assert_eq!((&kv["key"], &kv["value"]), (&json!("foo"), &json!("1")));
    first.leave();
    put(&server, "Zm9v");
    put(&server, "Zm9v");
    let mut again = events(&server, "key=Zm9v&prev_kv=1", &[("Last-Event-ID", "2")]);
    let (id, created) = event(&mut again);
    assert_eq!((id, &created["created"]), (None, &json!(true)));
    let (id, missed) = event(&mut again);
    assert_eq!(
        (id, missed["events"].as_array().unwrap().len()),
        (Some(4), 2)
    );
    assert_eq!(missed["events"][0]["prev_kv"]["mod_revision"], "2");
}

#[test]
fn what_is_no_watch_gets_an_error_and_no_events() {
    let server = Server::start(&[]);
    let none = [("Accept", "text/html")];
    assert_eq!(
        request(server.address(), "GET", "/v3/watch?key=YQ==", &none, b"").status,
        501
    );
    for query in ["key=!!", "kye=YQ==", "key=YQ==&start_revision=x"] {
        let refused = events(&server, query, &[]);
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (400, &json!(3)),
            "{query}"
        );
    }
    assert_eq!(
        events(&server, "key=YQ==", &[("Last-Event-ID", "x")]).status,
        400
    );
    for _ in 0..3 {
        put(&server, "YQ==");
    }
    post(server.address(), "/v3/kv/compaction", r#"{"revision":"3"}"#);
    let mut compacted = events(&server, "key=YQ==&start_revision=1", &[]);
    event(&mut compacted);
    let (_, told) = event(&mut compacted);
    assert_eq!(
        (&told["canceled"], &told["compact_revision"]),
        (&json!(true), &json!("3"))
    );
    assert_eq!(compacted.chunk(), None);
    with_users(&server);
    assert_eq!(events(&server, "key=YQ==", &[]).status, 400);
}

#[test]
fn the_document_of_the_api_is_served() {
    let server = Server::start(&[]);
    let answer = request(server.address(), "GET", "/openapi.json", &[], b"");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json()["openapi"], "3.0.3");
}
