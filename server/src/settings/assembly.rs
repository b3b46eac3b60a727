//! From flags to [`Settings`]: conversions, defaults of defaults, and checks across flags.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::auth::auth_settings;
use super::backup::backup_settings;
use super::duration::FlagDuration;
use super::error::SettingsError;
use super::feature_gate::{FeatureGate, FeatureGates};
use super::first_start::Bootstrap;
use super::flag_table::{FLAGS, GivenFlags};
use super::flag_value::UrlList;
use super::later;
use super::log::log_settings;
use super::notice::Notice;
use super::tls::{Around, tls_settings};
use super::url::{ListenUrl, Place, Url, UrlError};
use super::{
    AdvertiseSettings, Allowed, AutoCompaction, BackendSettings, CompactionSettings,
    CorruptionChecks, HttpSettings, KeepaliveSettings, ListenSettings, MetricsDetail, Quota,
    RaftSettings, RequestLimits, ServerPing, Settings, SlowThresholds, Source,
};

const DEFAULT_NAME: &str = "default";
const ELECTION_TIMEOUT_MS_MAX: u64 = 50_000;
const HEARTBEATS_PER_ELECTION_MIN: u64 = 5;
const QUOTA_BYTES_DEFAULT: NonZeroU64 = NonZeroU64::new(2 << 30).expect("not zero");
const BATCH_INTERVAL_DEFAULT: Duration = Duration::from_millis(100);
const BATCH_OPS_DEFAULT: usize = 10_000;
const SNAPSHOT_ENTRIES_DEFAULT: u64 = 10_000;
const MEGABYTE: u64 = 1 << 20;
const COMPACTION_BATCH_DEFAULT: usize = 1_000;
const COMPACTION_REST_DEFAULT: Duration = Duration::from_millis(10);
const WATCH_PROGRESS_DEFAULT: Duration = Duration::from_secs(600);
const WATCH_PROGRESS_MIN: Duration = Duration::from_millis(100);
const SLOW_UNARY_DEFAULT: Duration = Duration::from_millis(300);
/// What gRPC itself tolerates when it is told nothing.
const CLIENT_PING_INTERVAL_DEFAULT: Duration = Duration::from_secs(300);

/// Checks `given` as a whole; `named` are the flags that the user set.
pub(super) fn assemble(
    given: &GivenFlags,
    named: &BTreeSet<&'static str>,
    source: Source,
    mut notices: Vec<Notice>,
) -> Result<Settings, SettingsError> {
    let log = log_settings(given, &mut notices)?;
    let listen = listen_settings(given)?;
    let advertise = advertise_settings(given, named, source)?;
    check_choices(given)?;
    let feature_gates = FeatureGates::parse(&given.feature_gates, &mut notices)?;
    let raft = raft_settings(given, &feature_gates)?;
    let bootstrap = Bootstrap::new(given, named)?;
    later::check_unsupported(given, &mut notices)?;
    add_advice(given, &listen, &mut notices);
    let data_dir = match given.data_dir.as_str() {
        "" => format!("{}.etcd", given.name),
        given => given.to_owned(),
    };
    let around = Around {
        data_dir: Path::new(&data_dir),
        listen: &listen,
        advertise: &advertise,
        source,
    };
    let tls = tls_settings(given, &around, &mut notices)?;
    Ok(Settings {
        name: given.name.clone(),
        data_dir: PathBuf::from(&data_dir),
        wal_dir: (!given.wal_dir.is_empty()).then(|| PathBuf::from(&given.wal_dir)),
        listen,
        tls,
        advertise,
        bootstrap,
        raft,
        backend: backend_settings(given)?,
        limits: request_limits(given)?,
        keepalive: keepalive_settings(given)?,
        compaction: compaction_settings(given)?,
        watch_progress_interval: watch_progress_interval(given)?,
        slow: SlowThresholds {
            apply: span("warning-apply-duration", given.warning_apply_duration)?,
            unary_request: match span(
                "warning-unary-request-duration",
                given.warning_unary_request_duration,
            )? {
                Duration::ZERO => SLOW_UNARY_DEFAULT,
                threshold => threshold,
            },
        },
        backup: backup_settings(given)?,
        auth: auth_settings(given, &mut notices)?,
        http: HttpSettings {
            cors: allowed(&given.cors.0),
            hosts: allowed(&given.host_whitelist.0),
            gateway: given.enable_grpc_gateway,
            v2: given.enable_v2,
        },
        log,
        metrics_detail: match given.metrics.as_str() {
            "extensive" => MetricsDetail::Extensive,
            _ => MetricsDetail::Basic,
        },
        feature_gates,
        notices,
        effective: effective_flags(given, data_dir),
    })
}

