//! Counters of the gRPC server: a fixed set for every method it answers.
//!
//! All series exist from the start at 0, as alert rules on rates need them; a request finds its
//! method's counters by path and then only adds to atomics.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Registry};
use tonic::Code;

use super::table::PlainMetrics;
use super::{MetricsSource, Outcomes, counters};
use crate::settings::MetricsDetail;

/// Which sides of a method are streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrpcKind {
    /// One request, one response.
    Unary,
    /// One request, many responses.
    ServerStream,
    /// Many requests, many responses.
    BidiStream,
}

impl GrpcKind {
    fn label(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ServerStream => "server_stream",
            Self::BidiStream => "bidi_stream",
        }
    }
}

/// A method that the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GrpcMethod {
    /// Full name of the service, as in `etcdserverpb.KV`.
    pub service: &'static str,
    /// Name of the method, as in `Put`.
    pub method: &'static str,
    /// Which sides are streams.
    pub kind: GrpcKind,
}

impl GrpcMethod {
    /// What etcd calls the method's requests where it measures them.
    fn request_kind(&self) -> Option<&'static str> {
        match (self.service, self.method) {
            ("etcdserverpb.KV", "Compact") => Some("Compaction"),
            ("etcdserverpb.KV", kind @ ("Put" | "Range" | "DeleteRange" | "Txn")) => Some(kind),
            ("etcdserverpb.Maintenance", "Alarm") => Some("Alarm"),
            _ => None,
        }
    }
}

/// Every code a call can end with, in the order of their numbers.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// Prometheus' usual bounds, those of etcd's latency histogram.
const HANDLING_SECONDS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The counters of one method.
pub(crate) struct GrpcMethodMetrics {
    /// Calls begun.
    pub started: IntCounter,
    /// Messages received.
    pub msg_received: IntCounter,
    /// Messages sent.
    pub msg_sent: IntCounter,
    /// Bytes of messages received, over all methods.
    pub bytes_received: IntCounter,
    /// Bytes of messages sent, over all methods.
    pub bytes_sent: IntCounter,
    /// The method's kind, for whoever found it by path.
    pub kind: GrpcKind,
    /// One per code, in the order of [`CODES`].
    handled: Vec<IntCounter>,
    /// For those methods that etcd measures as requests.
    request_seconds: Option<Outcomes>,
    /// Only with `--metrics extensive`.
    handling_seconds: Option<Histogram>,
}

impl GrpcMethodMetrics {
    /// Counts a call that ended with `code` after `elapsed`.
    pub(crate) fn handled(&self, code: Code, elapsed: Duration) {
        let number = usize::try_from(i32::from(code)).ok();
        if let Some(counter) = number.and_then(|number| self.handled.get(number)) {
            counter.inc();
        }
        if let Some(seconds) = &self.request_seconds {
            seconds.observe(elapsed, code == Code::Ok);
        }
        if let Some(histogram) = &self.handling_seconds {
            histogram.observe(elapsed.as_secs_f64());
        }
    }
}

/// The counters of all methods, by path.
pub(super) struct GrpcMetrics {
    methods: HashMap<String, Arc<GrpcMethodMetrics>>,
}

impl GrpcMetrics {
    pub(super) fn register(
        registry: &Registry,
        source: &MetricsSource<'_>,
        plain: &PlainMetrics,
        request_durations: &HistogramVec,
    ) -> prometheus::Result<Self> {
        const LABELS: [&str; 3] = ["grpc_type", "grpc_service", "grpc_method"];
        let family = |name, help| counters(registry, name, help, &LABELS);
        let started = family("grpc_server_started_total", "Calls begun.")?;
        let received = family("grpc_server_msg_received_total", "Messages received.")?;
        let sent = family("grpc_server_msg_sent_total", "Messages sent.")?;
        let handled = counters(
            registry,
            "grpc_server_handled_total",
            "Calls ended, by code.",
            &["grpc_type", "grpc_service", "grpc_method", "grpc_code"],
        )?;
        let seconds = match source.detail {
            MetricsDetail::Basic => None,
            MetricsDetail::Extensive => Some(handling_seconds(registry, &LABELS)?),
        };
        let mut by_path = HashMap::new();
        for method in source.grpc_methods {
            let labels = [method.kind.label(), method.service, method.method];
            let metrics = GrpcMethodMetrics {
                started: started.get_metric_with_label_values(&labels)?,
                msg_received: received.get_metric_with_label_values(&labels)?,
                msg_sent: sent.get_metric_with_label_values(&labels)?,
                request_seconds: match method.request_kind() {
                    Some(kind) => Some(Outcomes::of(request_durations, &[kind])?),
                    None => None,
                },
                bytes_received: plain.network_client_grpc_received_bytes_total.clone(),
                bytes_sent: plain.network_client_grpc_sent_bytes_total.clone(),
                kind: method.kind,
                handled: handled_by_code(&handled, labels)?,
                handling_seconds: match &seconds {
                    Some(family) => Some(family.get_metric_with_label_values(&labels)?),
                    None => None,
                },
            };
            by_path.insert(
                format!("/{}/{}", method.service, method.method),
                Arc::new(metrics),
            );
        }
        Ok(Self { methods: by_path })
    }

    pub(super) fn method(&self, path: &str) -> Option<&Arc<GrpcMethodMetrics>> {
        self.methods.get(path)
    }
}

fn handled_by_code(
    family: &IntCounterVec,
    [kind, service, method]: [&str; 3],
) -> prometheus::Result<Vec<IntCounter>> {
    CODES
        .iter()
        .map(|code| family.get_metric_with_label_values(&[kind, service, method, code]))
        .collect()
}

fn handling_seconds(registry: &Registry, labels: &[&str]) -> prometheus::Result<HistogramVec> {
    let opts = HistogramOpts::new("grpc_server_handling_seconds", "Time until a call ended.")
        .buckets(HANDLING_SECONDS.to_vec());
    let family = HistogramVec::new(opts, labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}
