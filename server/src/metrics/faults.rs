//! Connections and calls that were ended for what their client did.

use prometheus::{IntCounter, Registry};

use super::counters;

/// Why a connection was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The client did not say in time what it speaks.
    SlowOpening,
    /// The TLS handshake failed, or took too long.
    Handshake,
    /// What came is no HTTP/1.1, or its headers took too long or were too large.
    Http1,
    /// What came is no HTTP/2, or more of it than anybody needs: resets, continuations.
    Http2,
    /// The client pinged too often.
    Pings,
}

impl Fault {
    const ALL: [Self; 5] = [
        Self::SlowOpening,
        Self::Handshake,
        Self::Http1,
        Self::Http2,
        Self::Pings,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::SlowOpening => "slow_opening",
            Self::Handshake => "tls_handshake",
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Pings => "too_many_pings",
        }
    }
}

/// Counts of them; all begin at 0.
#[derive(Clone)]
pub(crate) struct Faults {
    connections: prometheus::IntCounterVec,
    streams: IntCounter,
}

impl Faults {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let connections = counters(
            registry,
            "cairn_network_client_connections_refused_total",
            "Connections that were ended for what their client did, by reason.",
            &["reason"],
        )?;
        for fault in Fault::ALL {
            connections.get_metric_with_label_values(&[fault.label()])?;
        }
        let streams = IntCounter::new(
            "cairn_network_client_streams_reset_total",
            "HTTP/2 streams that this member reset.",
        )?;
        registry.register(Box::new(streams.clone()))?;
        Ok(Self {
            connections,
            streams,
        })
    }

    /// Counts a connection.
    pub(crate) fn ended(&self, fault: Fault) {
        self.connections.with_label_values(&[fault.label()]).inc();
    }

    /// Counts streams that were reset.
    pub(crate) fn reset(&self, streams: u64) {
        self.streams.inc_by(streams);
    }
}
