//! What a scrape shows.

use std::collections::BTreeMap;
use std::time::Duration;

use tonic::Code;

use super::*;
use crate::settings::{Invocation, Settings, read};

const METHODS: [GrpcMethod; 2] = [
    GrpcMethod {
        service: "etcdserverpb.KV",
        method: "Put",
        kind: GrpcKind::Unary,
    },
    GrpcMethod {
        service: "etcdserverpb.Watch",
        method: "Watch",
        kind: GrpcKind::BidiStream,
    },
];

fn settings() -> Settings {
    match read(&[], &[], |_| Err(std::io::ErrorKind::NotFound.into())).unwrap() {
        Invocation::Serve(settings) => *settings,
        Invocation::Print(_) => panic!("no flags start a server"),
    }
}

fn metrics(detail: MetricsDetail) -> Metrics {
    let metrics = Metrics::new(MetricsSource {
        feature_gates: &settings().feature_gates,
        grpc_methods: &METHODS,
        detail,
    })
    .unwrap();
    let member = MemberId::from_wire(0x8e9e_05c5_2164_694d).unwrap();
    metrics.name_member(member).unwrap();
    metrics
}

fn has(text: &str, line: &str) -> bool {
    text.lines().any(|it| it == line)
}

/// etcd's families that are left out on purpose, each with its reason.
fn left_out() -> Vec<(&'static str, &'static str)> {
    let lines = include_str!("left_out.txt").lines();
    lines.map(|line| line.split_once(' ').unwrap()).collect()
}

#[test]
fn what_is_left_out_is_told_to_operators_with_its_reason() {
    let told = include_str!("../../../docs/OPERATING.md");
    for (name, reason) in left_out() {
        let family = ["go_memstats_", "go_gc_"]
            .into_iter()
            .find(|family| name.starts_with(family));
        assert!(told.contains(family.unwrap_or(name)), "{name}");
        assert!(!reason.is_empty(), "{name}");
    }
}

/// `etcd_types.txt` is what a scrape of etcd 3.7.1 lists, one family and type a line.
#[test]
fn families_have_etcds_names_and_types() {
    let metrics = metrics(MetricsDetail::Extensive);
    metrics.alarm("NOSPACE", true);
    metrics.cluster_version_decided();
    metrics.health_check("livez", "serializable_read", true);
    metrics.client_request(GrpcKind::Unary, "3.7");
    metrics
        .apply_duration("Put")
        .unwrap()
        .observe(Duration::from_millis(1), true);
    let put = metrics.grpc.method("/etcdserverpb.KV/Put").unwrap();
    put.handled(Code::Ok, Duration::from_millis(1));
    let member = MemberId::from_wire(1).unwrap();
    metrics.peers(member).unwrap().known(member, true);
    let text = metrics.render().unwrap();
    let ours: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split_once(' ').unwrap())
        .collect();
    let etcds: BTreeMap<&str, &str> = include_str!("etcd_types.txt")
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .filter(|(name, _)| left_out().iter().all(|(left_out, _)| left_out != name))
        .collect();
    for (name, kind) in &etcds {
        assert_eq!(ours.get(name), Some(kind), "{name}");
    }
    for name in ours.keys() {
        assert!(
            etcds.contains_key(name) || name.starts_with("cairn_"),
            "{name} is not etcd's"
        );
    }
    assert!(
        text.lines()
            .any(|line| line.starts_with("grpc_server_handling_seconds_bucket"))
    );
}

#[test]
fn facts_of_the_member_stand_in_labels() {
    let metrics = metrics(MetricsDetail::Basic);
    metrics.cluster_version_decided();
    let text = metrics.render().unwrap();
    for line in [
        "etcd_server_version{server_version=\"3.7.1\"} 1",
        "etcd_cluster_version{cluster_version=\"3.7\"} 1",
        "etcd_server_id{server_id=\"8e9e05c52164694d\"} 1",
        "etcd_server_feature_enabled{name=\"FastLeaseKeepAlive\",stage=\"BETA\"} 1",
        "etcd_server_feature_enabled{name=\"LeaseCheckpoint\",stage=\"ALPHA\"} 0",
        "etcd_debugging_mvcc_compact_revision -1",
        "etcd_server_has_leader 0",
    ] {
        assert!(has(&text, line), "{line}");
    }
    assert!(!text.contains("grpc_server_handling_seconds"));
    assert!(!text.contains("# EOF"));
}

#[test]
fn every_method_starts_at_zero_with_every_code() {
    let metrics = metrics(MetricsDetail::Basic);
    let before = metrics.render().unwrap();
    let series = before
        .lines()
        .filter(|line| line.starts_with("grpc_server_handled_total{"));
    assert_eq!(series.clone().count(), 17 * METHODS.len());
    assert!(series.clone().all(|line| line.ends_with(" 0")));
    let put = metrics.grpc.method("/etcdserverpb.KV/Put").unwrap();
    put.started.inc();
    put.handled(Code::Ok, Duration::ZERO);
    put.handled(Code::Unauthenticated, Duration::ZERO);
    let after = metrics.render().unwrap();
    let labels = "grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"";
    assert!(has(
        &after,
        &format!("grpc_server_started_total{{{labels}}} 1")
    ));
    for (code, count) in [("OK", 1), ("Unauthenticated", 1), ("Internal", 0)] {
        let line = format!("grpc_server_handled_total{{grpc_code=\"{code}\",{labels}}} {count}");
        assert!(has(&after, &line), "{line}");
    }
    assert!(metrics.grpc.method("/etcdserverpb.KV/Nope").is_none());
}

#[test]
fn histograms_have_etcds_bounds() {
    let metrics = metrics(MetricsDetail::Basic);
    metrics.disk_wal_fsync_duration_seconds.observe(0.0015);
    let text = metrics.render().unwrap();
    for line in [
        "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"} 0",
        "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.002\"} 1",
        "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"8.192\"} 1",
        "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"} 1",
        "etcd_disk_wal_fsync_duration_seconds_sum 0.0015",
        "etcd_disk_wal_fsync_duration_seconds_count 1",
        "etcd_disk_backend_defrag_duration_seconds_bucket{le=\"409.6\"} 0",
        "etcd_mvcc_hash_duration_seconds_bucket{le=\"163.84\"} 0",
    ] {
        assert!(has(&text, line), "{line}");
    }
}

#[test]
fn clients_cannot_make_series_of_their_own() {
    let metrics = metrics(MetricsDetail::Basic);
    metrics.client_request(GrpcKind::Unary, "3.7");
    metrics.client_request(GrpcKind::BidiStream, "evil\"} 1\nx");
    metrics.client_request(GrpcKind::BidiStream, "3.123");
    let text = metrics.render().unwrap();
    let line = "etcd_server_client_requests_total{client_api_version=\"3.7\",type=\"unary\"} 1";
    assert!(has(&text, line));
    let line =
        "etcd_server_client_requests_total{client_api_version=\"unknown\",type=\"stream\"} 2";
    assert!(has(&text, line));
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_is_measured() {
    let text = metrics(MetricsDetail::Basic).render().unwrap();
    for name in [
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        let value: f64 = line.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(value > 0.0, "{line}");
    }
}
