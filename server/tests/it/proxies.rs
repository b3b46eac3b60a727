//! `cairn grpc-proxy`: what clients see through it, and what goes upstream.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use cairn_proto::etcdserverpb::watch_request::RequestUnion;
use cairn_proto::etcdserverpb::{
    CompactionRequest, MemberListRequest, WatchCreateRequest, WatchProgressRequest,
};
use cairn_testbed::ports::free_address;

use crate::harness::{Clients, Server, binary, clients_at, until};
use crate::http_client::request;
use crate::requests::{COMPACTED, put, range, refused};
use crate::watches::Watching;

/// A proxy's process.
struct Proxy {
    child: Child,
    address: SocketAddr,
}

impl Proxy {
    async fn start(server: SocketAddr, flags: &[&str]) -> Self {
        let address = free_address().unwrap();
        let child = Command::new(binary())
            .args(["grpc-proxy", "start"])
            .arg(format!("--listen-addr={address}"))
            .arg(format!("--endpoints=http://{server}"))
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
    assert_eq!(list.members[0].client_urls, ["http://proxy:1"]);
    assert_eq!(proxy.page("/health"), r#"{"health":"true","reason":""}"#);
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
    assert!(proxy.page("/metrics").lines().any(|line| line == shared));
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
