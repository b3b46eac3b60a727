//! The second API: what etcd 3.4 answers, recorded, and what no record can say.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::cluster_harness::Cluster;
use crate::harness::{PATIENCE, Place, Server};
use crate::requests::{all, delete, put};

const VECTORS: &str = include_str!("v2_vectors.txt");

/// An answer, in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    fn index(&self) -> u64 {
        self.header("x-etcd-index").unwrap().parse().unwrap()
    }

    fn parse(head: &str, body: &[u8]) -> Self {
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Self {
            status: status.parse().unwrap(),
            headers: headers.collect(),
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(server: SocketAddr, method: &str, path: &str, headers: &[String], body: &str) -> Answer {
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for header in headers {
        request += &format!("{header}\r\n");
    }
    request += "\r\n";
    request += body;
    let mut stream = connect(server);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    Answer::parse(
        std::str::from_utf8(&answer[..end]).unwrap(),
        &answer[end + 4..],
    )
}

fn form() -> Vec<String> {
    vec!["Content-Type: application/x-www-form-urlencoded".to_owned()]
}

fn get(server: &Server, path: &str) -> Answer {
    ask(server.address(), "GET", path, &[], "")
}

fn set(server: &Server, path: &str, body: &str) -> Answer {
    ask(server.address(), "PUT", path, &form(), body)
}

/// Somebody who waits: the head of the answer is there, the body comes.
struct Waiting {
    stream: TcpStream,
    head: Answer,
    /// What came and was not looked at.
    rest: Vec<u8>,
}

impl Waiting {
    fn begin(server: &Server, path: &str) -> Self {
        let mut stream = connect(server.address());
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut waiting = Self {
            stream,
            head: Answer::parse("HTTP/1.1 0", b""),
            rest: Vec::new(),
        };
        let head = waiting.until(b"\r\n\r\n");
        waiting.head = Answer::parse(std::str::from_utf8(&head).unwrap(), b"");
        waiting
    }

    fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            let found = self.rest.windows(end.len()).position(|it| it == end);
            if let Some(at) = found {
                let mut before: Vec<u8> = self.rest.drain(..at + end.len()).collect();
                before.truncate(at);
                return before;
            }
            let mut buffer = [0; 4096];
            let read = self.stream.read(&mut buffer).unwrap();
            assert_ne!(read, 0, "the answer ends");
            self.rest.extend_from_slice(&buffer[..read]);
        }
    }

    /// The next chunk; none after the last.
    fn chunk(&mut self) -> Option<String> {
        let len = self.until(b"\r\n");
        let len = usize::from_str_radix(std::str::from_utf8(&len).unwrap(), 16).unwrap();
        let chunk = String::from_utf8(self.until(b"\r\n")).unwrap();
        assert_eq!(chunk.len(), len);
        (len > 0).then_some(chunk)
    }
}

fn v2(flags: &[&str]) -> Place {
    Place::new(&[&["--enable-v2"], flags].concat())
}

/// The text with indexes counted from `base`, and without times.
fn relative(text: &str, base: u64) -> String {
    let names = ["Index\":", "\"index\":", "\"expiration\":\"", "\"ttl\":"];
    let mut out = String::new();
    let mut rest = text;
    while let Some((at, name)) = names
        .iter()
        .filter_map(|name| rest.find(name).map(|at| (at, *name)))
        .min()
    {
        let (before, after) = rest.split_at(at + name.len());
        out += before;
        let end = match name {
            "\"expiration\":\"" => after.find('"').unwrap(),
            _ => after.find(|it: char| !it.is_ascii_digit()).unwrap(),
        };
        match after[..end].parse() {
            Ok(0) if name != "\"ttl\":" => out.push('0'),
            Ok(number) if name != "\"ttl\":" => write!(out, "{}", number - base).unwrap(),
            _ => out.push('*'),
        }
        rest = &after[end..];
    }
    out += rest;
    // Names of nodes in order are indexes too.
    let names = out.split('/').map(|part| {
        let name = part.split_at_checked(20);
        let number = name.and_then(|(digits, rest)| Some((digits.parse::<u64>().ok()?, rest)));
        number.map_or_else(
            || part.to_owned(),
            |(number, rest)| format!("{:020}{rest}", number - base),
        )
    });
    names.collect::<Vec<_>>().join("/")
}

fn shown(answer: &Answer, base: u64) -> String {
    let mut headers = Vec::new();
    for name in [
        "x-etcd-index",
        "content-type",
        "allow",
        "location",
        "x-content-type-options",
    ] {
        if let Some(value) = answer.header(name) {
            let index = value.parse::<u64>().ok().filter(|_| name == "x-etcd-index");
            let value = match index {
                Some(0) | None => value.to_owned(),
                Some(index) => (index - base).to_string(),
            };
            headers.push(format!("{name}={value}"));
        }
    }
    if answer.header("x-etcd-cluster-id").is_some() {
        headers.push("cluster".to_owned());
    }
    let body = relative(&answer.body, base).replace('\n', "⏎");
    format!("{} [{}] {body}", answer.status, headers.join("; "))
}

