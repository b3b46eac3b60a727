//! Latency histograms: recorded per generator thread, merged, then summed up.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The longest latency told apart from longer ones.
const LATENCY_MAX: Duration = Duration::from_secs(600);
/// Significant decimal digits kept.
const DIGITS: u8 = 3;
/// The percentiles that reports and plots show.
const PERCENTILES: [f64; 21] = [
    0.0, 1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 75.0, 80.0, 85.0, 90.0, 95.0, 97.0,
    99.0, 99.5, 99.9, 99.99, 100.0,
];

/// A histogram of latencies, exact to three digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// An empty histogram.
    ///
    /// # Panics
    ///
    /// Never: the bounds are valid constants.
    #[must_use]
    pub fn new() -> Self {
        #[expect(clippy::expect_used, reason = "constants that the histogram accepts")]
        let histogram = Histogram::new_with_max(nanos(LATENCY_MAX), DIGITS)
            .expect("ten minutes and three digits are valid bounds");
        Self(histogram)
    }

    /// Records one latency; those past ten minutes count as ten minutes.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(nanos(latency));
    }

    /// Adds what another histogram recorded.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so that adding cannot fail.
        let added = self.0.add(&other.0);
        debug_assert!(added.is_ok(), "histograms of different bounds");
    }

    /// How many latencies were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The numbers that a report shows.
    #[must_use]
    pub fn summary(&self) -> LatencySummary {
        let at = |percentile| micros(self.0.value_at_percentile(percentile));
        LatencySummary {
            count: self.0.len(),
            mean_us: self.0.mean() / 1000.0,
            p50_us: at(50.0),
            p90_us: at(90.0),
            p99_us: at(99.0),
            p999_us: at(99.9),
            max_us: micros(self.0.max()),
            curve: PERCENTILES
                .map(|percentile| (percentile, at(percentile)))
                .to_vec(),
        }
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

/// A histogram in numbers; microseconds throughout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Latencies recorded.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// Half are at most this.
    pub p50_us: f64,
    /// Nine in ten are at most this.
    pub p90_us: f64,
    /// 99 in 100 are at most this.
    pub p99_us: f64,
    /// 999 in 1000 are at most this.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// Percentile and latency, for plots.
    pub curve: Vec<(f64, f64)>,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "at most ten minutes in nanoseconds"
)]
fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_histograms_equal_one_that_saw_everything() {
        let (mut low, mut high, mut all) = (Latencies::new(), Latencies::new(), Latencies::new());
        for micros in 1..=1000 {
            let half = if micros <= 500 { &mut low } else { &mut high };
            half.record(Duration::from_micros(micros));
            all.record(Duration::from_micros(micros));
        }
        low.merge(&high);
        assert_eq!(low.summary(), all.summary());
        assert_eq!(low.count(), 1000);
    }

    #[test]
    fn percentiles_are_exact_to_a_thousandth() {
        let mut latencies = Latencies::new();
        for micros in 1..=1000 {
            latencies.record(Duration::from_micros(micros));
        }
        let summary = latencies.summary();
        for (seen, expected) in [(summary.p50_us, 500.0), (summary.p99_us, 990.0)] {
            assert!(
                (seen - expected).abs() <= expected / 500.0,
                "{seen} for {expected}"
            );
        }
        assert!(summary.curve.is_sorted_by(|a, b| a.1 <= b.1));
    }

    #[test]
    fn a_latency_past_the_bound_counts_as_the_bound() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_secs(10_000));
        assert_eq!(latencies.count(), 1);
        assert!(latencies.summary().max_us <= 601e6);
    }

    #[test]
    fn an_empty_histogram_sums_up_to_zeros() {
        assert_eq!(Latencies::new().summary().max_us, 0.0);
    }
}