fn watch_progress_interval(given: &GivenFlags) -> Result<Duration, SettingsError> {
    let interval = given.watch_progress_notify_interval;
    Ok(match span("watch-progress-notify-interval", interval)? {
        Duration::ZERO => WATCH_PROGRESS_DEFAULT,
        interval => interval.max(WATCH_PROGRESS_MIN),
    })
}

fn listen_settings(given: &GivenFlags) -> Result<ListenSettings, SettingsError> {
    let clients = listen_urls("listen-client-urls", &given.listen_client_urls)?;
    if clients.is_empty() {
        return Err(SettingsError::unfit(
            "--listen-client-urls names no address to listen on",
        ));
    }
    Ok(ListenSettings {
        peers: listen_urls("listen-peer-urls", &given.listen_peer_urls)?,
        clients,
        http: listen_urls("listen-client-http-urls", &given.listen_client_http_urls)?,
        metrics: listen_urls("listen-metrics-urls", &given.listen_metrics_urls)?,
        reuse_port: given.socket_reuse_port,
    })
}

fn listen_urls(name: &'static str, urls: &UrlList) -> Result<Vec<ListenUrl>, SettingsError> {
    urls.0
        .iter()
        .map(|url| {
            ListenUrl::new(url.clone()).map_err(|source| SettingsError::Address { name, source })
        })
        .collect()
}

fn advertise_settings(
    given: &GivenFlags,
    named: &BTreeSet<&'static str>,
    source: Source,
) -> Result<AdvertiseSettings, SettingsError> {
    let is_forgotten = source == Source::Flags
        && named.contains("listen-client-urls")
        && !named.contains("advertise-client-urls");
    if is_forgotten {
        return Err(SettingsError::unfit(
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ));
    }
    Ok(AdvertiseSettings {
        peers: host_urls(
            "initial-advertise-peer-urls",
            &given.initial_advertise_peer_urls,
        )?,
        clients: host_urls("advertise-client-urls", &given.advertise_client_urls)?,
    })
}

fn host_urls(name: &'static str, urls: &UrlList) -> Result<Vec<Url>, SettingsError> {
    for url in &urls.0 {
        if matches!(url.place(), Place::Tcp { host, .. } if host.is_empty()) {
            let source = UrlError::NoHost {
                text: url.to_string(),
            };
            return Err(SettingsError::Address { name, source });
        }
    }
    Ok(urls.0.clone())
}

/// Values that etcd refuses although their feature is not in this build.
fn check_choices(given: &GivenFlags) -> Result<(), SettingsError> {
    if given.discovery_fallback != "exit" {
        return Err(SettingsError::unfit(format!(
            "--discovery-fallback can't be {:?}; exit is the only choice",
            given.discovery_fallback
        )));
    }
    if !matches!(given.compact_hash_check_time.to_duration(), Some(time) if !time.is_zero()) {
        return Err(SettingsError::unfit(format!(
            "--compact-hash-check-time must be >0 (set to {})",
            given.compact_hash_check_time
        )));
    }
    Ok(())
}

