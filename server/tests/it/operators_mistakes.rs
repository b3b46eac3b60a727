//! Flags that do not fit together, or not what is running: each start says what is wrong, in etcd 3.7.1's
//! words where it has some, and what to do; exit code 1, and nothing is left in the data directory.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use cairn_proto::etcdserverpb::kv_client::KvClient;
use cairn_proto::etcdserverpb::{MemberListRequest, MemberRemoveRequest, StatusRequest};
use cairn_testbed::ports::free_address;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::cluster_harness::{self, Cluster, status};
use crate::gate::Gate;
use crate::harness::{PATIENCE, Place, Refusal, Server, until};
use crate::requests::{put, range};
use crate::tls::Files;

/// What a start must say: etcd's words, and what to do about it.
struct Said {
    etcds: &'static str,
    hint: &'static str,
}

fn refusal(flags: &[&str]) -> Refusal {
    let place = Place::new(flags);
    let refusal = place.refusal();
    let left = std::fs::read_dir(place.data_dir()).map(Iterator::count);
    assert!(left.unwrap_or_default() <= 1, "nothing but a lock is left");
    refusal
}

fn assert_said(flags: &[&str], said: &Said) {
    let refusal = refusal(flags);
    assert_eq!(refusal.status.code(), Some(1), "{flags:?}: {}", refusal.log);
    for words in [said.etcds, said.hint] {
        assert!(
            refusal.log.contains(words),
            "{flags:?}: {words:?} is not in {}",
            refusal.log
        );
    }
}

#[test]
fn first_starts_whose_flags_contradict_each_other_say_so() {
    const URL: &str = "http://127.0.0.1:29991";
    for (cluster, etcds, hint) in [
        (
            "two=http://127.0.0.1:29991",
            r#"couldn't find local name \"one\" in the initial cluster configuration"#,
            "--initial-cluster must hold one=",
        ),
        (
            "one=http://127.0.0.1:29991,one=http://127.0.0.1:29992",
            "but missing from --initial-advertise-peer-urls=http://127.0.0.1:29991",
            "give both the same addresses",
        ),
        (
            "one=http://127.0.0.1:29991,two=http://127.0.0.1:29991",
            "has duplicate url",
            "each member has addresses of its own",
        ),
        (
            "one=http://127.0.0.1:29992",
            "--initial-cluster has one=http://127.0.0.1:29992 but missing from \
             --initial-advertise-peer-urls=http://127.0.0.1:29991",
            "localhost is not 127.0.0.1",
        ),
        (
            "one=http://127.0.0.1:29991/x",
            "URL must not contain a path: http://127.0.0.1:29991/x",
            "write scheme://host:port and nothing more",
        ),
    ] {
        let flags = ["--name=one", "--initial-advertise-peer-urls", URL];
        let flags = [&flags[..], &["--initial-cluster", cluster]].concat();
        assert_said(&flags, &Said { etcds, hint });
    }
    let said = Said {
        etcds: "TLS key/cert (--cert-file, --key-file) must be provided for",
        hint: "--auto-tls makes them",
    };
    assert_said(&["--listen-client-urls=https://127.0.0.1:0"], &said);
}

/// The flags of somebody who joins at `url`, beside `others`.
fn joining(url: &str, others: &[&str]) -> Vec<String> {
    let mut cluster = vec![format!("joining={url}")];
    cluster.extend(others.iter().map(|&other| other.to_owned()));
    vec![
        "--name=joining".to_owned(),
        format!("--listen-peer-urls={url}"),
        format!("--initial-advertise-peer-urls={url}"),
        format!("--initial-cluster={}", cluster.join(",")),
        "--initial-cluster-state=existing".to_owned(),
    ]
}

#[test]
fn who_joins_at_the_wrong_place_or_unasked_is_told_where_and_how() {
    let peer = format!("http://{}", free_address().unwrap());
    let member = Server::start(&[
        "--name=member",
        "--listen-peer-urls",
        &peer,
        "--initial-advertise-peer-urls",
        &peer,
        "--initial-cluster",
        &format!("member={peer}"),
    ]);
    let tls = format!("https://{}", free_address().unwrap());
    let _of_tls = Server::start(&[
        "--name=member",
        "--peer-auto-tls",
        "--listen-peer-urls",
        &tls,
        "--initial-advertise-peer-urls",
        &tls,
        "--initial-cluster",
        &format!("member={tls}"),
    ]);
    let plain = tls.replace("https:", "http:");
    let nobody = format!("http://{}", free_address().unwrap());
    let client = format!("http://{}", member.address());
    let secured = peer.replace("http:", "https:");
    let not_retrieved = "cannot fetch cluster info from peer urls: could not retrieve cluster information from the \
         given URLs";
    for (other, etcds, hint) in [
        (&nobody, not_retrieved, "Connection refused"),
        (&client, not_retrieved, "is it for clients?"),
        (&secured, not_retrieved, "the address wants TLS"),
        (&plain, not_retrieved, "does who listens there want https?"),
        (
            &peer,
            "error validating peerURLs",
            "Add this member first (`etcdctl member add`)",
        ),
    ] {
        let url = format!("http://{}", free_address().unwrap());
        let flags = joining(&url, &[&format!("member={other}")]);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        assert_said(&flags, &Said { etcds, hint });
    }
}

