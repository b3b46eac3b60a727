//! What a proxy counts, under etcd's names.

use prometheus::{Encoder as _, IntCounter, IntGauge, Opts, Registry, TextEncoder};

/// The numbers of a proxy.
pub(crate) struct Metrics {
    registry: Registry,
    /// Watchers that share a watch upstream with another.
    pub(crate) watchers_coalescing: IntGauge,
    /// Events that went to more clients than they came from upstream for.
    pub(crate) events_coalescing: IntCounter,
}

impl Metrics {
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let watchers_coalescing = IntGauge::with_opts(Opts::new(
            "etcd_grpc_proxy_watchers_coalescing_total",
            "Watchers that share a watch upstream with another.",
        ))?;
        let events_coalescing = IntCounter::with_opts(Opts::new(
            "etcd_grpc_proxy_events_coalescing_total",
            "Events that did not come once more for another client.",
        ))?;
        registry.register(Box::new(watchers_coalescing.clone()))?;
        registry.register(Box::new(events_coalescing.clone()))?;
        Ok(Self {
            registry,
            watchers_coalescing,
            events_coalescing,
        })
    }

    /// All of it as text.
    pub(crate) fn render(&self) -> prometheus::Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}
