//! Metrics in Prometheus' text format, under the names and labels that etcd's dashboards and
//! alert rules select.
//!
//! [`Metrics`] is made once and shared; the server updates its fields, each an atomic number.
//! What only members with peers have (round trips, peer bytes) begins with the first peer.
//! Nothing below `server` knows metrics: stores return what the server counts.

mod apply_metrics;
mod call;
mod faults;
mod grpc;
mod grpc_methods;
mod messages;
mod peer_metrics;
mod process;
mod table;
mod timed_disk;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use prometheus::{Encoder, HistogramOpts, Opts, TextEncoder};

use tokio::runtime::Handle;

use self::grpc::GrpcMetrics;
use self::process::ProcessMetrics;
use self::table::PlainMetrics;
use crate::settings::{CLUSTER_VERSION, ETCD_VERSION, FeatureGates, MetricsDetail};
use cairn_consensus::MemberId;
use cairn_mvcc::CompactionWork;

pub(crate) use self::apply_metrics::ApplyMetrics;
pub(crate) use self::call::{Call, Counted};
pub(crate) use self::faults::{Fault, Faults};
pub(crate) use self::grpc::{GrpcKind, GrpcMethod, GrpcMethodMetrics};
pub(crate) use self::grpc_methods::GRPC_METHODS;
pub(crate) use self::peer_metrics::PeerMetrics;
pub(crate) use self::timed_disk::TimedDisk;
pub(crate) use prometheus::Histogram;

/// The content type of [`Metrics::render`]'s text.
pub(crate) const CONTENT_TYPE: &str =
    "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// Every number that the server measures.
///
/// Plain counters, gauges and histograms are fields of `plain`, reached by dereferencing:
/// `metrics.mvcc_put_total.inc()`.
pub(crate) struct Metrics {
    registry: prometheus::Registry,
    plain: PlainMetrics,
    faults: Faults,
    grpc: GrpcMetrics,
    process: ProcessMetrics,
    apply_durations: prometheus::HistogramVec,
    range_durations: Outcomes,
    client_requests: prometheus::IntCounterVec,
    health_check: prometheus::IntGaugeVec,
    health_checks: prometheus::IntCounterVec,
    alarms: prometheus::IntGaugeVec,
    cluster_version: prometheus::IntGaugeVec,
    scrapes: prometheus::IntCounterVec,
    member_id: OnceLock<String>,
    runtimes: Mutex<Vec<Handle>>,
}

/// What is known of a member when its metrics are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetricsSource<'a> {
    /// The member's switched features.
    pub feature_gates: &'a FeatureGates,
    /// Every method that its gRPC server answers.
    pub grpc_methods: &'a [GrpcMethod],
    /// How much to measure.
    pub detail: MetricsDetail,
}

/// A histogram for what succeeded, and one for what failed.
#[derive(Clone)]
pub(crate) struct Outcomes {
    succeeded: Histogram,
    failed: Histogram,
}

impl Outcomes {
    fn of(family: &prometheus::HistogramVec, labels: &[&str]) -> prometheus::Result<Self> {
        let with = |outcome| {
            let mut all = labels.to_vec();
            all.push(outcome);
            family.get_metric_with_label_values(&all)
        };
        Ok(Self {
            succeeded: with("true")?,
            failed: with("false")?,
        })
    }

    /// Counts one that took `elapsed`.
    pub(crate) fn observe(&self, elapsed: Duration, is_success: bool) {
        let histogram = if is_success {
            &self.succeeded
        } else {
            &self.failed
        };
        histogram.observe(elapsed.as_secs_f64());
    }
}

impl std::ops::Deref for Metrics {
    type Target = PlainMetrics;

    fn deref(&self) -> &PlainMetrics {
        &self.plain
    }
}

impl Metrics {
    /// Registers everything; gRPC counters start at 0 for every method and code.
    ///
    /// # Errors
    ///
    /// If a name or label is malformed or taken, a mistake in this module or in the list of
    /// methods.
    pub(crate) fn new(source: MetricsSource<'_>) -> prometheus::Result<Self> {
        let registry = prometheus::Registry::new();
        let range_durations = histograms(
            &registry,
            "etcd_server_range_duration_seconds",
            "Time that a range took in the store.",
            table::APPLY_SECONDS,
            &["success"],
        )?;
        let request_durations = histograms(
            &registry,
            "etcd_server_request_duration_seconds",
            "Time until a request was answered.",
            table::DISK_SECONDS,
            &["type", "success"],
        )?;
        let plain = PlainMetrics::register(&registry)?;
        let metrics = Self {
            grpc: GrpcMetrics::register(&registry, &source, &plain, &request_durations)?,
            plain,
            faults: Faults::register(&registry)?,
            process: ProcessMetrics::register(&registry)?,
            apply_durations: histograms(
                &registry,
                "etcd_server_apply_duration_seconds",
                "Time that applying an entry took.",
                table::APPLY_SECONDS,
                &["version", "op", "success"],
            )?,
            range_durations: Outcomes::of(&range_durations, &[])?,
            client_requests: counters(
                &registry,
                "etcd_server_client_requests_total",
                "Requests by the clients' API version.",
                &["type", "client_api_version"],
            )?,
            health_check: gauges(
                &registry,
                "etcd_server_healthcheck",
                "Last result of each health check: 1 is good.",
                &["type", "name"],
            )?,
            health_checks: counters(
                &registry,
                "etcd_server_healthchecks_total",
                "Health checks by result.",
                &["type", "name", "status"],
            )?,
            alarms: gauges(
                &registry,
                "etcd_debugging_server_alarms",
                "Alarms: 1 while raised.",
                &["server_id", "alarm_type"],
            )?,
            cluster_version: gauges(
                &registry,
                "etcd_cluster_version",
                "Version that the cluster runs at: 1 for the label.",
                &["cluster_version"],
            )?,
            scrapes: scrapes(&registry)?,
            member_id: OnceLock::new(),
            runtimes: Mutex::default(),
            registry,
        };
        metrics.register_facts(&source)?;
        Ok(metrics)
    }

