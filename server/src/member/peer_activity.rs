//! Since when other members have been reachable without a break.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cairn_consensus::MemberId;
use parking_lot::Mutex;

/// Since when this member has heard of each other one: written by the peers' connections, read by
/// those who judge whether a change of the members is safe.
#[derive(Debug, Default)]
pub struct PeerActivity(Mutex<BTreeMap<MemberId, Instant>>);

impl PeerActivity {
    /// Notes that `peer` can be reached. It does not become younger by being noted again.
    pub fn set_active(&self, peer: MemberId) {
        self.0.lock().entry(peer).or_insert_with(Instant::now);
    }

    /// Notes that `peer` cannot be reached.
    pub fn set_inactive(&self, peer: MemberId) {
        self.0.lock().remove(&peer);
    }

    /// Since when `peer` has been reachable, if it is.
    pub fn active_since(&self, peer: MemberId) -> Option<Instant> {
        self.0.lock().get(&peer).copied()
    }

    /// How many can be reached.
    pub fn count(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether `peer` has been reachable for all of the last `time`.
    pub fn is_active_for(&self, peer: MemberId, time: Duration) -> bool {
        self.active_since(peer)
            .is_some_and(|since| since.elapsed() > time)
    }

    /// Among `peers`, the one that has been reachable for the longest time.
    pub fn longest_active(&self, peers: impl IntoIterator<Item = MemberId>) -> Option<MemberId> {
        let since = self.0.lock();
        let active = peers.into_iter();
        let active = active.filter_map(|peer| Some((*since.get(&peer)?, peer)));
        active.min().map(|(_, peer)| peer)
    }
}
