//! The health of endpoints and whose turn it is.
//!
//! Calls go round robin over the endpoints that are connected and not in disgrace. An endpoint
//! falls into disgrace by an answer that another member might not give (no leader, stopping), and
//! is called again after a while, or at once if there is no other. One that cannot be connected to
//! is tried again after a time that doubles; nobody waits for it while another is connected.
//!
//! Invariants, checked by `check` in tests:
//! 1. Every endpoint is in exactly one [`Health`].
//! 2. An endpoint that is returned for a call is `Connected`.
//! 3. An endpoint is being connected to once at a time: only [`Balancer::start_due`] says so.

use std::time::{Duration, Instant};

/// An endpoint, as long as the list has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EndpointId(pub(crate) u64);

/// The first wait before an endpoint is connected to again.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How long an endpoint is passed over after an answer that others might not give.
const DISGRACE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// Not connected; to be connected to once it is this late.
    Apart {
        since_failures: u32,
        due: Instant,
    },
    Connecting {
        after_failures: u32,
    },
    Connected {
        disgraced_until: Option<Instant>,
    },
}

#[derive(Debug)]
struct Entry {
    id: EndpointId,
    health: Health,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Balancer {
    entries: Vec<Entry>,
    /// Where the last call went.
    turn: usize,
}

/// Where a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// To this endpoint.
    Call(EndpointId),
    /// Nowhere yet: a connection is being made.
    WaitForConnection,
    /// Nowhere yet: the next connection is made then.
    WaitUntil(Instant),
}

impl Balancer {
    pub(crate) fn new(endpoints: impl IntoIterator<Item = EndpointId>, now: Instant) -> Self {
        let mut balancer = Self {
            entries: Vec::new(),
            turn: 0,
        };
        for id in endpoints {
            balancer.add(id, now);
        }
        balancer
    }

    pub(crate) fn add(&mut self, id: EndpointId, now: Instant) {
        let health = Health::Apart {
            since_failures: 0,
            due: now,
        };
        self.entries.push(Entry { id, health });
    }

    pub(crate) fn remove(&mut self, id: EndpointId) {
        self.entries.retain(|entry| entry.id != id);
    }

    /// Begins the round at an endpoint that chance chooses, so that many clients do not all
    /// begin at the first.
    pub(crate) fn turn_to(&mut self, chance: u64) {
        let count = self.entries.len() as u64;
        self.turn = chance
            .checked_rem(count)
            .and_then(|turn| usize::try_from(turn).ok())
            .unwrap_or(0);
    }

    /// The endpoint for a call that was at `avoided` already. Those count if there are others.
    pub(crate) fn pick(&mut self, now: Instant, avoided: &[EndpointId]) -> Pick {
        let good = |entry: &Entry| match entry.health {
            Health::Connected { disgraced_until } => {
                disgraced_until.is_none_or(|until| until <= now)
            }
            _ => false,
        };
        let connected = |entry: &Entry| matches!(entry.health, Health::Connected { .. });
        let fresh = |entry: &Entry| !avoided.contains(&entry.id);
        let chosen = self
            .next_that(|entry| good(entry) && fresh(entry))
            .or_else(|| self.next_that(good))
            .or_else(|| self.next_that(|entry| connected(entry) && fresh(entry)))
            .or_else(|| self.next_that(connected));
        match chosen {
            Some((at, id)) => {
                self.turn = at;
                Pick::Call(id)
            }
            None => self.wait(),
        }
    }

    /// The same for a call that only one endpoint may serve; `None` if it is not in the list.
    pub(crate) fn pick_only(&self, id: EndpointId) -> Option<Pick> {
        let entry = self.entries.iter().find(|entry| entry.id == id)?;
        Some(match entry.health {
            Health::Connected { .. } => Pick::Call(id),
            Health::Connecting { .. } => Pick::WaitForConnection,
            Health::Apart { due, .. } => Pick::WaitUntil(due),
        })
    }

    /// The endpoints to connect to now. The caller must report how that went.
    pub(crate) fn start_due(&mut self, now: Instant) -> Vec<EndpointId> {
        let mut due_now = Vec::new();
        for entry in &mut self.entries {
            if let Health::Apart {
                since_failures,
                due,
            } = entry.health
                && due <= now
            {
                entry.health = Health::Connecting {
                    after_failures: since_failures,
                };
                due_now.push(entry.id);
            }
        }
        due_now
    }

    /// An endpoint is connected to.
    pub(crate) fn connected(&mut self, id: EndpointId) {
        self.set(id, |_| Health::Connected {
            disgraced_until: None,
        });
    }

    /// An endpoint could not be connected to. `chance` is uniform in `0..=u64::MAX`.
    pub(crate) fn refused(&mut self, id: EndpointId, now: Instant, chance: u64) {
        self.set(id, |health| {
            let failures = match health {
                Health::Connecting { after_failures } => after_failures.saturating_add(1),
                _ => 1,
            };
            Health::Apart {
                since_failures: failures,
                due: now + backoff(failures, chance),
            }
        });
    }

    /// A connection was lost; it is made again at once.
    pub(crate) fn lost(&mut self, id: EndpointId, now: Instant) {
        self.set(id, |health| match health {
            Health::Connected { .. } => Health::Apart {
                since_failures: 0,
                due: now,
            },
            other => other,
        });
    }

