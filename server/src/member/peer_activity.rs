//! Since when other members have been reachable without a break.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cairn_consensus::MemberId;
use parking_lot::Mutex;

use super::append_stats::AppendStats;

/// Since when this member has heard of each other one, and what it sends them: written by the peers'
/// connections, read by those who judge whether a change of the members is safe.
#[derive(Debug, Default)]
pub(crate) struct PeerActivity {
    since: Mutex<BTreeMap<MemberId, Instant>>,
    appends: AppendStats,
}

impl PeerActivity {
    /// What is counted of appends.
    pub(crate) const fn appends(&self) -> &AppendStats {
        &self.appends
    }

    /// Notes that `peer` can be reached. It does not become younger by being noted again.
    pub(crate) fn set_active(&self, peer: MemberId) {
        self.since.lock().entry(peer).or_insert_with(Instant::now);
    }

    /// Notes that `peer` cannot be reached.
    pub(crate) fn set_inactive(&self, peer: MemberId) {
        self.since.lock().remove(&peer);
    }

    /// Since when `peer` has been reachable, if it is.
    pub(crate) fn active_since(&self, peer: MemberId) -> Option<Instant> {
        self.since.lock().get(&peer).copied()
    }

    /// Whether `peer` has been reachable since `at`, without a break.
    pub(crate) fn is_active_since(&self, peer: MemberId, at: Instant) -> bool {
        self.active_since(peer).is_some_and(|since| since <= at)
    }

    /// Whether `me` and those of `voters` that have been reachable since `at` are a majority of them.
    pub(crate) fn reaches_quorum_since(
        &self,
        me: MemberId,
        voters: &[MemberId],
        at: Instant,
    ) -> bool {
        let is_reached = |id: &&MemberId| **id == me || self.is_active_since(**id, at);
        voters.iter().filter(is_reached).count() > voters.len() / 2
    }

    /// How many can be reached.
    pub(crate) fn count(&self) -> usize {
        self.since.lock().len()
    }

    /// Whether `peer` has been reachable for all of the last `time`.
    pub(crate) fn is_active_for(&self, peer: MemberId, time: Duration) -> bool {
        self.active_since(peer)
            .is_some_and(|since| since.elapsed() > time)
    }
}
