//! What is measured of other members, each under its own label.

use std::time::{Duration, Instant};

use cairn_consensus::MemberId;
use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

use super::table::Buckets;
use super::{counters, gauges, histograms};

/// The families; a member's series begin when it is first heard of.
#[derive(Clone)]
pub(crate) struct PeerMetrics {
    local: String,
    active: IntGaugeVec,
    known: IntGaugeVec,
    disconnected: IntCounterVec,
    sent_bytes: IntCounterVec,
    received_bytes: IntCounterVec,
    send_failures: IntCounterVec,
    receive_failures: IntCounterVec,
    refused: IntCounterVec,
    round_trips: HistogramVec,
    snapshots_sent: Transfers,
    snapshots_received: Transfers,
}

/// 0.1 ms to 3 s.
const ROUND_TRIP_SECONDS: Buckets = Buckets {
    start: 0.0001,
    count: 16,
};

/// 0.1 s to 51 s.
const TRANSFER_SECONDS: Buckets = Buckets {
    start: 0.1,
    count: 10,
};

/// etcd's label for who may not send a database here.
const STRANGER: &str = "UNKNOWN_SNAPSHOT_SENDER";

impl PeerMetrics {
    pub(super) fn register(registry: &Registry, local: MemberId) -> prometheus::Result<Self> {
        Ok(Self {
            local: local.to_string(),
            active: gauges(
                registry,
                "etcd_network_active_peers",
                "Peers that are connected: 1 each.",
                &["Local", "Remote"],
            )?,
            known: gauges(
                registry,
                "etcd_network_known_peers",
                "Peers that are known: 1 each.",
                &["Local", "Remote"],
            )?,
            disconnected: counters(
                registry,
                "etcd_network_disconnected_peers_total",
                "Connections to peers that were lost.",
                &["Local", "Remote"],
            )?,
            sent_bytes: counters(
                registry,
                "etcd_network_peer_sent_bytes_total",
                "Bytes of messages sent to peers.",
                &["To"],
            )?,
            received_bytes: counters(
                registry,
                "etcd_network_peer_received_bytes_total",
                "Bytes of messages received from peers.",
                &["From"],
            )?,
            send_failures: counters(
                registry,
                "etcd_network_peer_sent_failures_total",
                "Failed tries to reach peers.",
                &["To"],
            )?,
            receive_failures: counters(
                registry,
                "etcd_network_peer_received_failures_total",
                "Streams of messages from peers that broke.",
                &["From"],
            )?,
            refused: counters(
                registry,
                "cairn_network_peer_messages_refused_total",
                "Messages of peers that were refused, by reason.",
                &["From", "reason"],
            )?,
            snapshots_sent: Transfers::register(registry, "send", "To")?,
            snapshots_received: Transfers::register(registry, "receive", "From")?,
            round_trips: histograms(
                registry,
                "etcd_network_peer_round_trip_time_seconds",
                "Time to a peer and back.",
                ROUND_TRIP_SECONDS,
                &["To"],
            )?,
        })
    }

    /// Notes who is known.
    pub(crate) fn known(&self, remote: MemberId, is_known: bool) {
        self.known
            .with_label_values(&[&self.local, &remote.to_string()])
            .set(is_known.into());
    }

    /// Notes that a peer is connected.
    pub(crate) fn connected(&self, remote: MemberId) {
        self.active
            .with_label_values(&[&self.local, &remote.to_string()])
            .set(1);
    }

    /// Notes that a peer's connection was lost.
    pub(crate) fn disconnected(&self, remote: MemberId) {
        let remote = remote.to_string();
        let labels = [&self.local, &remote];
        self.active.with_label_values(&labels).set(0);
        self.disconnected.with_label_values(&labels).inc();
    }

    /// The count of bytes sent to a peer.
    #[must_use]
    pub(crate) fn sent(&self, to: MemberId) -> IntCounter {
        self.sent_bytes.with_label_values(&[&to.to_string()])
    }

    /// The count of bytes received from a peer.
    #[must_use]
    pub(crate) fn received(&self, from: MemberId) -> IntCounter {
        self.received_bytes.with_label_values(&[&from.to_string()])
    }

    /// Counts a failed try to reach a peer.
    pub(crate) fn send_failed(&self, to: MemberId) {
        self.send_failures
            .with_label_values(&[&to.to_string()])
            .inc();
    }

    /// Counts a stream of a peer's messages that broke.
    pub(crate) fn receive_failed(&self, from: MemberId) {
        self.receive_failures
            .with_label_values(&[&from.to_string()])
            .inc();
    }

