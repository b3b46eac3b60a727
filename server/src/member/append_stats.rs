//! Appends between members, as etcd's second API counts them: how many, how large, how often, and how
//! long each waited for its connection.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use cairn_consensus::MemberId;
use parking_lot::Mutex;

/// Appends whose rate is told; etcd's number.
const RECENT_MAX: usize = 200;
/// A rate is told for as long after the last append.
const RECENT: Duration = Duration::from_secs(1);

/// Counted by the peers' connections, read by whoever asks.
#[derive(Debug, Default)]
pub(crate) struct AppendStats(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    sent: Flow,
    received: Flow,
    followers: BTreeMap<MemberId, FollowerStats>,
}

/// Appends in one direction.
#[derive(Debug, Default)]
struct Flow {
    count: u64,
    recent: VecDeque<(Instant, usize)>,
}

/// Appends in one direction: all since the start, and the rates of the last ones.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct FlowStats {
    pub(crate) count: u64,
    /// 0 if there were none of late.
    pub(crate) per_second: f64,
    pub(crate) bytes_per_second: f64,
}

/// Appends to one follower; times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FollowerStats {
    pub(crate) failures: u64,
    pub(crate) successes: u64,
    pub(crate) current: f64,
    pub(crate) average: f64,
    average_square: f64,
    /// Before the first one, etcd's 2^63.
    pub(crate) minimum: f64,
    pub(crate) maximum: f64,
}

impl AppendStats {
    /// An append of so many bytes is sent to a member.
    pub(crate) fn sent(&self, bytes: usize) {
        self.0.lock().sent.add(Instant::now(), bytes);
    }

    /// An append of so many bytes came from the leader.
    pub(crate) fn received(&self, bytes: usize) {
        self.0.lock().received.add(Instant::now(), bytes);
    }

    /// An append went out after it had waited so long.
    pub(crate) fn succeeded(&self, to: MemberId, waited: Duration) {
        let mut state = self.0.lock();
        state.followers.entry(to).or_default().succeeded(waited);
    }

    /// An append was dropped.
    pub(crate) fn failed(&self, to: MemberId) {
        self.0.lock().followers.entry(to).or_default().failures += 1;
    }

    /// Forgets a member that was removed.
    pub(crate) fn forget(&self, member: MemberId) {
        self.0.lock().followers.remove(&member);
    }

    pub(crate) fn all_sent(&self) -> FlowStats {
        self.0.lock().sent.stats(Instant::now())
    }

    pub(crate) fn all_received(&self) -> FlowStats {
        self.0.lock().received.stats(Instant::now())
    }

    pub(crate) fn follower(&self, id: MemberId) -> FollowerStats {
        let state = self.0.lock();
        state.followers.get(&id).copied().unwrap_or_default()
    }
}

impl Flow {
    fn add(&mut self, now: Instant, bytes: usize) {
        self.count += 1;
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((now, bytes));
    }

    #[expect(clippy::cast_precision_loss, reason = "rates of at most 200 appends")]
    fn stats(&self, now: Instant) -> FlowStats {
        let mut stats = FlowStats {
            count: self.count,
            ..FlowStats::default()
        };
        if let (Some((first, _)), Some((last, _))) = (self.recent.front(), self.recent.back()) {
            let seconds = last.duration_since(*first).as_secs_f64();
            if now.duration_since(*last) <= RECENT && seconds > 0.0 {
                let bytes: usize = self.recent.iter().map(|(_, bytes)| bytes).sum();
                stats.per_second = self.recent.len() as f64 / seconds;
                stats.bytes_per_second = bytes as f64 / seconds;
            }
        }
        stats
    }
}

impl Default for FollowerStats {
    fn default() -> Self {
        Self {
            failures: 0,
            successes: 0,
            current: 0.0,
            average: 0.0,
            average_square: 0.0,
            minimum: 9_223_372_036_854_775_808.0,
            maximum: 0.0,
        }
    }
}

impl FollowerStats {
    #[expect(clippy::cast_precision_loss, reason = "a count for an average")]
    fn succeeded(&mut self, waited: Duration) {
        let waited = waited.as_secs_f64() * 1e3;
        let before = self.successes as f64;
        self.successes += 1;
        let now = self.successes as f64;
        self.current = waited;
        self.minimum = self.minimum.min(waited);
        self.maximum = self.maximum.max(waited);
        self.average = (before * self.average + waited) / now;
        self.average_square = (before * self.average_square + waited * waited) / now;
    }

    pub(crate) fn standard_deviation(&self) -> f64 {
        // Rounding may leave less than nothing.
        let variance = self.average_square - self.average * self.average;
        variance.max(0.0).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_appends_and_ends_with_them() {
        let mut flow = Flow::default();
        let start = Instant::now();
        assert_eq!(flow.stats(start), FlowStats::default());
        flow.add(start, 10);
        assert_eq!(flow.stats(start).per_second, 0.0, "of one there is none");
        for tenth in 1..=400 {
            flow.add(start + Duration::from_millis(100) * tenth, 10);
        }
        let last = start + Duration::from_secs(40);
        let stats = flow.stats(last);
        assert_eq!(stats.count, 401);
        assert!((stats.per_second - 200.0 / 19.9).abs() < 1e-9, "{stats:?}");
        assert!((stats.bytes_per_second - 2000.0 / 19.9).abs() < 1e-9);
        let later = flow.stats(last + Duration::from_millis(1001));
        assert_eq!((later.count, later.per_second), (401, 0.0));
    }

    #[test]
    fn times_are_summed_up_in_milliseconds() {
        let mut stats = FollowerStats::default();
        for millis in [1, 2, 6] {
            stats.succeeded(Duration::from_millis(millis));
        }
        assert_eq!((stats.successes, stats.current), (3, 6.0));
        assert_eq!(
            (stats.minimum, stats.maximum, stats.average),
            (1.0, 6.0, 3.0)
        );
        let expected = (14.0_f64 / 3.0).sqrt();
        assert!((stats.standard_deviation() - expected).abs() < 1e-9);
    }
}
