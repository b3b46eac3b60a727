//! What is measured of other members, each under its own label.

use std::time::Duration;

use cairn_consensus::MemberId;
use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Registry};

use super::table::Buckets;
use super::{counters, gauges, histograms};

/// The families; a member's series begin when it is first heard of.
#[derive(Clone)]
pub struct PeerMetrics {
    local: String,
    active: IntGaugeVec,
    known: IntGaugeVec,
    disconnected: IntCounterVec,
    sent_bytes: IntCounterVec,
    received_bytes: IntCounterVec,
    send_failures: IntCounterVec,
    round_trips: HistogramVec,
}

/// 0.1 ms to 3 s.
const ROUND_TRIP_SECONDS: Buckets = Buckets {
    start: 0.0001,
    count: 16,
};

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
    pub fn known(&self, remote: MemberId, is_known: bool) {
        self.known
            .with_label_values(&[&self.local, &remote.to_string()])
            .set(is_known.into());
    }

    /// Notes that a peer is connected.
    pub fn connected(&self, remote: MemberId) {
        self.active
            .with_label_values(&[&self.local, &remote.to_string()])
            .set(1);
    }

    /// Notes that a peer's connection was lost.
    pub fn disconnected(&self, remote: MemberId) {
        let remote = remote.to_string();
        let labels = [&self.local, &remote];
        self.active.with_label_values(&labels).set(0);
        self.disconnected.with_label_values(&labels).inc();
    }

    /// The count of bytes sent to a peer.
    #[must_use]
    pub fn sent(&self, to: MemberId) -> IntCounter {
        self.sent_bytes.with_label_values(&[&to.to_string()])
    }

    /// The count of bytes received from a peer.
    #[must_use]
    pub fn received(&self, from: MemberId) -> IntCounter {
        self.received_bytes.with_label_values(&[&from.to_string()])
    }

    /// Counts a failed try to reach a peer.
    pub fn send_failed(&self, to: MemberId) {
        self.send_failures
            .with_label_values(&[&to.to_string()])
            .inc();
    }

    /// Notes how long the way to a peer and back took.
    pub fn round_trip(&self, to: MemberId, took: Duration) {
        self.round_trips
            .with_label_values(&[&to.to_string()])
            .observe(took.as_secs_f64());
    }
}
