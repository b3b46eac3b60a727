//! `cairn grpc-proxy`: what clients see through it, and what goes upstream.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use cairn_proto::etcdserverpb::cluster_client::ClusterClient;
use cairn_proto::etcdserverpb::kv_client::KvClient;
use cairn_proto::etcdserverpb::watch_request::RequestUnion;
use cairn_proto::etcdserverpb::{
    CompactionRequest, MemberListRequest, RangeRequest, WatchCreateRequest, WatchProgressRequest,
};
use cairn_testbed::ports::free_address;
use prost::Message;
use tonic::transport::Channel;

use crate::absurd_clients::framed;
use crate::harness::{Clients, Server, binary, clients_at, until};
use crate::http_client::request;
use crate::requests::{COMPACTED, put, range, refused};
use crate::tls::{BOTH, Files, ask, channel, client, secure};
use crate::watches::Watching;

/// A proxy's process.
struct Proxy {
    child: Child,
    address: SocketAddr,
}

impl Proxy {
    async fn start(server: SocketAddr, flags: &[&str]) -> Self {
        let mut flags = flags.to_vec();
        let endpoints = format!("--endpoints=http://{server}");
        flags.insert(0, &endpoints);
        Self::start_with(&flags).await
    }

    async fn start_with(flags: &[&str]) -> Self {
        let address = free_address().unwrap();
        let child = Command::new(binary())
            .args(["grpc-proxy", "start"])
            .arg(format!("--listen-addr={address}"))
            .args(flags)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let proxy = Self { child, address };
        until("the proxy", async || {
            tokio::net::TcpStream::connect(address).await.is_ok()
        })
        .await;
        proxy
    }

    async fn clients(&self) -> Clients {
        clients_at(self.address).await
    }