/// As with etcd, a directory knows who it belongs to, and flags for a first start say nothing more.
#[tokio::test]
async fn a_restart_under_another_name_token_peer_url_or_cluster_is_the_same_member() {
    let urls: Vec<_> = (0..3)
        .map(|_| format!("http://{}", free_address().unwrap()))
        .collect();
    let flags = |name: &str, url: &str, more: &str| {
        let cluster = format!("--initial-cluster={name}={url}{more}");
        let urls = ["--listen-peer-urls=", "--initial-advertise-peer-urls="];
        let urls = urls.map(|flag| format!("{flag}{url}"));
        let mut flags = vec![format!("--name={name}"), cluster];
        flags.extend(urls);
        flags
    };
    let mut server = Place::new(&[]).start_with(&flags("one", &urls[0], ""));
    let mut clients = server.clients().await;
    clients.kv.put(put("k", "v")).await.unwrap();
    let status = clients.maintenance.status(StatusRequest {}).await.unwrap();
    let first = status.into_inner().header.unwrap();
    let bigger = format!(",two={}", urls[2]);
    let mut token = flags("one", &urls[0], "");
    token.push("--initial-cluster-token=another".to_owned());
    for flags in [
        flags("renamed", &urls[0], ""),
        token,
        flags("one", &urls[1], ""),
        flags("one", &urls[0], &bigger),
    ] {
        server = server.stop().start_with(&flags);
        let mut clients = server.clients().await;
        let read = clients.kv.range(range("k", "")).await.unwrap().into_inner();
        assert_eq!(read.kvs[0].value, "v", "{flags:?}");
        let header = read.header.unwrap();
        assert_eq!(
            (header.cluster_id, header.member_id),
            (first.cluster_id, first.member_id),
            "{flags:?}"
        );
        let request = MemberListRequest::default();
        let members = clients.cluster.member_list(request).await.unwrap();
        let members = members.into_inner().members;
        assert_eq!(members.len(), 1, "{flags:?}");
        assert_eq!(members[0].peer_urls, [urls[0].clone()], "{flags:?}");
    }
}

/// etcd lets such a client wait until its time is over.
#[tokio::test]
async fn a_client_at_the_peer_port_is_told_that_nobody_serves_it_there() {
    let peer = free_address().unwrap();
    let url = format!("http://{peer}");
    let _server = Server::start(&[
        "--listen-peer-urls",
        &url,
        "--initial-advertise-peer-urls",
        &url,
        "--initial-cluster",
        &format!("default={url}"),
    ]);
    let endpoint = Endpoint::from_shared(url).unwrap();
    let mut kv = KvClient::new(endpoint.connect().await.unwrap());
    let refused = kv.range(range("k", "")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

#[tokio::test]
async fn plain_text_where_tls_is_wanted_is_told_in_the_log_and_tls_on_a_plain_port_ends_at_once() {
    let files = Files::new();
    let secured = files.start(&["--listen-client-urls=https://127.0.0.1:0"]);
    let mut socket = TcpStream::connect(secured.address()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(b"GET /health HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // An alert, or an end: never an answer.
    let _ = socket.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/"));
    let words = "tls: first record does not look like a TLS handshake; is it a client of http";
    until("the log to tell", async || secured.log().contains(words)).await;

    let plain = Server::start(&[]);
    let mut socket = TcpStream::connect(plain.address()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(b"\x16\x03\x01\x00\x05hello").unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    assert!(
        !answer.is_empty(),
        "an error, from which clients see that it is no TLS"
    );
}

/// etcd's words, and its exit code: a service manager does not start it again.
#[tokio::test]
async fn a_member_that_was_removed_while_it_was_down_is_told_so_when_it_comes_back() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader(&[0, 1, 2]).await;
    let number = (leader + 1) % 3;
    let header = status(&mut cluster.clients(number).await).await;
    let id = header.unwrap().header.unwrap().member_id;
    cluster.settle().await;
    cluster.kill(number);
    let mut at_leader = cluster.clients(leader).await;
    until("a cluster that lets it go", async || {
        let removed = at_leader.cluster.member_remove(MemberRemoveRequest { id });
        removed.await.is_ok()
    })
    .await;
    let refusal = cluster.refusal(number);
    for words in [
        "the member has been permanently removed from the cluster",
        "data-dir used by this member must be removed",
    ] {
        assert!(refusal.log.contains(words), "{words}: {}", refusal.log);
    }
    assert_eq!(refusal.status.code(), Some(0), "{}", refusal.log);
    let mut clients = cluster.clients(leader).await;
    cluster_harness::put(&mut clients, "after", "it")
        .await
        .unwrap();
}

/// As behind a load balancer: what is meant for the third comes to the second.
#[test]
fn two_members_behind_one_address_are_told_apart() {
    let addresses: Vec<_> = (0..3).map(|_| free_address().unwrap()).collect();
    let gate = Gate::before(addresses[1]);
    let urls = [addresses[0], addresses[1], gate.address()].map(|it| format!("http://{it}"));
    let initial: Vec<_> = (0..)
        .zip(&urls)
        .map(|(n, url)| format!("m{n}={url}"))
        .collect();
    let initial = format!("--initial-cluster={}", initial.join(","));
    let begin = |number: usize| {
        let flags = [
            format!("--name=m{number}"),
            format!("--listen-peer-urls=http://{}", addresses[number]),
            format!("--initial-advertise-peer-urls={}", urls[number]),
            initial.clone(),
        ];
        thread::spawn(move || Place::new(&[]).start_with(&flags))
    };
    let begun = [begin(0), begin(1)];
    let [first, _second] = begun.map(|server| server.join().unwrap());
    let told = format!("another member answers at {}", urls[2]);
    for words in ["member ID mismatch", &told, "each member needs peer URLs"] {
        let log = first.log();
        assert!(log.contains(words), "{words}: {log}");
    }
}
