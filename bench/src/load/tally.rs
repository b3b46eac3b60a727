//! What the clients of one generator thread count.

use std::time::Duration;

use crate::latencies::Latencies;
use crate::measurement::{KindLatency, Measurement, Span};

#[derive(Clone, Debug)]
pub(super) struct Tally {
    by_kind: Vec<Latencies>,
    received_bytes: u64,
    errors: u64,
    pub(super) first_error: Option<String>,
}

impl Tally {
    pub(super) fn new(kinds: usize) -> Self {
        Self {
            by_kind: vec![Latencies::new(); kinds],
            received_bytes: 0,
            errors: 0,
            first_error: None,
        }
    }

    pub(super) fn success(&mut self, kind: usize, latency: Duration, received_bytes: u64) {
        if let Some(latencies) = self.by_kind.get_mut(kind) {
            latencies.record(latency);
        }
        self.received_bytes += received_bytes;
    }

    pub(super) fn error(&mut self, error: &str) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| error.to_owned());
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.by_kind.iter_mut().zip(&other.by_kind) {
            mine.merge(theirs);
        }
        self.received_bytes += other.received_bytes;
        self.errors += other.errors;
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
    }

    pub(super) fn completed(&self) -> u64 {
        self.by_kind.iter().map(Latencies::count).sum()
    }

    pub(super) fn into_measurement(
        self,
        scenario: &str,
        kinds: &[&'static str],
        span: &Span,
    ) -> Measurement {
        let latencies = kinds
            .iter()
            .zip(&self.by_kind)
            .map(|(kind, latencies)| KindLatency {
                kind: (*kind).to_owned(),
                latency: latencies.summary(),
            });
        Measurement {
            latencies: latencies.collect(),
            received_bytes: self.received_bytes,
            errors: self.errors,
            first_error: self.first_error.clone(),
            ..Measurement::of(scenario, self.completed(), span)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_adds_counts_and_keeps_the_first_error() {
        let (mut left, mut right) = (Tally::new(2), Tally::new(2));
        left.success(0, Duration::from_millis(1), 10);
        right.success(1, Duration::from_millis(2), 20);
        right.error("first");
        right.error("second");
        left.merge(&right);
        assert_eq!(
            (left.completed(), left.received_bytes, left.errors),
            (2, 30, 2)
        );
        assert_eq!(left.first_error.as_deref(), Some("first"));
    }
}
