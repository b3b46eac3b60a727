//! Metrics by the names that dashboards and alert rules select.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use super::context::Context;
use super::page;
use super::rule::rules;

rules!("metrics", false;
    V3_4 {
        what_the_dashboard_shows_is_there,
        what_alert_rules_select_is_there,
        puts_are_counted,
        calls_are_counted_by_method_and_code,
    }
    V3_5 {
        every_method_is_counted_from_the_start,
    }
    V3_7 {
        every_family_of_etcds_is_there_or_left_out_on_purpose,
    }
);

async fn page(c: &Context) -> Result<String> {
    Ok(page::get(&c.authority, "/metrics").await?.body)
}

async fn has(c: &Context, names: &[&str]) -> Result<()> {
    let page = page(c).await?;
    for name in names {
        ensure!(
            page.lines().any(|line| line.starts_with(name)),
            "there is no {name}"
        );
    }
    Ok(())
}

async fn what_the_dashboard_shows_is_there(c: Context) -> Result<()> {
    has(
        &c,
        &[
            "etcd_server_has_leader 1",
            "etcd_mvcc_db_total_size_in_bytes ",
            "etcd_disk_wal_fsync_duration_seconds_bucket{",
            "etcd_disk_backend_commit_duration_seconds_bucket{",
            "process_resident_memory_bytes ",
            "etcd_network_client_grpc_received_bytes_total ",
            "etcd_network_client_grpc_sent_bytes_total ",
            "etcd_server_leader_changes_seen_total ",
            "etcd_server_proposals_failed_total ",
            "etcd_server_proposals_pending ",
            "etcd_server_proposals_committed_total ",
            "etcd_server_proposals_applied_total ",
        ],
    )
    .await
}

async fn what_alert_rules_select_is_there(c: Context) -> Result<()> {
    has(
        &c,
        &[
            "etcd_server_quota_backend_bytes ",
            "etcd_mvcc_db_total_size_in_use_in_bytes ",
            "etcd_server_heartbeat_send_failures_total ",
            "etcd_server_slow_apply_total ",
            "etcd_server_slow_read_indexes_total ",
            "etcd_debugging_mvcc_db_compaction_keys_total ",
            "etcd_debugging_mvcc_pending_events_total ",
            "etcd_network_peer_round_trip_time_seconds",
        ],
    )
    .await
    .or_else(|error| {
        // A member alone has no peers.
        if error.to_string().contains("peer_round_trip") {
            Ok(())
        } else {
            Err(error)
        }
    })
}

async fn value(c: &Context, series: &str) -> Result<f64> {
    let page = page(c).await?;
    let line = page.lines().find_map(|line| line.strip_prefix(series));
    Ok(line.unwrap_or("0").trim().parse()?)
}

async fn puts_are_counted(c: Context) -> Result<()> {
    let series = "etcd_mvcc_put_total ";
    let before = value(&c, series).await?;
    c.put("a", "x").await?;
    ensure!(value(&c, series).await? > before);
    Ok(())
}

async fn calls_are_counted_by_method_and_code(c: Context) -> Result<()> {
    let series = "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Put\",\
                  grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} ";
    let before = value(&c, series).await?;
    c.put("a", "x").await?;
    ensure!(value(&c, series).await? > before);
    Ok(())
}

async fn every_method_is_counted_from_the_start(c: Context) -> Result<()> {
    has(
        &c,
        &[
            "grpc_server_started_total{grpc_method=\"MoveLeader\"",
            "grpc_server_handled_total{grpc_code=\"DataLoss\",grpc_method=\"Watch\"",
        ],
    )
    .await
}

/// Names of etcd 3.7.1, each with its type.
const FAMILIES: &str = include_str!("../../../server/src/metrics/etcd_types.txt");
/// Names that Cairn has not, each with the reason.
const LEFT_OUT: &str = include_str!("../../../server/src/metrics/left_out.txt");
/// What is there once it has happened, or with `--metrics extensive`.
const SOMETIMES: [&str; 4] = [
    "etcd_debugging_server_alarms",
    "etcd_server_healthcheck",
    "etcd_server_healthchecks_total",
    "grpc_server_handling_seconds",
];

async fn every_family_of_etcds_is_there_or_left_out_on_purpose(c: Context) -> Result<()> {
    let page = page(&c).await?;
    let there: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    let left_out: BTreeSet<_> = LEFT_OUT
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let mut missing = Vec::new();
    for family in FAMILIES.lines() {
        let name = family.split(' ').next().unwrap_or_default();
        if !there.contains(family) && !left_out.contains(name) && !SOMETIMES.contains(&name) {
            missing.push(family);
        }
    }
    ensure!(
        missing.is_empty(),
        "missing, or of another type: {}",
        missing.join(", ")
    );
    Ok(())
}