    /// Counts a message that was refused; its sender's number may be none of a member's.
    pub(crate) fn refused(&self, from: u64, reason: &str) {
        self.refused
            .with_label_values(&[&format!("{from:x}"), reason])
            .inc();
    }

    /// Begins to count the sending of a database.
    #[must_use]
    pub(crate) fn sending_snapshot(&self, to: MemberId) -> Transfer {
        self.snapshots_sent.begin(&to.to_string())
    }

    /// Begins to count the receiving of a database.
    #[must_use]
    pub(crate) fn receiving_snapshot(&self, from: MemberId) -> Transfer {
        self.snapshots_received.begin(&from.to_string())
    }

    /// Counts a database that was refused because of who sent it.
    pub(crate) fn stranger_sent_snapshot(&self) {
        self.snapshots_received
            .failures
            .with_label_values(&[STRANGER])
            .inc();
    }

    /// Notes how long the way to a peer and back took.
    pub(crate) fn round_trip(&self, to: MemberId, took: Duration) {
        self.round_trips
            .with_label_values(&[&to.to_string()])
            .observe(took.as_secs_f64());
    }
}

/// The families of databases on their way in one direction.
#[derive(Clone)]
struct Transfers {
    successes: IntCounterVec,
    failures: IntCounterVec,
    in_flight: IntGaugeVec,
    seconds: HistogramVec,
}

impl Transfers {
    fn register(registry: &Registry, direction: &str, label: &str) -> prometheus::Result<Self> {
        let name = |what| format!("etcd_network_snapshot_{direction}_{what}");
        Ok(Self {
            successes: counters(
                registry,
                &name("success"),
                "Databases that arrived.",
                &[label],
            )?,
            failures: counters(
                registry,
                &name("failures"),
                "Databases that did not arrive.",
                &[label],
            )?,
            in_flight: gauges(
                registry,
                &name("inflights_total"),
                "Databases on their way.",
                &[label],
            )?,
            seconds: histograms(
                registry,
                &name("total_duration_seconds"),
                "Time until a database had arrived.",
                TRANSFER_SECONDS,
                &[label],
            )?,
        })
    }

    fn begin(&self, remote: &str) -> Transfer {
        let in_flight = self.in_flight.with_label_values(&[remote]);
        in_flight.inc();
        Transfer {
            begun: Instant::now(),
            success: self.successes.with_label_values(&[remote]),
            failure: Some(self.failures.with_label_values(&[remote])),
            in_flight,
            seconds: self.seconds.with_label_values(&[remote]),
        }
    }
}

/// One database on its way; dropped before it [has arrived](Self::succeeded), it counts as failed.
pub(crate) struct Transfer {
    begun: Instant,
    success: IntCounter,
    failure: Option<IntCounter>,
    in_flight: IntGauge,
    seconds: Histogram,
}

impl Transfer {
    /// It has arrived.
    pub(crate) fn succeeded(mut self) {
        self.failure = None;
        self.success.inc();
        self.seconds.observe(self.begun.elapsed().as_secs_f64());
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.in_flight.dec();
        if let Some(failure) = &self.failure {
            failure.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_on_its_way_is_counted_as_etcd_counts_it() {
        let registry = Registry::new();
        let member = |id| MemberId::from_wire(id).unwrap();
        let metrics = PeerMetrics::register(&registry, member(1)).unwrap();
        let (to, from) = (member(0xa), member(0xb));
        metrics.sending_snapshot(to).succeeded();
        drop(metrics.sending_snapshot(to));
        let under_way = metrics.receiving_snapshot(from);
        metrics.stranger_sent_snapshot();
        let mut text = String::new();
        let encoder = prometheus::TextEncoder::new();
        encoder.encode_utf8(&registry.gather(), &mut text).unwrap();
        for line in [
            "etcd_network_snapshot_send_success{To=\"a\"} 1",
            "etcd_network_snapshot_send_failures{To=\"a\"} 1",
            "etcd_network_snapshot_send_inflights_total{To=\"a\"} 0",
            "etcd_network_snapshot_send_total_duration_seconds_count{To=\"a\"} 1",
            "etcd_network_snapshot_receive_inflights_total{From=\"b\"} 1",
            "etcd_network_snapshot_receive_failures{From=\"UNKNOWN_SNAPSHOT_SENDER\"} 1",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
        }
        drop(under_way);
    }
}