fn request_headers(hints: &str) -> Vec<String> {
    let mut headers = Vec::new();
    for hint in hints.split_whitespace() {
        let header = match hint {
            "form" => form().remove(0),
            "form-utf8" => form().remove(0) + "; charset=utf-8",
            "json" => "Content-Type: application/json".to_owned(),
            "untyped" => continue,
            who => {
                let encoded = STANDARD.encode(who.strip_prefix("as=").unwrap());
                format!("Authorization: Basic {encoded}")
            }
        };
        headers.push(header);
    }
    headers
}

#[test]
fn every_recorded_request_is_answered_as_etcd_answers_it() {
    let server = v2(&["--bcrypt-cost=4"]).start();
    let base = get(&server, "/v2/keys").index();
    let lines: Vec<&str> = VECTORS.lines().filter(|it| !it.starts_with('#')).collect();
    for pair in lines.chunks(2) {
        let request = pair[0].strip_prefix("> ").unwrap();
        let expected = pair[1].strip_prefix("< ").unwrap();
        let (head, rest) = request.split_once(" [").unwrap();
        let (method, path) = head.split_once(' ').unwrap();
        let (hints, body) = rest.split_once(']').unwrap();
        let body = body.strip_prefix(' ').unwrap_or_default();
        let answer = ask(
            server.address(),
            method,
            path,
            &request_headers(hints),
            body,
        );
        let origin = answer.header("access-control-allow-origin");
        assert_eq!(origin, Some("*"), "{request}");
        assert_eq!(shown(&answer, base), expected, "{request}");
    }
}

#[test]
fn the_second_api_is_there_only_if_it_is_asked_for() {
    let server = Place::new(&[]).start();
    for path in [
        "/v2/keys",
        "/v2/machines",
        "/v2/stats/self",
        "/v2/auth/users",
    ] {
        let answer = get(&server, path);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (404, "404 page not found\n")
        );
    }
}

#[tokio::test]
async fn appends_are_counted_where_they_are_sent_and_received() {
    let cluster = Cluster::start(2, &["--enable-v2"]);
    let leader = cluster.leader(&[0, 1]).await;
    let (leader, follower) = (cluster.member(leader), cluster.member(1 - leader));
    let told = |server, path| -> Value { serde_json::from_str(&get(server, path).body).unwrap() };
    let own = |server, what: &str| told(server, "/v2/stats/self")[what].as_u64().unwrap();
    let before = own(leader, "sendAppendRequestCnt");
    let mut clients = leader.clients().await;
    clients.kv.put(put("a", "1")).await.unwrap();
    assert!(own(leader, "sendAppendRequestCnt") > before);
    assert_eq!(own(follower, "sendAppendRequestCnt"), 0);
    assert!(own(follower, "recvAppendRequestCnt") > 0);
    let followers = told(leader, "/v2/stats/leader")["followers"].clone();
    let id = told(follower, "/v2/stats/self")["id"].clone();
    let stats = &followers[id.as_str().unwrap()];
    assert!(stats["counts"]["success"].as_u64() > Some(0), "{stats}");
    let latency = |what: &str| stats["latency"][what].as_f64().unwrap();
    let ascending = [
        0.0,
        latency("minimum"),
        latency("average"),
        latency("maximum"),
    ];
    assert!(ascending.is_sorted(), "{stats}");
    assert_eq!(get(follower, "/v2/stats/leader").status, 403);
}

#[test]
fn a_wait_begins_at_once_and_ends_with_the_event() {
    let server = v2(&[]).start();
    let mut waiting = Waiting::begin(&server, "/v2/keys/w?wait=true");
    let begun = waiting.head.index();
    assert_eq!(waiting.head.header("transfer-encoding"), Some("chunked"));
    assert_eq!(set(&server, "/v2/keys/other", "value=0").status, 201);
    assert_eq!(set(&server, "/v2/keys/w", "value=1").index(), begun + 2);
    let expected = format!(
        "{{\"action\":\"set\",\"node\":{{\"key\":\"/w\",\"value\":\"1\",\"modifiedIndex\":{0},\"createdIndex\":{0}}}}}\n",
        begun + 2
    );
    assert_eq!(waiting.chunk(), Some(expected.clone()));
    assert_eq!(waiting.chunk(), None);
    let path = format!("/v2/keys/w?wait=true&waitIndex={}", begun + 1);
    assert_eq!(Waiting::begin(&server, &path).chunk(), Some(expected));
}

