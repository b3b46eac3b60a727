//! The table of flags: the one place where a flag is named, defaulted and explained.
//!
//! A row is `field "name": kind = "default", state, place in a file, help`. From the table come
//! [`GivenFlags`] with a field a flag, the command line, the `ETCD_*` variables, the keys of a
//! configuration file, and `--help`. To add a flag, add a row.

use super::duration::FlagDuration;
use super::flag::FileKey::{Absent, Path, Same};
use super::flag::State::{Deprecated, Ignored, LaterWarn, Moot, Works};
use super::flag::{Flag, Group};
use super::flag_value::{
    ClusterState, FlagValue, Forgotten, Input, InvalidValue, NameList, NameSet, Origins, UrlList,
    V2Deprecation,
};

macro_rules! flag_table {
    ($( $group:ident { $(
        $field:ident $name:literal: $kind:ty = $default:literal, $state:expr, $key:expr, $help:literal;
    )* } )*) => {
        /// What the user asked for, flag by flag; every value is well formed on its own.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct GivenFlags { $($( pub(super) $field: $kind, )*)* }

        impl GivenFlags {
            /// The values of a start without flags.
            pub(super) fn defaults() -> Result<Self, InvalidValue> {
                let mut given = Self::default();
                $($( given.$field.set(Input::Text($default))?; )*)*
                Ok(given)
            }
        }

        /// Every flag there is, group by group.
        pub(crate) const FLAGS: &[Flag] = &[ $($( Flag {
            name: $name,
            group: Group::$group,
            default: $default,
            state: $state,
            file_key: $key,
            help: $help,
            is_bare: <$kind as FlagValue>::IS_BARE,
            store: |given, input| given.$field.set(input),
            is_equal: |left, right| left.$field == right.$field,
            to_json: |given| given.$field.to_json(),
        }, )*)* ];
    };
}

