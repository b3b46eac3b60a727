//! Numbers that a scrape shows, and that they move with what they count.

use std::time::Duration;

use cairn_proto::etcdserverpb::{CompactionRequest, SnapshotRequest, WatchCreateRequest};
use rustix::process::Signal;

use crate::cluster_harness::{Cluster, get, put as put_one};
use crate::harness::{Clients, Server, until};
use crate::http_client::request;
use crate::requests::put;
use crate::watches::Watching;

/// All series of a family together.
pub(crate) fn total(server: &Server, family: &str) -> f64 {
    let page = request(server.address(), "GET", "/metrics", &[], b"").text();
    let series = page.lines().filter(|line| {
        let rest = line.strip_prefix(family);
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
    });
    series
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

async fn moves(server: &Server, family: &str) {
    until(family, async || total(server, family) > 0.0).await;
}

#[tokio::test]
async fn what_a_member_does_alone_is_counted() {
    let server = Server::start(&["--enable-v2"]);
    let mut clients = server.clients().await;
    for family in [
        "etcd_debugging_mvcc_db_compaction_keys_total",
        "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds_count",
        "etcd_debugging_mvcc_pending_events_total",
        "etcd_debugging_store_watch_requests_total",
        "etcd_debugging_server_watch_send_loop_control_stream_duration_seconds_count",
        "etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds_count",
    ] {
        assert_eq!(
            total(&server, family).to_bits(),
            0_f64.to_bits(),
            "{family}"
        );
    }
    compactions_are_counted(&server, &mut clients).await;
    what_waits_for_a_client_is_counted(&server, &clients).await;
    waits_of_the_second_api_are_counted(&server).await;
}

async fn compactions_are_counted(server: &Server, clients: &mut Clients) {
    let value = "v".repeat(100 << 10);
    for number in 0..40 {
        let key = format!("k{number}");
        clients.kv.put(put(&key, &value)).await.unwrap();
        clients.kv.put(put("often", "v")).await.unwrap();
    }
    let compaction = CompactionRequest {
        revision: 41,
        physical: true,
    };
    clients.kv.compact(compaction).await.unwrap();
    for family in [
        "etcd_debugging_mvcc_db_compaction_keys_total",
        "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds_count",
        "go_goroutines",
        "go_threads",
        "go_sched_gomaxprocs_threads",
        "promhttp_metric_handler_requests_in_flight",
        "promhttp_metric_handler_requests_total",
        "process_virtual_memory_bytes",
        "etcd_network_known_peers",
    ] {
        moves(server, family).await;
    }
    let line = server.log();
    let line = line
        .lines()
        .find(|line| line.contains("finished scheduled compaction"));
    let line: serde_json::Value = serde_json::from_str(line.unwrap()).unwrap();
    assert_eq!(line["compact-revision"], 41);
    // All puts of one key but the last one at or before the compacted revision.
    assert_eq!(line["number-of-keys-compacted"], 19);
    for field in [
        "hash",
        "current-db-size-bytes",
        "current-db-size-in-use-bytes",
    ] {
        assert!(line[field].is_u64(), "{field} in {line}");
    }
    for field in ["took", "current-db-size", "current-db-size-in-use"] {
        assert!(line[field].is_string(), "{field} in {line}");
    }
}

async fn what_waits_for_a_client_is_counted(server: &Server, clients: &Clients) {
    // A client that takes nothing: what it asked for waits here.
    let mut snapshot = clients.maintenance.clone();
    let unread = snapshot.snapshot(SnapshotRequest {}).await.unwrap();
    moves(server, "etcd_mvcc_db_open_read_transactions").await;
    drop(unread);
    let idle = server.clients().await;
    let watching = Watching::open(&idle).await;
    let create = WatchCreateRequest {
        key: "k".into(),
        range_end: "l".into(),
        start_revision: 41,
        ..WatchCreateRequest::default()
    };
    // Together more than a connection takes that nobody reads.
    for _ in 0..5 {
        watching.create(create.clone()).await;
    }
    moves(server, "etcd_debugging_mvcc_pending_events_total").await;
    drop((watching, idle));
    until("no event waits", async || {
        let pending = total(server, "etcd_debugging_mvcc_pending_events_total");
        pending.abs() < 0.5
    })
    .await;
    for family in [
        "etcd_debugging_server_watch_send_loop_control_stream_duration_seconds_count",
        "etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds_count",
        "etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds_count",
    ] {
        moves(server, family).await;
    }
}

async fn waits_of_the_second_api_are_counted(server: &Server) {
    let waiting = std::thread::spawn({
        let address = server.address();
        move || request(address, "GET", "/v2/keys/x?wait=true", &[], b"").status
    });
    moves(server, "etcd_debugging_store_watch_requests_total").await;
    moves(server, "etcd_debugging_store_watchers").await;
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let set = request(
        server.address(),
        "PUT",
        "/v2/keys/x",
        &form,
        b"value=1&ttl=1",
    );
    assert_eq!(set.status, 201);
    assert_eq!(waiting.join().unwrap(), 200);
    moves(server, "etcd_debugging_store_expires_total").await;
}

/// etcd counts a heartbeat that a leader sends late, and a read index that takes over half a second.
#[tokio::test]
async fn what_a_slow_cluster_keeps_waiting_is_counted() {
    let cluster = Cluster::start(3, &["--election-timeout=5000"]);
    let leader = cluster.leader(&[0, 1, 2]).await;
    cluster.signal(leader, Signal::STOP);
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.signal(leader, Signal::CONT);
    let late = "etcd_server_heartbeat_send_failures_total";
    moves(cluster.member(leader), late).await;
    let log = cluster.member(leader).log();
    assert!(log.contains("leader failed to send out heartbeat on time"));

    let leader = cluster.leader(&[0, 1, 2]).await;
    let mut clients = cluster.clients(leader).await;
    put_one(&mut clients, "k", "v").await.unwrap();
    let followers: Vec<_> = (0..3).filter(|number| *number != leader).collect();
    for follower in &followers {
        cluster.signal(*follower, Signal::STOP);
    }
    let reading = tokio::spawn(async move { get(&mut clients, "k").await });
    tokio::time::sleep(Duration::from_millis(1000)).await;
    for follower in &followers {
        cluster.signal(*follower, Signal::CONT);
    }
    // It may also have lost its leader meanwhile.
    let _ = reading.await.unwrap();
    let slow = "etcd_server_slow_read_indexes_total";
    moves(cluster.member(leader), slow).await;
}