fn raft_settings(given: &GivenFlags, gates: &FeatureGates) -> Result<RaftSettings, SettingsError> {
    let (heartbeat, election) = (given.heartbeat_interval, given.election_timeout);
    if heartbeat == 0 {
        return Err(SettingsError::unfit(
            "--heartbeat-interval must be >0 (set to 0ms)",
        ));
    }
    if election == 0 {
        return Err(SettingsError::unfit(
            "--election-timeout must be >0 (set to 0ms)",
        ));
    }
    if heartbeat.saturating_mul(HEARTBEATS_PER_ELECTION_MIN) > election {
        return Err(SettingsError::unfit(format!(
            "--election-timeout[{election}ms] should be at least as 5 times as \
             --heartbeat-interval[{heartbeat}ms]"
        )));
    }
    if election > ELECTION_TIMEOUT_MS_MAX {
        return Err(SettingsError::unfit(format!(
            "--election-timeout[{election}ms] is too long, and should be set less than \
             {ELECTION_TIMEOUT_MS_MAX}ms"
        )));
    }
    let ticks = election / heartbeat;
    Ok(RaftSettings {
        heartbeat: Duration::from_millis(heartbeat),
        election_timeout: Duration::from_millis(heartbeat * ticks),
        election_ticks: number("election-timeout", ticks)?,
        initial_ticks: given
            .initial_election_tick_advance
            .then(|| number("election-timeout", ticks.saturating_sub(2)))
            .transpose()?,
        pre_vote: given.pre_vote,
        snapshot_entries: match given.snapshot_count {
            0 => SNAPSHOT_ENTRIES_DEFAULT,
            entries => entries,
        },
        catchup_entries: given.snapshot_catchup_entries,
        syncs: !given.unsafe_no_fsync,
        strict_reconfig_check: given.strict_reconfig_check,
        learners_max: number("max-learners", given.max_learners)?,
        force_new_cluster: given.force_new_cluster,
        corruption_checks: CorruptionChecks {
            at_start: gates.is_open(FeatureGate::InitialCorruptCheck),
            every: Some(span("corrupt-check-time", given.corrupt_check_time)?)
                .filter(|every| !every.is_zero()),
            compacted_every: gates
                .is_open(FeatureGate::CompactHashCheck)
                .then(|| span("compact-hash-check-time", given.compact_hash_check_time))
                .transpose()?,
        },
    })
}

fn backend_settings(given: &GivenFlags) -> Result<BackendSettings, SettingsError> {
    Ok(BackendSettings {
        batch_interval: match span("backend-batch-interval", given.backend_batch_interval)? {
            Duration::ZERO => BATCH_INTERVAL_DEFAULT,
            interval => interval,
        },
        batch_ops_max: match number("backend-batch-limit", given.backend_batch_limit)? {
            0 => BATCH_OPS_DEFAULT,
            ops => ops,
        },
        quota: match u64::try_from(given.quota_backend_bytes) {
            Ok(bytes) => Quota::Bytes(NonZeroU64::new(bytes).unwrap_or(QUOTA_BYTES_DEFAULT)),
            Err(_) => Quota::Unlimited,
        },
        disk_reserve_bytes: given.disk_reserve_bytes,
        defragment_at_start: NonZeroU64::new(
            given
                .bootstrap_defrag_threshold_megabytes
                .saturating_mul(MEGABYTE),
        ),
        alarm_clear_delay: span("alarm-clear-delay", given.alarm_clear_delay)?,
    })
}

fn request_limits(given: &GivenFlags) -> Result<RequestLimits, SettingsError> {
    Ok(RequestLimits {
        txn_ops_max: number("max-txn-ops", given.max_txn_ops)?,
        request_bytes_max: number("max-request-bytes", given.max_request_bytes)?,
        unread_bytes_max: number("unread-answers-bytes", given.unread_answers_bytes)?,
        concurrent_streams_max: given.max_concurrent_streams,
    })
}

fn keepalive_settings(given: &GivenFlags) -> Result<KeepaliveSettings, SettingsError> {
    let interval = span("grpc-keepalive-interval", given.grpc_keepalive_interval)?;
    let timeout = span("grpc-keepalive-timeout", given.grpc_keepalive_timeout)?;
    Ok(KeepaliveSettings {
        client_ping_interval_min: match span(
            "grpc-keepalive-min-time",
            given.grpc_keepalive_min_time,
        )? {
            Duration::ZERO => CLIENT_PING_INTERVAL_DEFAULT,
            interval => interval,
        },
        server_ping: (!interval.is_zero() && !timeout.is_zero())
            .then_some(ServerPing { interval, timeout }),
    })
}

fn compaction_settings(given: &GivenFlags) -> Result<CompactionSettings, SettingsError> {
    Ok(CompactionSettings {
        auto: auto_compaction(
            &given.auto_compaction_mode,
            &given.auto_compaction_retention,
        )?,
        batch_revisions: match number("compaction-batch-limit", given.compaction_batch_limit)? {
            0 => COMPACTION_BATCH_DEFAULT,
            revisions => revisions,
        },
        batch_rest: match span("compaction-sleep-interval", given.compaction_sleep_interval)? {
            Duration::ZERO => COMPACTION_REST_DEFAULT,
            rest => rest,
        },
    })
}