#[test]
fn a_stream_goes_on_and_is_told_of_what_expires() {
    let server = v2(&[]).start();
    let mut stream = Waiting::begin(&server, "/v2/keys/?wait=true&stream=true&recursive=true");
    set(&server, "/v2/keys/a/b", "value=1&ttl=1");
    set(&server, "/v2/keys/_hidden", "value=1");
    set(&server, "/v2/keys/c", "value=1");
    for action in ["\"set\"", "\"set\"", "\"expire\""] {
        let chunk = stream.chunk().unwrap();
        assert!(
            chunk.starts_with(&format!("{{\"action\":{action}")),
            "{chunk}"
        );
        assert!(!chunk.contains("hidden"), "{chunk}");
    }
    assert_eq!(get(&server, "/v2/keys/a/b").status, 404);
}

#[test]
fn keys_and_events_survive_a_restart() {
    let server = v2(&[]).start();
    let made = set(&server, "/v2/keys/a", "value=1&ttl=100");
    let (before, index) = (get(&server, "/v2/keys/a"), made.index());
    let server = server.kill().start();
    let after = get(&server, "/v2/keys/a");
    assert_eq!(relative(&after.body, 0), relative(&before.body, 0));
    assert!(after.body.contains("\"ttl\":"), "{}", after.body);
    let past = Waiting::begin(&server, &format!("/v2/keys/a?wait=true&waitIndex={index}")).chunk();
    assert_eq!(past, Some(made.body));
}

#[tokio::test]
async fn the_third_api_sees_nothing_of_the_second_and_its_index_is_the_revision() {
    let server = v2(&[]).start();
    let mut kv = server.clients().await.kv;
    let before = set(&server, "/v2/keys/a", "value=1").index();
    let revision = kv.put(put("k", "v")).await.unwrap().into_inner();
    let revision = u64::try_from(revision.header.unwrap().revision).unwrap();
    assert_eq!(revision, before + 1);
    assert_eq!(get(&server, "/v2/keys/a").index(), revision);
    let found = kv.range(all()).await.unwrap().into_inner();
    assert_eq!((found.count, found.kvs.len()), (1, 1));
    let deleted = kv.delete_range(delete("\0", "\0")).await.unwrap();
    assert_eq!(deleted.into_inner().deleted, 1);
    assert_eq!(get(&server, "/v2/keys/a").status, 200);
    let refused = kv.put(put("\0cairn\0x", "v")).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: key is reserved");
}

#[tokio::test]
async fn a_wait_reaches_back_to_the_compaction_and_no_further() {
    let server = v2(&[]).start();
    for value in 0..1100 {
        assert!(set(&server, "/v2/keys/a", &format!("value={value}")).status < 300);
    }
    let mut waiting = Waiting::begin(&server, "/v2/keys/a?wait=true&waitIndex=2");
    assert!(
        waiting.chunk().unwrap().contains("\"value\":\"0\""),
        "not 1000 events, but all"
    );
    let index = get(&server, "/v2/keys/a").index();
    let mut kv = server.clients().await.kv;
    let request = cairn_proto::etcdserverpb::CompactionRequest {
        revision: i64::try_from(index).unwrap(),
        physical: false,
    };
    kv.compact(request).await.unwrap();
    let cleared = get(&server, "/v2/keys/a?wait=true&waitIndex=2");
    let body = format!(
        "{{\"errorCode\":401,\"message\":\"The event in requested index is outdated and cleared\",\
         \"cause\":\"the requested history has been cleared [{index}/2]\",\"index\":{index}}}\n"
    );
    assert_eq!((cleared.status, cleared.body), (400, body));
    let path = format!("/v2/keys/a?wait=true&waitIndex={index}");
    assert!(
        Waiting::begin(&server, &path)
            .chunk()
            .unwrap()
            .contains("1099")
    );
}

#[test]
fn hostile_requests_cost_an_error_each() {
    let server = v2(&[]).start();
    let deep = "/a".repeat(600);
    assert_eq!(
        set(&server, &format!("/v2/keys{deep}"), "value=1").status,
        400
    );
    assert_eq!(get(&server, "/v2/keys/%zz").status, 400);
    let long = format!("value={}", "x".repeat((10 << 20) + 1));
    let refused = set(&server, "/v2/keys/a", &long);
    assert!(
        refused.body.contains("\"errorCode\":210"),
        "{}",
        refused.body
    );
    let nested = "[".repeat(10_000);
    let json = vec!["Content-Type: application/json".to_owned()];
    let refused = ask(server.address(), "PUT", "/v2/auth/users/u", &json, &nested);
    assert_eq!(refused.status, 400);
    assert_eq!(get(&server, "/v2/keys").status, 200);
}
