//! The longest gap between events: how long something was out of order, as seen from outside.

use std::time::{Duration, Instant};

/// The longest time between one moment and the next, given in order; `None` of fewer than two.
#[must_use]
pub fn longest_gap(moments: &[Instant]) -> Option<Duration> {
    moments
        .iter()
        .zip(moments.iter().skip(1))
        .map(|(earlier, later)| later.saturating_duration_since(*earlier))
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_counts_wherever_it_is() {
        let start = Instant::now();
        let gap = |millis: &[u64]| {
            let at = |millis: &u64| start + Duration::from_millis(*millis);
            let moments: Vec<_> = millis.iter().map(at).collect();
            longest_gap(&moments).map(|gap| gap.as_millis())
        };
        assert_eq!(gap(&[0, 5, 1200, 1205]), Some(1195));
        assert_eq!(gap(&[0, 900, 905, 910]), Some(900));
        assert_eq!(gap(&[0, 0]), Some(0));
        assert_eq!(gap(&[7]), None);
        assert_eq!(gap(&[]), None);
    }
}