    /// What stays as it is while the process lives.
    fn register_facts(&self, source: &MetricsSource<'_>) -> prometheus::Result<()> {
        let fact = |name, help, label, value: &str| -> prometheus::Result<()> {
            let family = gauges(&self.registry, name, help, &[label])?;
            family.get_metric_with_label_values(&[value])?.set(1);
            Ok(())
        };
        fact(
            "etcd_server_version",
            "API version: 1 for the label.",
            "server_version",
            ETCD_VERSION,
        )?;
        let features = gauges(
            &self.registry,
            "etcd_server_feature_enabled",
            "Feature gates: 1 is open.",
            &["name", "stage"],
        )?;
        for (name, stage, is_open) in source.feature_gates.list() {
            features
                .get_metric_with_label_values(&[name, stage])?
                .set(i64::from(is_open));
        }
        self.plain.debugging_mvcc_compact_revision.set(-1);
        Ok(())
    }

    /// Names the member, once it is known.
    ///
    /// # Errors
    ///
    /// If it has been named before.
    pub(crate) fn name_member(&self, member: MemberId) -> prometheus::Result<()> {
        let id = self.member_id.get_or_init(|| member.to_string());
        let help = "Member: 1 for the label.";
        let family = gauges(&self.registry, "etcd_server_id", help, &["server_id"])?;
        family.get_metric_with_label_values(&[id])?.set(1);
        Ok(())
    }

    /// The measures of other members.
    ///
    /// # Errors
    ///
    /// If they are there already.
    pub(crate) fn peers(&self, local: MemberId) -> prometheus::Result<PeerMetrics> {
        PeerMetrics::register(&self.registry, local)
    }

    /// Counts the beginning of a call; none for a method that nobody knows.
    #[must_use]
    pub(crate) fn begin_call(&self, path: &str, headers: &http::HeaderMap) -> Option<Call> {
        let method = self.grpc.method(path)?;
        let version = headers.get("client-api-version");
        let version = version.and_then(|version| version.to_str().ok());
        self.client_request(method.kind, version.unwrap_or("unknown"));
        Some(Call::begin(Arc::clone(method)))
    }

    /// The histograms of applying one kind of entry (`Put`, `Txn`, …): look up once, keep.
    ///
    /// # Errors
    ///
    /// Never for a name that is a label's text.
    pub(crate) fn apply_duration(&self, op: &str) -> prometheus::Result<Outcomes> {
        Outcomes::of(&self.apply_durations, &["v3", op])
    }

    /// The histograms of ranges in the store.
    #[must_use]
    pub(crate) fn range_duration(&self) -> &Outcomes {
        &self.range_durations
    }

    /// What counts the faults of clients.
    #[must_use]
    pub(crate) fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// Counts a request of a client that named its API version.
    ///
    /// Versions come from clients: only 3.0 to 3.99 make a series of their own.
    pub(crate) fn client_request(&self, kind: GrpcKind, client_api_version: &str) {
        let is_version = client_api_version.strip_prefix("3.").is_some_and(|minor| {
            matches!(minor.len(), 1 | 2) && minor.bytes().all(|byte| byte.is_ascii_digit())
        });
        let version = if is_version {
            client_api_version
        } else {
            "unknown"
        };
        let kind = if kind == GrpcKind::Unary {
            "unary"
        } else {
            "stream"
        };
        self.client_requests
            .with_label_values(&[kind, version])
            .inc();
    }

    /// Notes the result of a health check.
    pub(crate) fn health_check(&self, kind: &str, name: &str, is_good: bool) {
        let status = if is_good { "success" } else { "error" };
        self.health_check
            .with_label_values(&[kind, name])
            .set(i64::from(is_good));
        self.health_checks
            .with_label_values(&[kind, name, status])
            .inc();
    }