    fn page(&self, path: &str) -> String {
        request(self.address, "GET", path, &[], b"").text()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn watch(key: &str) -> WatchCreateRequest {
    WatchCreateRequest {
        key: key.to_owned().into(),
        ..WatchCreateRequest::default()
    }
}

#[tokio::test]
async fn calls_and_refusals_go_through_as_they_are() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(server.address(), &["--advertise-client-url=proxy:1"]).await;
    let mut clients = proxy.clients().await;
    clients.kv.put(put("k", "1")).await.unwrap();
    clients.kv.put(put("k", "2")).await.unwrap();
    let answer = clients.kv.range(range("k", "")).await.unwrap().into_inner();
    assert_eq!(answer.kvs[0].value, "2");
    let compaction = CompactionRequest {
        revision: 3,
        physical: true,
    };
    clients.kv.compact(compaction).await.unwrap();
    refused(clients.kv.compact(compaction).await, COMPACTED, "again");
    let list = MemberListRequest::default();
    let list = clients
        .cluster
        .member_list(list)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(list.members[0].client_urls, ["proxy:1"]);
    assert_eq!(proxy.page("/health"), r#"{"health":"true","reason":""}"#);
}

/// Go's clients take an error in the head of an answer only if the answer ends with it.
#[tokio::test]
async fn an_error_ends_with_the_head_of_its_answer() {
    let server = Server::start(&[]);
    for flag in ["--namespace=", "--namespace=ns/"] {
        let proxy = Proxy::start(server.address(), &[flag]).await;
        let socket = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
        let (requests, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        let url = format!("http://{}/etcdserverpb.KV/Range", proxy.address);
        let head = http::Request::post(url)
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let mut requests = requests.ready().await.unwrap();
        let (answer, mut body) = requests
            .send_request(head.body(()).unwrap(), false)
            .unwrap();
        let request = RangeRequest {
            revision: 1_000_000,
            ..range("k", "")
        };
        body.send_data(framed(&request.encode_to_vec()), true)
            .unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], "11", "{flag}");
        assert!(answer.body().is_end_stream(), "{flag}");
    }
}

#[tokio::test]
async fn equal_watches_are_one_upstream_and_miss_nothing_while_it_breaks() {
    let flag = format!("--listen-client-urls=http://{}", free_address().unwrap());
    let mut server = Server::start(&[&flag]);
    let proxy = Proxy::start(server.address(), &[]).await;
    let clients = proxy.clients().await;
    let mut watchings = Vec::new();
    for _ in 0..10 {
        let mut watching = Watching::open(&clients).await;
        watching.create(watch("k")).await;
        assert!(watching.next().await.created);
        watchings.push(watching);
    }
    let mut direct = server.clients().await;
    direct.kv.put(put("k", "1")).await.unwrap();
    for watching in &mut watchings {
        assert_eq!(
            watching.next().await.events[0].kv.as_ref().unwrap().value,
            "1"
        );
    }
    until("one watch upstream", async || {
        crate::metrics::total(&server, "etcd_debugging_mvcc_watcher_total") < 1.5
    })
    .await;
    let shared = "etcd_grpc_proxy_watchers_coalescing_total 9";
    assert!(
        proxy
            .page("/proxy/metrics")
            .lines()
            .any(|line| line == shared)
    );
    // From the past: what the others have had already comes all the same.
    let mut late = Watching::open(&clients).await;
    let past = WatchCreateRequest {
        start_revision: 2,
        ..watch("k")
    };
    late.create(past).await;
    assert!(late.next().await.created);
    assert_eq!(late.next().await.events[0].kv.as_ref().unwrap().value, "1");

    server = server.kill().start();
    let mut direct = server.clients().await;
    direct.kv.put(put("k", "2")).await.unwrap();
    for watching in watchings.iter_mut().chain([&mut late]) {
        let answer = watching.next().await;
        assert_eq!(answer.events.len(), 1);
        assert_eq!(answer.events[0].kv.as_ref().unwrap().value, "2");
    }
}

#[tokio::test]
async fn progress_covers_what_was_acknowledged_before_it_was_asked_for() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(server.address(), &[]).await;
    let clients = proxy.clients().await;
    let mut direct = server.clients().await;
    let mut watching = Watching::open(&clients).await;
    for key in ["a", "b"] {
        watching.create(watch(key)).await;
        assert!(watching.next().await.created);
    }
    for _ in 0..30 {
        let put = direct.kv.put(put("elsewhere", "x")).await.unwrap();
        let acknowledged = put.into_inner().header.unwrap().revision;
        watching
            .ask(RequestUnion::ProgressRequest(WatchProgressRequest {}))
            .await;
        let told = watching.next().await;
        assert_eq!(told.watch_id, -1);
        assert!(told.header.unwrap().revision >= acknowledged);
    }
}

/// What lists of members say that clients should call.
async fn listed(channel: Channel) -> Vec<String> {
    let mut cluster = ClusterClient::new(channel);
    let list = cluster.member_list(MemberListRequest::default()).await;
    let members = list.unwrap().into_inner().members;
    members.into_iter().flat_map(|it| it.client_urls).collect()
}

#[tokio::test]
async fn proxies_under_one_prefix_name_each_other_while_they_live() {
    let server = Server::start(&[]);
    let flags = ["--resolver-prefix=/proxies", "--resolver-ttl=2"];
    let start = async |own: &str| {
        let own = format!("--advertise-client-url={own}");
        Proxy::start(server.address(), &[&own, flags[0], flags[1]]).await
    };
    let first = start("first:1").await;
    let second = start("second:1").await;
    for proxy in [&first, &second] {
        until("both proxies", async || {
            listed(proxy.clients().await.channel).await == ["first:1", "second:1"]
        })
        .await;
    }
    // As etcd's client for Go reads endpoints.
    let mut direct = server.clients().await;
    let entry = direct.kv.range(range("/proxies/first:1", "")).await;
    let entry = entry.unwrap().into_inner().kvs.remove(0);
    assert_ne!(entry.lease, 0);
    let entry: serde_json::Value = serde_json::from_slice(&entry.value).unwrap();
    assert_eq!(
        (&entry["Op"], &entry["Addr"]),
        (&0.into(), &"first:1".into())
    );
    let metadata: serde_json::Value =
        serde_json::from_str(entry["Metadata"].as_str().unwrap()).unwrap();
    assert!(metadata["name"].is_string(), "{metadata}");
    drop(first);
    until("the first to be forgotten", async || {
        listed(second.clients().await.channel).await == ["second:1"]
    })
    .await;
    let none = Proxy::start(server.address(), &["--advertise-client-url="]).await;
    let members = listed(none.clients().await.channel).await;
    assert_eq!(members, listed(direct.channel).await);
}