/// The flag of this name.
pub(crate) fn flag_named(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

flag_table! {
Start {
config_file "config-file": String = "", Works, Absent,
    "Read all settings from this YAML file; every other flag and variable is then ignored. Durations in it are nanoseconds (600000000000 is ten minutes).";
version "version": bool = "false", Works, Absent,
    "Print the version and leave.";
}
Member {
name "name": String = "default", Works, Same,
    "Name of this member, for people and for --initial-cluster.";
data_dir "data-dir": String = "", Works, Same,
    "Directory of all data. Empty means <name>.etcd in the working directory.";
wal_dir "wal-dir": String = "", Works, Same,
    "Directory of the write-ahead log, best on a disk of its own. Empty means inside the data directory.";
snapshot_count "snapshot-count": u64 = "10000", Works, Same,
    "Applied entries after which the log is shortened.";
snapshot_catchup_entries "snapshot-catchup-entries": u64 = "5000", Works, Same,
    "Entries that a shortened log keeps for followers that lag.";
heartbeat_interval "heartbeat-interval": u64 = "100", Works, Same,
    "Milliseconds between heartbeats of a leader.";
election_timeout "election-timeout": u64 = "1000", Works, Same,
    "Milliseconds without a leader until a member stands for election; at least five heartbeats, at most 50000.";
initial_election_tick_advance "initial-election-tick-advance": bool = "true", Works, Same,
    "Shorten the wait for the first election after a start. A cluster of one never waits.";
listen_peer_urls "listen-peer-urls": UrlList = "http://localhost:2380", Works, Same,
    "Addresses to listen on for other members, comma separated.";
listen_client_urls "listen-client-urls": UrlList = "http://localhost:2379", Works, Same,
    "Addresses to listen on for clients, comma separated; unix:///path works too.";
listen_client_http_urls "listen-client-http-urls": UrlList = "", Works, Same,
    "Addresses for HTTP alone; the client addresses then serve gRPC alone.";
max_snapshots "max-snapshots": u64 = "5", Deprecated("--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8."), Same,
    "Cairn keeps no snapshot files.";
max_wals "max-wals": u64 = "5", Moot, Same,
    "Cairn reuses the files of its log and keeps none that it does not need.";
memory_mlock "memory-mlock": bool = "false", LaterWarn, Same,
    "Keep the database in memory, out of swap.";
quota_backend_bytes "quota-backend-bytes": i64 = "0", Works, Same,
    "Size of the database at which writes stop and NOSPACE is raised. 0 means 2 GiB, a negative number no limit.";
disk_reserve_bytes "disk-reserve-bytes": u64 = "167772160", Works, Same,
    "Free bytes on the disks of database and log below which writes stop and NOSPACE is raised, so that all else goes on; at most a tenth of a disk. 0 keeps none. etcd has no such flag.";
alarm_clear_delay "alarm-clear-delay": FlagDuration = "1m0s", Works, Same,
    "Cairn's own: how long there must have been space again until the NOSPACE alarm ends by itself.";
backend_bbolt_freelist_type "backend-bbolt-freelist-type": String = "", Moot, Same,
    "Cairn's storage has no such list.";
backend_batch_interval "backend-batch-interval": FlagDuration = "0s", Works, Same,
    "Longest time between two commits to the database. 0 means 100ms.";
backend_batch_limit "backend-batch-limit": i64 = "0", Works, Same,
    "Operations after which the database commits at once. 0 means 10000.";
max_txn_ops "max-txn-ops": u64 = "128", Works, Same,
    "Operations allowed in one transaction.";
max_request_bytes "max-request-bytes": u64 = "1572864", Works, Same,
    "Largest request of a client, in bytes.";
unread_answers_bytes "unread-answers-bytes": u64 = "268435456", Works, Same,
    "Cairn's own: bytes that answers hold until their clients read them, all together; beyond, the slowest client's call ends with RESOURCE_EXHAUSTED.";
max_concurrent_streams "max-concurrent-streams": u32 = "4294967295", Works, Same,
    "Streams that a client may have open on one connection.";
grpc_keepalive_min_time "grpc-keepalive-min-time": FlagDuration = "5s", Works, Same,
    "Shortest time between two pings of a client; who pings faster is disconnected.";
grpc_keepalive_interval "grpc-keepalive-interval": FlagDuration = "2h0m0s", Works, Same,
    "Silence after which the server pings a client (0 disables).";
grpc_keepalive_timeout "grpc-keepalive-timeout": FlagDuration = "20s", Works, Same,
    "Time that such a ping may stay unanswered before the connection is closed (0 disables).";
socket_reuse_port "socket-reuse-port": bool = "false", Works, Path(&["socket-options", "reuse-port"]),
    "Listen with SO_REUSEPORT.";
socket_reuse_address "socket-reuse-address": bool = "false", Works, Path(&["socket-options", "reuse-address"]),
    "Listen with SO_REUSEADDR.";
enable_grpc_gateway "enable-grpc-gateway": bool = "true", Works, Same,
    "Serve the JSON gateway under /v3.";
raft_read_timeout "raft-read-timeout": FlagDuration = "5s", LaterWarn, Absent,
    "Time without data after which a connection between members is closed; at least 5s.";
raft_write_timeout "raft-write-timeout": FlagDuration = "5s", LaterWarn, Absent,
    "Time that a write to another member may take; at least 5s.";
feature_gates "feature-gates": String = "", Works, Same,
    "Features to switch, as Name=true,Other=false. Known: AllAlpha, AllBeta, CompactHashCheck, FastLeaseKeepAlive, InitialCorruptCheck, LeaseCheckpoint, LeaseCheckpointPersist, PriorityRequest, SetMemberLocalAddr, StopGRPCServiceOnDefrag, TxnModeWriteWithSharedBuffer.";
}
Backup {
backup_url "backup-url": String = "", Works, Same,
    "Cairn's own: where the leader writes a continuous backup: file:///directory, s3://bucket/path, gs://bucket/path or az://container/path, the same at all members. Credentials come from the variables that the clouds' tools use (AWS_ACCESS_KEY_ID and so on). Empty makes none.";
backup_endpoint "backup-endpoint": String = "", Works, Same,
    "Cairn's own: address of a store that speaks S3 and is not Amazon's, as in https://minio:9000.";
backup_interval "backup-interval": FlagDuration = "2s", Works, Same,
    "Cairn's own: longest time that what was written waits for the backup.";
backup_base_interval "backup-base-interval": FlagDuration = "24h0m0s", Works, Same,
    "Cairn's own: time between two whole databases in the backup. Restoring replays what was written since the last.";
backup_retention "backup-retention": FlagDuration = "168h0m0s", Works, Same,
    "Cairn's own: how far back the backup goes; what is older is deleted. 0 deletes nothing.";
backup_key_file "backup-key-file": String = "", Works, Same,
    "Cairn's own: file with 64 hexadecimal digits, a key with which the backup is encrypted. Empty encrypts nothing.";
backup_buffer_bytes "backup-buffer-bytes": u64 = "67108864", Works, Same,
    "Cairn's own: memory for what waits for the backup. Beyond it the backup begins anew with a whole database.";
}
Clustering {
initial_advertise_peer_urls "initial-advertise-peer-urls": UrlList = "http://localhost:2380", Works, Same,
    "Addresses at which the other members reach this one.";
initial_cluster "initial-cluster": String = "", Works, Same,
    "Members that a new cluster starts with: name=url,name=url. Empty means this member alone. Ignored when the data directory holds a member.";
initial_cluster_state "initial-cluster-state": ClusterState = "new", Works, Same,
    "new to start a cluster, existing to join one. Ignored when the data directory holds a member.";
initial_cluster_token "initial-cluster-token": String = "etcd-cluster", Works, Same,
    "Text that tells this cluster's identity from that of another one at the same addresses.";
advertise_client_urls "advertise-client-urls": UrlList = "http://localhost:2379", Works, Same,
    "Addresses at which clients reach this member, as member lists show them. Required with --listen-client-urls.";
discovery_token "discovery-token": String = "", Works, Path(&["discovery-config", "token"]),
    "Token of the cluster to find through a discovery service.";
discovery_endpoints "discovery-endpoints": NameSet = "", Works, Path(&["discovery-config", "client", "endpoints"]),
    "Addresses of the discovery service.";
discovery_dial_timeout "discovery-dial-timeout": FlagDuration = "2s", Works, Path(&["discovery-config", "client", "dial-timeout"]),
    "Time to connect to the discovery service.";
discovery_request_timeout "discovery-request-timeout": FlagDuration = "5s", Works, Path(&["discovery-config", "client", "request-timeout"]),
    "Time for one request to the discovery service.";
discovery_keepalive_time "discovery-keepalive-time": FlagDuration = "2s", Works, Path(&["discovery-config", "client", "keepalive-time"]),
    "Time between pings to the discovery service.";
discovery_keepalive_timeout "discovery-keepalive-timeout": FlagDuration = "6s", Works, Path(&["discovery-config", "client", "keepalive-timeout"]),
    "Time that such a ping may stay unanswered.";
discovery_insecure_transport "discovery-insecure-transport": bool = "true", Works, Path(&["discovery-config", "client", "secure", "insecure-transport"]),
    "Speak to the discovery service without TLS, unless its address begins with https or a certificate is named.";
discovery_insecure_skip_tls_verify "discovery-insecure-skip-tls-verify": bool = "false", Works, Path(&["discovery-config", "client", "secure", "insecure-skip-tls-verify"]),
    "Do not check the certificate of the discovery service.";
discovery_cert "discovery-cert": String = "", Works, Path(&["discovery-config", "client", "secure", "cert"]),
    "Certificate to show to the discovery service.";
discovery_key "discovery-key": String = "", Works, Path(&["discovery-config", "client", "secure", "key"]),
    "Key of that certificate.";
discovery_cacert "discovery-cacert": String = "", Works, Path(&["discovery-config", "client", "secure", "cacert"]),
    "Authorities that vouch for the discovery service.";
discovery_user "discovery-user": String = "", Works, Path(&["discovery-config", "client", "auth", "username"]),
    "User name for the discovery service, or name:password.";
discovery_password "discovery-password": String = "", Works, Path(&["discovery-config", "client", "auth", "password"]),
    "Password for the discovery service.";
discovery_fallback "discovery-fallback": String = "exit", Works, Absent,
    "What to do when discovery fails; exit is the only choice.";
discovery_srv "discovery-srv": String = "", Works, Same,
    "Domain whose SRV records list the members.";
discovery_srv_name "discovery-srv-name": String = "", Works, Same,
    "Suffix of the SRV service name.";
strict_reconfig_check "strict-reconfig-check": bool = "true", Works, Same,
    "Refuse changes of membership that would lose the quorum.";
pre_vote "pre-vote": bool = "true", Works, Same,
    "Ask for votes before raising the term, so that a member that was cut off disturbs nobody.";
auto_compaction_retention "auto-compaction-retention": String = "0", Works, Same,
    "History to keep: a duration (a bare number is hours) or a number of revisions, as the mode says. 0 never compacts.";
auto_compaction_mode "auto-compaction-mode": String = "periodic", Works, Same,
    "periodic: the retention is a duration. revision: it is a number of revisions.";
max_learners "max-learners": i64 = "1", Works, Same,
    "Learners that a cluster may have.";
v2_deprecation "v2-deprecation": V2Deprecation = "write-only", Deprecated("--v2-deprecation is deprecated and scheduled for removal in v3.8. The default value is enforced, ignoring user input."), Same,
    "Stage of the end of etcd's v2 store: write-only, write-only-skip-check, write-only-drop-data or gone.";
}
Security {
cert_file "cert-file": String = "", Works, Path(&["client-transport-security", "cert-file"]),
    "Certificate of the client port.";
key_file "key-file": String = "", Works, Path(&["client-transport-security", "key-file"]),
    "Key of that certificate.";
client_cert_auth "client-cert-auth": bool = "false", Works, Path(&["client-transport-security", "client-cert-auth"]),
    "Ask clients for a certificate; its common name is the user.";
client_cert_file "client-cert-file": String = "", Works, Path(&["client-transport-security", "client-cert-file"]),
    "Certificate that the server shows when it connects to itself.";
client_key_file "client-key-file": String = "", Works, Path(&["client-transport-security", "client-key-file"]),
    "Key of that certificate.";
client_crl_file "client-crl-file": String = "", Works, Absent,
    "Client certificates that are revoked.";
client_cert_allowed_hostname "client-cert-allowed-hostname": NameList = "", Works, Path(&["client-transport-security", "allowed-hostname"]),
    "Host names of which a client's certificate must carry one.";
trusted_ca_file "trusted-ca-file": String = "", Works, Path(&["client-transport-security", "trusted-ca-file"]),
    "Authorities that vouch for clients; set alone it forces client certificates.";
auto_tls "auto-tls": bool = "false", Works, Path(&["client-transport-security", "auto-tls"]),
    "Serve clients with a generated certificate.";
peer_cert_file "peer-cert-file": String = "", Works, Path(&["peer-transport-security", "cert-file"]),
    "Certificate of the peer port.";
peer_key_file "peer-key-file": String = "", Works, Path(&["peer-transport-security", "key-file"]),
    "Key of that certificate.";
peer_client_cert_auth "peer-client-cert-auth": bool = "false", Works, Path(&["peer-transport-security", "client-cert-auth"]),
    "Ask other members for a certificate.";
peer_client_cert_file "peer-client-cert-file": String = "", Works, Path(&["peer-transport-security", "client-cert-file"]),
    "Certificate to show to other members.";
peer_client_key_file "peer-client-key-file": String = "", Works, Path(&["peer-transport-security", "client-key-file"]),
    "Key of that certificate.";
peer_trusted_ca_file "peer-trusted-ca-file": String = "", Works, Path(&["peer-transport-security", "trusted-ca-file"]),
    "Authorities that vouch for other members.";
peer_cert_allowed_cn "peer-cert-allowed-cn": NameList = "", Works, Path(&["peer-transport-security", "allowed-cn"]),
    "Common names of which a member's certificate must carry one.";
peer_cert_allowed_hostname "peer-cert-allowed-hostname": NameList = "", Works, Path(&["peer-transport-security", "allowed-hostname"]),
    "Host names of which a member's certificate must carry one.";
peer_auto_tls "peer-auto-tls": bool = "false", Works, Path(&["peer-transport-security", "auto-tls"]),
    "Serve other members with a generated certificate.";
peer_crl_file "peer-crl-file": String = "", Works, Absent,
    "Member certificates that are revoked.";
peer_skip_client_san_verification "peer-skip-client-san-verification": bool = "false", Works, Path(&["peer-transport-security", "skip-client-san-verification"]),
    "Do not compare a member's address with its certificate.";
self_signed_cert_validity "self-signed-cert-validity": u64 = "1", Works, Same,
    "Years that a generated certificate lasts.";
cipher_suites "cipher-suites": NameList = "", Works, Same,
    "TLS cipher suites to offer. Empty means all that are safe.";
tls_min_version "tls-min-version": String = "TLS1.2", Works, Same,
    "Oldest TLS version to accept: TLS1.2 or TLS1.3.";
tls_max_version "tls-max-version": String = "", Works, Same,
    "Newest TLS version to accept. Empty means the newest there is.";
cors "cors": Origins = "*", Works, Same,
    "Origins that browsers may call from, as URLs, comma separated. * means all.";
host_whitelist "host-whitelist": NameSet = "*", Works, Same,
    "Host names under which plaintext HTTP is answered. Empty or * means all.";
}
Auth {
auth_token "auth-token": String = "simple", Works, Same,
    "Kind of token: simple, or jwt,sign-method=...,pub-key=...,priv-key=...,ttl=...";
bcrypt_cost "bcrypt-cost": u64 = "10", Works, Same,
    "Cost of hashing a password, 4 to 31.";
auth_token_ttl "auth-token-ttl": u64 = "300", Works, Same,
    "Seconds that a simple token lasts after its last use.";
}
Monitoring {
enable_pprof "enable-pprof": bool = "false", LaterWarn, Same,
    "Serve profiles under /debug/pprof/.";
metrics "metrics": String = "basic", Works, Same,
    "basic, or extensive to add a histogram of gRPC latency.";
listen_metrics_urls "listen-metrics-urls": UrlList = "", Works, Same,
    "More addresses for /metrics, /health, /livez and /readyz alone.";
}
Logging {
logger "logger": String = "zap", Moot, Same,
    "zap names etcd's structured log; Cairn writes the same lines.";
log_outputs "log-outputs": NameSet = "default", Works, Same,
    "Where the log goes: default or stderr, stdout, or paths of files, comma separated.";
log_level "log-level": String = "info", Works, Same,
    "debug, info, warn, error, panic or fatal.";
log_format "log-format": String = "json", Works, Same,
    "json or console.";
enable_log_rotation "enable-log-rotation": bool = "false", LaterWarn, Same,
    "Start a new log file when one is large.";
log_rotation_config_json "log-rotation-config-json": String = "{\"maxsize\": 100, \"maxage\": 0, \"maxbackups\": 0, \"localtime\": false, \"compress\": false}", LaterWarn, Same,
    "When a log file is large, and what becomes of it.";
warning_unary_request_duration "warning-unary-request-duration": FlagDuration = "300ms", Works, Same,
    "A request that takes longer is named in the log. 0 means 300ms.";
}
Tracing {
enable_distributed_tracing "enable-distributed-tracing": bool = "false", LaterWarn, Same,
    "Send spans to an OpenTelemetry collector.";
distributed_tracing_address "distributed-tracing-address": String = "localhost:4317", LaterWarn, Same,
    "Address of the collector.";
distributed_tracing_service_name "distributed-tracing-service-name": String = "etcd", LaterWarn, Same,
    "Service name in spans, the same for all members.";
distributed_tracing_instance_id "distributed-tracing-instance-id": String = "", LaterWarn, Same,
    "Instance name in spans, another one for each member.";
distributed_tracing_sampling_rate "distributed-tracing-sampling-rate": i64 = "0", LaterWarn, Same,
    "Spans to send of each million.";
}
Features {
enable_v2 "enable-v2": bool = "false", Works, Same,
    "Serve the second API under /v2, as etcd did until 3.5.";
corrupt_check_time "corrupt-check-time": FlagDuration = "0s", Works, Same,
    "Time between comparisons of the members' data (0 disables).";
compact_hash_check_time "compact-hash-check-time": FlagDuration = "1m0s", Works, Same,
    "Time between comparisons of the members' hashes of compacted revisions.";
compaction_batch_limit "compaction-batch-limit": i64 = "0", Works, Same,
    "Revisions that a compaction deletes in one go. 0 means 1000.";
compaction_sleep_interval "compaction-sleep-interval": FlagDuration = "0s", Works, Same,
    "Rest between two such batches. 0 means 10ms.";
watch_progress_notify_interval "watch-progress-notify-interval": FlagDuration = "0s", Works, Same,
    "Time between progress notices to watchers that want them. 0 means 10m.";
warning_apply_duration "warning-apply-duration": FlagDuration = "100ms", Works, Same,
    "An entry that takes longer to apply is named in the log.";
bootstrap_defrag_threshold_megabytes "bootstrap-defrag-threshold-megabytes": u64 = "0", Works, Same,
    "Defragment at start if that frees as many megabytes (0 disables).";
downgrade_check_time "downgrade-check-time": FlagDuration = "5s", LaterWarn, Same,
    "Time between two looks at a downgrade's progress.";
}
Unsafe {
force_new_cluster "force-new-cluster": bool = "false", Works, Same,
    "Make a cluster of one out of this member's data.";
unsafe_no_fsync "unsafe-no-fsync": bool = "false", Works, Same,
    "Do not wait for the disk: fast, and loses data in a crash.";
}
Ignored {
ignored_cluster_active_size "cluster-active-size": Forgotten = "", Ignored, Absent, "";
ignored_cluster_remove_delay "cluster-remove-delay": Forgotten = "", Ignored, Absent, "";
ignored_cluster_sync_interval "cluster-sync-interval": Forgotten = "", Ignored, Absent, "";
ignored_config "config": Forgotten = "", Ignored, Absent, "";
ignored_force "force": Forgotten = "", Ignored, Absent, "";
ignored_max_result_buffer "max-result-buffer": Forgotten = "", Ignored, Absent, "";
ignored_max_retry_attempts "max-retry-attempts": Forgotten = "", Ignored, Absent, "";
ignored_peer_heartbeat_interval "peer-heartbeat-interval": Forgotten = "", Ignored, Absent, "";
ignored_peer_election_timeout "peer-election-timeout": Forgotten = "", Ignored, Absent, "";
ignored_retry_interval "retry-interval": Forgotten = "", Ignored, Absent, "";
ignored_snapshot "snapshot": Forgotten = "", Ignored, Absent, "";
ignored_v "v": Forgotten = "", Ignored, Absent, "";
ignored_vv "vv": Forgotten = "", Ignored, Absent, "";
}
}