    /// Notes that an alarm (`NOSPACE`, `CORRUPT`) is raised or cleared.
    pub(crate) fn alarm(&self, name: &str, is_raised: bool) {
        if let Some(member) = self.member_id.get() {
            self.alarms
                .with_label_values(&[member, name])
                .set(i64::from(is_raised));
        }
    }

    /// Notes a step of a compaction, which holds up writers.
    pub(crate) fn compaction_step(&self, took: Duration, deleted: usize) {
        let millis = took.as_secs_f64() * 1000.0;
        let plain = &self.plain;
        plain
            .debugging_mvcc_db_compaction_pause_duration_milliseconds
            .observe(millis);
        plain
            .debugging_mvcc_db_compaction_keys_total
            .inc_by(deleted as u64);
    }

    /// Notes that a compaction is done.
    pub(crate) fn compaction_finished(&self, took: Duration, work: CompactionWork) {
        let millis = took.as_secs_f64() * 1000.0;
        let plain = &self.plain;
        plain
            .debugging_mvcc_db_compaction_total_duration_milliseconds
            .observe(millis);
        plain
            .debugging_mvcc_index_compaction_pause_duration_milliseconds
            .observe(work.in_index.as_secs_f64() * 1000.0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        plain
            .debugging_mvcc_db_compaction_last
            .set(i64::try_from(now).unwrap_or(i64::MAX));
    }

    /// Notes that the cluster's version is decided.
    pub(crate) fn cluster_version_decided(&self) {
        let version = CLUSTER_VERSION
            .rsplit_once('.')
            .map_or(CLUSTER_VERSION, |it| it.0);
        self.cluster_version.with_label_values(&[version]).set(1);
    }

    /// Notes how many log lines were given up since the start.
    pub(crate) fn log_lines_lost(&self, lost: u64) {
        let counter = &self.plain.log_lines_lost_total;
        counter.inc_by(lost.saturating_sub(counter.get()));
    }

    /// Counts the tasks of these runtimes from now on; each serves connections.
    pub(crate) fn count_tasks<'a>(&self, runtimes: impl IntoIterator<Item = &'a Handle>) {
        let mut known = self.runtimes.lock();
        known.extend(runtimes.into_iter().cloned());
        let workers = i64::try_from(known.len()).unwrap_or(i64::MAX);
        self.plain.go_sched_gomaxprocs_threads.set(workers);
    }

    /// Notes a scrape while the returned guard lives.
    #[must_use]
    pub(crate) fn begin_scrape(&self) -> Scrape<'_> {
        self.plain.promhttp_metric_handler_requests_in_flight.inc();
        Scrape(self)
    }

    /// Reads the process's own numbers anew.
    pub(crate) fn refresh_process(&self) {
        let os = self.process.read();
        let runtimes = self.runtimes.lock();
        let tasks: usize = runtimes
            .iter()
            .map(|runtime| runtime.metrics().num_alive_tasks())
            .sum();
        let tasks = i64::try_from(tasks).unwrap_or(i64::MAX);
        self.plain.go_threads.set(os.threads);
        self.plain
            .go_goroutines
            .set(tasks.saturating_add(os.threads));
        self.plain.os_fd_used.set(os.open_fds);
        self.plain.os_fd_limit.set(os.max_fds);
    }

    /// All of it as text, the process's own numbers read anew.
    ///
    /// # Errors
    ///
    /// If a family is inconsistent, a mistake in this module.
    pub(crate) fn render(&self) -> prometheus::Result<String> {
        self.refresh_process();
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// A scrape under way.
pub(crate) struct Scrape<'a>(&'a Metrics);

impl Scrape<'_> {
    /// It is answered with this HTTP status.
    pub(crate) fn answered(&self, status: http::StatusCode) {
        self.0.scrapes.with_label_values(&[status.as_str()]).inc();
    }
}

impl Drop for Scrape<'_> {
    fn drop(&mut self) {
        self.0.promhttp_metric_handler_requests_in_flight.dec();
    }
}

/// Scrapes by their answer; those that etcd has from the start begin at 0.
fn scrapes(registry: &prometheus::Registry) -> prometheus::Result<prometheus::IntCounterVec> {
    let family = counters(
        registry,
        "promhttp_metric_handler_requests_total",
        "Scrapes, by the HTTP status of their answer.",
        &["code"],
    )?;
    for code in ["200", "500", "503"] {
        family.get_metric_with_label_values(&[code])?;
    }
    Ok(family)
}

fn histograms(
    registry: &prometheus::Registry,
    name: &str,
    help: &str,
    buckets: table::Buckets,
    labels: &[&str],
) -> prometheus::Result<prometheus::HistogramVec> {
    let opts = HistogramOpts::new(name, help).buckets(buckets.bounds());
    let family = prometheus::HistogramVec::new(opts, labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn counters(
    registry: &prometheus::Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<prometheus::IntCounterVec> {
    let family = prometheus::IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn gauges(
    registry: &prometheus::Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<prometheus::IntGaugeVec> {
    let family = prometheus::IntGaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

#[cfg(test)]
mod tests;