#[tokio::test]
async fn a_proxy_with_a_certificate_serves_calls_and_pages_over_tls_to_who_has_one() {
    let files = Files::new();
    let server = files.start(&["--trusted-ca-file={}/ca.pem", "--client-cert-auth"]);
    let nameless = files.user("");
    nameless.write(files.path(), "proxy");
    let metrics = free_address().unwrap();
    let at = |flag: &str, file: &str| format!("--{flag}={}/{file}", files.path().display());
    let flags = [
        format!("--endpoints=https://{}", server.address()),
        format!("--metrics-addr=https://{metrics}"),
        at("cert-file", "server.pem"),
        at("key-file", "server.key"),
        at("trusted-ca-file", "ca.pem"),
        at("cert", "proxy.pem"),
        at("key", "proxy.key"),
        at("cacert", "ca.pem"),
    ];
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let proxy = Proxy::start_with(&flags).await;
    let user = files.user("anyone");
    let through = channel(proxy.address, &files.client_with(&user))
        .await
        .unwrap();
    let mut kv = KvClient::new(through);
    kv.put(put("k", "v")).await.unwrap();
    let got = kv.range(range("k", "")).await.unwrap().into_inner();
    assert_eq!(got.kvs[0].value, "v");
    let config = |own| {
        let mut config = std::sync::Arc::unwrap_or_clone(client(&files.authority.pem, own, BOTH));
        config.alpn_protocols = Vec::new();
        std::sync::Arc::new(config)
    };
    // The second address has the pages alone, by the same rules.
    for (address, path, told) in [
        (proxy.address, "/health", r#"{"health":"true""#),
        (proxy.address, "/metrics", "\netcd_server_has_leader 1\n"),
        (
            metrics,
            "/proxy/metrics",
            "\netcd_grpc_proxy_watchers_coalescing_total 0\n",
        ),
        (metrics, "/health", r#"{"health":"true""#),
    ] {
        let stream = secure(address, config(Some(&user))).await.unwrap();
        let answer = ask(stream, &format!("GET {path}"), "", "").await;
        assert!(answer.contains(told), "{path}: {answer}");
    }
    for address in [proxy.address, metrics] {
        // Who shows no certificate finds out when it reads.
        if let Ok(stream) = secure(address, config(None)).await {
            assert_eq!(ask(stream, "GET /health", "", "").await, "");
        }
    }
}

#[tokio::test]
async fn a_proxy_makes_its_own_certificate() {
    let server = Server::start(&[]);
    let home = tempfile::tempdir().unwrap();
    let data = format!("--data-dir={}", home.path().display());
    let proxy = Proxy::start(server.address(), &["--auto-tls", &data]).await;
    let made = home.path().join("fixtures/proxy/cert.pem");
    let authority = std::fs::read_to_string(made).unwrap();
    let mut config = std::sync::Arc::unwrap_or_clone(client(&authority, None, BOTH));
    config.alpn_protocols = Vec::new();
    let stream = secure(proxy.address, std::sync::Arc::new(config)).await;
    let answer = ask(stream.unwrap(), "GET /health", "", "").await;
    assert!(answer.contains(r#"{"health":"true""#), "{answer}");
}

/// Flags that etcd refuses too, and what is said of them.
#[test]
fn flags_that_contradict_each_other_end_a_proxy_before_it_listens() {
    let files = Files::new();
    files.user("alice").write(files.path(), "alice");
    let at = |flag: &str, file: &str| format!("--{flag}={}/{file}", files.path().display());
    let named = [
        at("cert", "alice.pem"),
        at("key", "alice.key"),
        at("cacert", "ca.pem"),
    ];
    let named: Vec<_> = named.iter().map(String::as_str).collect();
    let ca = at("trusted-ca-file", "ca.pem");
    let refused: [(&[&str], &str); 10] = [
        (&["--resolver-prefix=p"], "invalid resolver-ttl 0"),
        (&["--resolver-ttl=5"], "invalid resolver-prefix \"\""),
        (
            &[
                "--resolver-prefix=p",
                "--resolver-ttl=5",
                "--advertise-client-url=",
            ],
            "invalid advertise-client-url \"\"",
        ),
        (
            &["--auto-tls", "--self-signed-cert-validity=0"],
            "should be greater than 0",
        ),
        (
            &["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
            "min version (TLS1.3) is greater than max version (TLS1.2)",
        ),
        (&["--tls-min-version=TLS9"], "unexpected TLS version"),
        (&[&ca], "KeyFile and CertFile are not presented"),
        (
            &["--metrics-addr=https://127.0.0.1:1"],
            "KeyFile and CertFile are not presented",
        ),
        (
            &["--experimental-leasing-prefix=l/"],
            "--experimental-leasing-prefix is refused",
        ),
        (&named, "cert has non empty Common Name (alice)"),
    ];
    for (flags, told) in refused {
        let ended = Command::new(binary())
            .args(["grpc-proxy", "start"])
            .arg(format!("--listen-addr={}", free_address().unwrap()))
            .args(flags)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{flags:?}: {said}");
        assert!(said.contains(told), "{flags:?}: {said}");
    }
}

/// The flags of etcd 3.7's `grpc-proxy start` and `gateway start`.
#[test]
fn flags_are_etcds_and_none_means_nothing() {
    let proxys = "advertise-client-url auto-tls cacert cert cert-file client-crl-file data-dir debug \
        dial-keepalive-time dial-keepalive-timeout discovery-srv discovery-srv-name enable-pprof \
        endpoints endpoints-auto-sync-interval experimental-enable-grpc-logging \
        experimental-leasing-prefix experimental-serializable-ordering grpc-keepalive-interval \
        grpc-keepalive-min-time grpc-keepalive-timeout help insecure-discovery \
        insecure-skip-tls-verify key key-file listen-addr listen-cipher-suites \
        max-concurrent-streams max-recv-bytes max-send-bytes metrics-addr namespace \
        permit-without-stream resolver-prefix resolver-ttl self-signed-cert-validity \
        tls-max-version tls-min-version trusted-ca-file";
    let gateways = "discovery-srv discovery-srv-name endpoints help insecure-discovery listen-addr \
        retry-delay trusted-ca-file";
    for (command, flags) in [("grpc-proxy", proxys), ("gateway", gateways)] {
        let help = Command::new(binary())
            .args([command, "start", "--help"])
            .output()
            .unwrap();
        assert!(help.status.success());
        let help = String::from_utf8(help.stdout).unwrap();
        let mut shown: Vec<_> = help
            .lines()
            .filter_map(|line| {
                line.trim_start()
                    .strip_prefix("-h, ")
                    .or_else(|| Some(line.trim_start()))
            })
            .filter_map(|line| line.strip_prefix("--"))
            .map(|line| line.split([' ', '[']).next().unwrap())
            .collect();
        shown.sort_unstable();
        assert_eq!(
            shown,
            flags.split_whitespace().collect::<Vec<_>>(),
            "{help}"
        );
        assert!(!help.contains("not in this build"), "{help}");
    }
}

#[tokio::test]
async fn a_namespace_is_what_clients_see_of_it() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(server.address(), &["--namespace=ns/"]).await;
    let mut clients = proxy.clients().await;
    let mut direct = server.clients().await;
    let mut watching = Watching::open(&clients).await;
    watching.create(watch("k")).await;
    assert!(watching.next().await.created);
    direct.kv.put(put("k", "outside")).await.unwrap();
    clients.kv.put(put("k", "inside")).await.unwrap();
    let told = watching.next().await.events[0].kv.clone().unwrap();
    assert_eq!(
        (told.key.as_ref(), told.value.as_ref()),
        (&b"k"[..], &b"inside"[..])
    );
    let upstream = direct
        .kv
        .range(range("ns/k", ""))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(upstream.kvs[0].value, "inside");
    let all = clients
        .kv
        .range(range("\0", "\0"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((all.kvs.len(), all.kvs[0].key.as_ref()), (1, &b"k"[..]));
}