    /// An endpoint gave an answer that another might not give.
    pub(crate) fn disgrace(&mut self, id: EndpointId, now: Instant) {
        self.set(id, |health| match health {
            Health::Connected { .. } => Health::Connected {
                disgraced_until: Some(now + DISGRACE),
            },
            other => other,
        });
    }

    fn set(&mut self, id: EndpointId, change: impl FnOnce(Health) -> Health) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
            entry.health = change(entry.health);
        }
    }

    fn next_that(&self, fits: impl Fn(&Entry) -> bool) -> Option<(usize, EndpointId)> {
        let (before, after) = self.entries.split_at_checked(self.turn + 1)?;
        let numbered = (self.turn + 1..).zip(after);
        let mut round = numbered.chain((0..).zip(before));
        round
            .find(|(_, entry)| fits(entry))
            .map(|(at, entry)| (at, entry.id))
    }

    fn wait(&self) -> Pick {
        let due = self.entries.iter().map(|entry| match entry.health {
            Health::Apart { due, .. } => Some(due),
            Health::Connecting { .. } | Health::Connected { .. } => None,
        });
        match due.min() {
            // `None` is the least: something is being connected to.
            Some(Some(due)) => Pick::WaitUntil(due),
            Some(None) | None => Pick::WaitForConnection,
        }
    }
}

/// Doubles with each failure, and is cut by up to a half, so that clients do not come together.
fn backoff(failures: u32, chance: u64) -> Duration {
    let doubled = BACKOFF_MIN.saturating_mul(1 << failures.saturating_sub(1).min(10));
    let longest = doubled.min(BACKOFF_MAX);
    let share = u32::try_from(chance >> 32).unwrap_or(u32::MAX);
    let cut = longest.mul_f64(f64::from(share) / f64::from(u32::MAX) / 2.0);
    longest - cut
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const A: EndpointId = EndpointId(0);
    const B: EndpointId = EndpointId(1);
    const C: EndpointId = EndpointId(2);

    fn connected(now: Instant) -> Balancer {
        let mut balancer = Balancer::new([A, B, C], now);
        for id in balancer.start_due(now) {
            balancer.connected(id);
        }
        balancer
    }

    fn calls(balancer: &mut Balancer, now: Instant, count: usize) -> Vec<EndpointId> {
        let pick = |_| match balancer.pick(now, &[]) {
            Pick::Call(id) => id,
            other => panic!("{other:?}"),
        };
        (0..count).map(pick).collect()
    }

    #[test]
    fn calls_go_round_the_connected_endpoints() {
        let now = Instant::now();
        let mut balancer = connected(now);
        assert_eq!(calls(&mut balancer, now, 4), [B, C, A, B]);
        balancer.lost(C, now);
        assert_eq!(calls(&mut balancer, now, 3), [A, B, A]);
    }

    #[test]
    fn a_disgraced_endpoint_is_passed_over_until_it_is_the_only_one_or_time_has_passed() {
        let now = Instant::now();
        let mut balancer = connected(now);
        balancer.disgrace(B, now);
        assert_eq!(calls(&mut balancer, now, 3), [C, A, C]);
        balancer.lost(A, now);
        balancer.lost(C, now);
        assert_eq!(calls(&mut balancer, now, 1), [B]);
        for id in balancer.start_due(now) {
            balancer.connected(id);
        }
        let seen: BTreeSet<_> = calls(&mut balancer, now + DISGRACE, 3)
            .into_iter()
            .collect();
        assert_eq!(seen, BTreeSet::from([A, B, C]));
    }

    #[test]
    fn a_call_avoids_where_it_has_been_if_it_can() {
        let now = Instant::now();
        let mut balancer = connected(now);
        assert_eq!(balancer.pick(now, &[A, B]), Pick::Call(C));
        assert!(matches!(balancer.pick(now, &[A, B, C]), Pick::Call(_)));
    }

    #[test]
    fn without_a_connection_calls_wait_for_one() {
        let now = Instant::now();
        let mut balancer = Balancer::new([A, B], now);
        assert_eq!(balancer.pick(now, &[]), Pick::WaitUntil(now));
        assert_eq!(balancer.start_due(now), [A, B]);
        assert_eq!(balancer.start_due(now), []);
        assert_eq!(balancer.pick(now, &[]), Pick::WaitForConnection);
        balancer.refused(A, now, 0);
        balancer.refused(B, now, u64::MAX);
        let sooner = now + BACKOFF_MIN / 2;
        assert_eq!(balancer.pick(now, &[]), Pick::WaitUntil(sooner));
        assert_eq!(balancer.start_due(sooner), [B]);
    }

    proptest! {
        #[test]
        fn waits_grow_to_their_limit_and_are_cut_by_half_at_most(failures in 1_u32..100, chance: u64) {
            let wait = backoff(failures, chance);
            prop_assert!(wait <= BACKOFF_MAX);
            prop_assert!(wait >= BACKOFF_MIN / 2);
            prop_assert!(failures < 8 || wait >= BACKOFF_MAX / 2);
        }
    }
}
