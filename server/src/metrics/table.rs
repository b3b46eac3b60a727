//! The table of metrics without labels: one row a metric, with etcd's name and our help.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};

/// Upper bounds of a histogram: `start`, and each next one twice as large.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buckets {
    pub(super) start: f64,
    pub(super) count: usize,
}

impl Buckets {
    pub(super) fn bounds(self) -> Vec<f64> {
        std::iter::successors(Some(self.start), |bound| Some(bound * 2.0))
            .take(self.count)
            .collect()
    }
}

/// 1 ms to 8 s.
pub(super) const DISK_SECONDS: Buckets = Buckets {
    start: 0.001,
    count: 14,
};
/// 0.1 ms to 52 s.
pub(super) const APPLY_SECONDS: Buckets = Buckets {
    start: 0.0001,
    count: 20,
};
const DEFRAG_SECONDS: Buckets = Buckets {
    start: 0.1,
    count: 13,
};
const SNAPSHOT_SECONDS: Buckets = Buckets {
    start: 0.01,
    count: 17,
};
const HASH_SECONDS: Buckets = Buckets {
    start: 0.01,
    count: 15,
};
/// 0.1 s to 51 s.
const TRANSFER_SECONDS: Buckets = Buckets {
    start: 0.1,
    count: 10,
};
/// 1 s to 97 days.
const LEASE_SECONDS: Buckets = Buckets {
    start: 1.0,
    count: 24,
};
const PAUSE_MILLIS: Buckets = Buckets {
    start: 1.0,
    count: 13,
};
const COMPACTION_MILLIS: Buckets = Buckets {
    start: 100.0,
    count: 14,
};
const INDEX_PAUSE_MILLIS: Buckets = Buckets {
    start: 0.5,
    count: 14,
};

macro_rules! metric_table {
    (
        counters { $( $counter:ident $counter_name:literal $counter_help:literal; )* }
        gauges { $( $gauge:ident $gauge_name:literal $gauge_help:literal; )* }
        histograms { $( $histogram:ident $histogram_name:literal $buckets:ident $histogram_help:literal; )* }
    ) => {
        /// The metrics without labels; each field's help is its documentation.
        pub(crate) struct PlainMetrics {
            $( #[doc = $counter_help] pub $counter: IntCounter, )*
            $( #[doc = $gauge_help] pub $gauge: IntGauge, )*
            $( #[doc = $histogram_help] pub $histogram: Histogram, )*
        }

        impl PlainMetrics {
            pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
                Ok(Self {
                    $( $counter: counter(registry, $counter_name, $counter_help)?, )*
                    $( $gauge: gauge(registry, $gauge_name, $gauge_help)?, )*
                    $( $histogram: histogram(registry, $histogram_name, $histogram_help, $buckets)?, )*
                })
            }
        }
    };
}

fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    let metric = IntCounter::with_opts(Opts::new(name, help))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    let metric = IntGauge::with_opts(Opts::new(name, help))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    buckets: Buckets,
) -> prometheus::Result<Histogram> {
    let metric = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.bounds()))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