fn auto_compaction(mode: &str, retention: &str) -> Result<Option<AutoCompaction>, SettingsError> {
    let invalid = |hint: &str| {
        SettingsError::unfit(format!("--auto-compaction-retention {retention:?} {hint}"))
    };
    let count: Option<u64> = if retention.is_empty() {
        Some(0)
    } else {
        retention.parse().ok()
    };
    match mode {
        "revision" => match count {
            Some(revisions) => Ok(NonZeroU64::new(revisions).map(AutoCompaction::Revisions)),
            None => Err(invalid("is no number of revisions; write one, as in 1000")),
        },
        "periodic" => {
            let hour = Duration::from_secs(3600);
            let period = match count {
                Some(hours) => u32::try_from(hours)
                    .ok()
                    .and_then(|hours| hour.checked_mul(hours)),
                None => FlagDuration::parse(retention)
                    .ok()
                    .and_then(FlagDuration::to_duration),
            };
            let period = period.ok_or_else(|| {
                invalid("is no duration; write hours as a bare number, or as in 30m")
            })?;
            Ok((!period.is_zero()).then_some(AutoCompaction::Periodic(period)))
        }
        "" => Err(SettingsError::unfit("undefined auto-compaction-mode")),
        other => Err(SettingsError::unfit(format!(
            "unknown auto-compaction-mode {other:?}; write periodic or revision"
        ))),
    }
}

/// Every flag's value, with what an empty or zero value stands for where that is of interest.
fn effective_flags(
    given: &GivenFlags,
    data_dir: String,
) -> serde_json::Map<String, serde_json::Value> {
    const LEFT_OUT: [&str; 3] = ["config-file", "version", "discovery-password"];
    let mut flags: serde_json::Map<_, _> = FLAGS
        .iter()
        .filter(|flag| !LEFT_OUT.contains(&flag.name))
        .map(|flag| (flag.name.to_owned(), (flag.to_json)(given)))
        .filter(|(_, value)| !value.is_null())
        .collect();
    flags.insert("data-dir".to_owned(), data_dir.into());
    if given.quota_backend_bytes == 0 {
        flags.insert(
            "quota-backend-bytes".to_owned(),
            QUOTA_BYTES_DEFAULT.get().into(),
        );
    }
    flags
}

/// What deserves a word although it is allowed.
fn add_advice(given: &GivenFlags, listen: &ListenSettings, notices: &mut Vec<Notice>) {
    if listen.http.is_empty() {
        notices.push(Notice::info("HTTP and gRPC share the client addresses"));
    }
    if given.name == DEFAULT_NAME {
        notices.push(Notice::info("this member has the default name").about("name"));
    }
    if given.data_dir.is_empty() {
        notices.push(Notice::info("'data-dir' was empty; using default").about("data-dir"));
    }
    if given.backend_batch_interval > FlagDuration::from(Duration::from_secs(60)) {
        let long = "a commit a minute or less keeps much in memory";
        notices.push(Notice::warn(long).about("backend-batch-interval"));
    }
    if !matches!(given.metrics.as_str(), "basic" | "extensive") {
        notices.push(Notice::warn("neither basic nor extensive; taken as basic").about("metrics"));
    }
}

fn allowed(names: &BTreeSet<String>) -> Allowed {
    if names.is_empty() || names.contains("*") {
        Allowed::All
    } else {
        Allowed::Only(names.clone())
    }
}

pub(super) fn span(name: &str, duration: FlagDuration) -> Result<Duration, SettingsError> {
    duration.to_duration().ok_or_else(|| {
        SettingsError::unfit(format!("--{name} must not be negative (set to {duration})"))
    })
}

fn number<N, T>(name: &str, given: N) -> Result<T, SettingsError>
where
    N: Copy + std::fmt::Display,
    T: TryFrom<N>,
{
    T::try_from(given)
        .map_err(|_| SettingsError::unfit(format!("--{name} is out of range (set to {given})")))
}