metric_table! {
counters {
server_leader_changes_seen_total "etcd_server_leader_changes_seen_total" "Changes of leader that this member saw.";
server_heartbeat_send_failures_total "etcd_server_heartbeat_send_failures_total" "Heartbeats that a leader sent late, mostly for a slow disk.";
server_learner_promote_successes "etcd_server_learner_promote_successes" "Learners promoted by this member.";
server_proposals_failed_total "etcd_server_proposals_failed_total" "Proposals that failed.";
server_slow_apply_total "etcd_server_slow_apply_total" "Entries that took long to apply.";
server_slow_read_indexes_total "etcd_server_slow_read_indexes_total" "Read indexes that took long.";
server_read_indexes_failed_total "etcd_server_read_indexes_failed_total" "Read indexes that failed.";
server_health_success "etcd_server_health_success" "Answers of /health that were good.";
server_health_failures "etcd_server_health_failures" "Answers of /health that were bad.";
mvcc_put_total "etcd_mvcc_put_total" "Puts, those in transactions included.";
mvcc_range_total "etcd_mvcc_range_total" "Ranges, those in transactions included.";
mvcc_delete_total "etcd_mvcc_delete_total" "Delete ranges, those in transactions included.";
mvcc_txn_total "etcd_mvcc_txn_total" "Transactions.";
network_client_grpc_sent_bytes_total "etcd_network_client_grpc_sent_bytes_total" "Bytes sent to gRPC clients.";
network_client_grpc_received_bytes_total "etcd_network_client_grpc_received_bytes_total" "Bytes received from gRPC clients.";
debugging_mvcc_events_total "etcd_debugging_mvcc_events_total" "Events sent to watchers.";
debugging_mvcc_db_compaction_keys_total "etcd_debugging_mvcc_db_compaction_keys_total" "Revisions deleted by compactions.";
debugging_lease_granted_total "etcd_debugging_lease_granted_total" "Leases granted.";
debugging_lease_revoked_total "etcd_debugging_lease_revoked_total" "Leases revoked.";
debugging_lease_renewed_total "etcd_debugging_lease_renewed_total" "Leases renewed by a leader.";
debugging_server_lease_expired_total "etcd_debugging_server_lease_expired_total" "Leases that expired.";
backup_objects_total "cairn_backup_objects_total" "Objects with entries that this member wrote to the backup.";
backup_bytes_total "cairn_backup_bytes_total" "Bytes of these objects.";
backup_bases_total "cairn_backup_bases_total" "Whole databases that this member wrote to the backup.";
backup_errors_total "cairn_backup_errors_total" "Failures to write the backup, each tried again.";
debugging_store_expires_total "etcd_debugging_store_expires_total" "Keys of the second API whose time was up.";
debugging_store_watch_requests_total "etcd_debugging_store_watch_requests_total" "Waits for keys of the second API.";
unread_answers_lost_total "cairn_server_unread_answers_lost_total" "Answers that ended since nobody read them and others needed their memory.";
log_lines_lost_total "cairn_log_lines_lost_total" "Log lines given up because their output was stuck.";
}
gauges {
server_has_leader "etcd_server_has_leader" "1 while a leader is known.";
server_is_leader "etcd_server_is_leader" "1 while this member is the leader.";
server_is_learner "etcd_server_is_learner" "1 while this member is a learner.";
server_snapshot_apply_in_progress_total "etcd_server_snapshot_apply_in_progress_total" "1 while a received snapshot is applied.";
server_proposals_committed_total "etcd_server_proposals_committed_total" "Index of the last committed proposal.";
server_proposals_applied_total "etcd_server_proposals_applied_total" "Index of the last applied proposal.";
server_proposals_pending "etcd_server_proposals_pending" "Proposals that wait to be committed.";
server_quota_backend_bytes "etcd_server_quota_backend_bytes" "Size at which writes stop, in bytes.";
mvcc_db_total_size_in_bytes "etcd_mvcc_db_total_size_in_bytes" "Bytes that the database takes on disk.";
mvcc_db_total_size_in_use_in_bytes "etcd_mvcc_db_total_size_in_use_in_bytes" "Bytes of it that hold data.";
mvcc_db_open_read_transactions "etcd_mvcc_db_open_read_transactions" "Read transactions open on the database.";
disk_wal_write_bytes_total "etcd_disk_wal_write_bytes_total" "Bytes written to the log.";
disk_defrag_inflight "etcd_disk_defrag_inflight" "1 while a defragmentation runs.";
debugging_mvcc_keys_total "etcd_debugging_mvcc_keys_total" "Keys that exist.";
debugging_mvcc_current_revision "etcd_debugging_mvcc_current_revision" "Revision of the store.";
debugging_mvcc_compact_revision "etcd_debugging_mvcc_compact_revision" "Revision of the last compaction; -1 before the first.";
debugging_mvcc_total_put_size_in_bytes "etcd_debugging_mvcc_total_put_size_in_bytes" "Bytes of key-values, as they are stored.";
debugging_mvcc_watch_stream_total "etcd_debugging_mvcc_watch_stream_total" "Watch streams that are open.";
debugging_mvcc_watcher_total "etcd_debugging_mvcc_watcher_total" "Watchers that exist.";
debugging_mvcc_slow_watcher_total "etcd_debugging_mvcc_slow_watcher_total" "Watchers that lag behind the store.";
debugging_mvcc_pending_events_total "etcd_debugging_mvcc_pending_events_total" "Events that wait to be sent.";
debugging_mvcc_db_compaction_last "etcd_debugging_mvcc_db_compaction_last" "Unix time of the last compaction.";
debugging_auth_revision "etcd_debugging_auth_revision" "Revision of users and roles.";
backup_writes "cairn_backup_writes" "1 while this member writes the backup.";
backup_revision "cairn_backup_revision" "Revision up to which everything can be restored from the backup; 0 at members that do not write it.";
backup_lag_revisions "cairn_backup_lag_revisions" "Revisions that are not in the backup yet, at the member that writes it.";
backup_lag_milliseconds "cairn_backup_lag_milliseconds" "Age of the first write that is not in the backup yet, at the member that writes it.";
backup_last_success_seconds "cairn_backup_last_success_seconds" "Unix time at which the backup was last written to.";
debugging_store_watchers "etcd_debugging_store_watchers" "Who waits for keys of the second API.";
go_goroutines "go_goroutines" "Tasks that are alive, and threads: what etcd has goroutines for.";
go_threads "go_threads" "Threads of the process.";
go_sched_gomaxprocs_threads "go_sched_gomaxprocs_threads" "Threads that serve connections.";
promhttp_metric_handler_requests_in_flight "promhttp_metric_handler_requests_in_flight" "Scrapes under way.";
os_fd_used "os_fd_used" "File descriptors in use.";
os_fd_limit "os_fd_limit" "File descriptors that may be in use.";
}
histograms {
disk_wal_fsync_duration_seconds "etcd_disk_wal_fsync_duration_seconds" DISK_SECONDS "Time that a sync of the log took.";
disk_wal_write_duration_seconds "etcd_disk_wal_write_duration_seconds" DISK_SECONDS "Time that a write to the log took.";
disk_backend_commit_duration_seconds "etcd_disk_backend_commit_duration_seconds" DISK_SECONDS "Time that a commit to the database took.";
disk_backend_defrag_duration_seconds "etcd_disk_backend_defrag_duration_seconds" DEFRAG_SECONDS "Time that a defragmentation took.";
disk_backend_snapshot_duration_seconds "etcd_disk_backend_snapshot_duration_seconds" SNAPSHOT_SECONDS "Time that sending a snapshot took.";
mvcc_hash_duration_seconds "etcd_mvcc_hash_duration_seconds" HASH_SECONDS "Time that hashing the database took.";
mvcc_hash_rev_duration_seconds "etcd_mvcc_hash_rev_duration_seconds" HASH_SECONDS "Time that hashing the store at a revision took.";
debugging_server_watch_send_loop_watch_stream_duration_seconds "etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds" DISK_SECONDS "Time that writing a frame of events to a client took.";
debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds "etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds" DISK_SECONDS "The same, by the number of events.";
debugging_server_watch_send_loop_control_stream_duration_seconds "etcd_debugging_server_watch_send_loop_control_stream_duration_seconds" DISK_SECONDS "Time that telling a client of created and ended watchers took.";
debugging_server_watch_send_loop_progress_duration_seconds "etcd_debugging_server_watch_send_loop_progress_duration_seconds" DISK_SECONDS "Time that telling a client its progress took.";
snap_db_fsync_duration_seconds "etcd_snap_db_fsync_duration_seconds" DISK_SECONDS "Time until a received database, once all of it had come, was durable and checked.";
snap_db_save_total_duration_seconds "etcd_snap_db_save_total_duration_seconds" TRANSFER_SECONDS "Time that taking in a received database took.";
debugging_lease_ttl_total "etcd_debugging_lease_ttl_total" LEASE_SECONDS "Times to live that were granted.";
debugging_mvcc_db_compaction_pause_duration_milliseconds "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds" PAUSE_MILLIS "Time that one batch of a compaction took.";
debugging_mvcc_db_compaction_total_duration_milliseconds "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds" COMPACTION_MILLIS "Time that a whole compaction took.";
debugging_mvcc_index_compaction_pause_duration_milliseconds "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds" INDEX_PAUSE_MILLIS "Time that a compaction held up the index.";
}
}
