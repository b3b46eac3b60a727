//! When a lease is renewed and when it counts as lost, by the client's own clock.
//!
//! The server counts the time to live from when it handles a renewal, which is after the renewal
//! was sent. So a lease that is counted from the sending of the last renewal that was answered ends
//! here no later than there, however long messages take and whoever is paused; it needs only that
//! both clocks run at the same speed.

use std::time::{Duration, Instant};

/// The part of its time to live after which a lease is renewed.
const RENEW_AFTER: u32 = 3;
/// The part of its time to live that one member is given to answer a renewal.
const PATIENCE: u32 = 6;

/// The clock of one lease.
///
/// Invariants:
/// 1. `ends` is the sending of a request that the server answered, and a time to live from there.
/// 2. One renewal is under way at a time, so that an answer is to the last one that was sent.
/// 3. What is lost stays lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaseClock {
    ttl: Duration,
    ends: Instant,
    asked: Option<Instant>,
    next_ask: Instant,
    is_lost: bool,
}

/// What is to be done for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Nothing before then.
    Wait(Instant),
    /// Send a renewal.
    Ask,
    /// Give this member up and try another.
    Leave,
    /// Tell that it is lost.
    Lost,
}

impl LeaseClock {
    /// A lease that was granted by a request sent then.
    pub(crate) fn new(sent: Instant, ttl: Duration) -> Self {
        Self {
            ttl,
            ends: sent + ttl,
            asked: None,
            next_ask: sent + ttl / RENEW_AFTER,
            is_lost: false,
        }
    }

    /// When it counts as lost unless it is renewed.
    pub(crate) fn ends(&self) -> Instant {
        self.ends
    }

    pub(crate) fn duty(&mut self, now: Instant) -> Duty {
        self.is_lost |= now >= self.ends;
        if self.is_lost {
            return Duty::Lost;
        }
        match self.asked {
            Some(asked) => {
                let patient = asked + self.ttl / PATIENCE;
                if now >= patient {
                    Duty::Leave
                } else {
                    Duty::Wait(patient.min(self.ends))
                }
            }
            None if now >= self.next_ask => Duty::Ask,
            None => Duty::Wait(self.next_ask.min(self.ends)),
        }
    }

    /// A renewal was sent.
    pub(crate) fn asked(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// The renewal was answered; a time to live of zero says that there is no such lease.
    pub(crate) fn answered(&mut self, ttl: Duration) {
        let Some(asked) = self.asked.take() else {
            return;
        };
        if ttl.is_zero() {
            self.is_lost = true;
            return;
        }
        self.ttl = ttl;
        self.ends = self.ends.max(asked + ttl);
        self.next_ask = asked + ttl / RENEW_AFTER;
    }

    /// The stream of the renewal under way is gone; it is sent again at once.
    pub(crate) fn left(&mut self, now: Instant) {
        if self.asked.take().is_some() {
            self.next_ask = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TTL: Duration = Duration::from_secs(6);

    #[test]
    fn a_lease_is_renewed_after_a_third_of_its_time() {
        let start = Instant::now();
        let mut clock = LeaseClock::new(start, TTL);
        assert_eq!(clock.duty(start), Duty::Wait(start + TTL / 3));
        let sent = start + TTL / 3;
        assert_eq!(clock.duty(sent), Duty::Ask);
        clock.asked(sent);
        clock.answered(TTL);
        assert_eq!(clock.ends(), sent + TTL);
        assert_eq!(clock.duty(sent), Duty::Wait(sent + TTL / 3));
    }

    #[test]
    fn a_member_that_does_not_answer_is_left() {
        let start = Instant::now();
        let mut clock = LeaseClock::new(start, TTL);
        let sent = start + TTL / 3;
        clock.asked(sent);
        let late = sent + TTL / 6;
        assert_eq!(clock.duty(sent), Duty::Wait(late));
        assert_eq!(clock.duty(late), Duty::Leave);
        clock.left(late);
        assert_eq!(clock.duty(late), Duty::Ask);
    }

    #[test]
    fn what_is_lost_stays_lost() {
        let start = Instant::now();
        let mut clock = LeaseClock::new(start, TTL);
        clock.asked(start + TTL / 3);
        assert_eq!(clock.duty(start + TTL), Duty::Lost);
        clock.answered(TTL);
        assert_eq!(clock.duty(start + TTL), Duty::Lost);
        let mut revoked = LeaseClock::new(start, TTL);
        revoked.asked(start);
        revoked.answered(Duration::ZERO);
        assert_eq!(revoked.duty(start), Duty::Lost);
    }

    proptest! {
        /// A server that gets each renewal late or never, and whose lease ends by its own clock.
        #[test]
        fn it_is_lost_here_no_later_than_at_the_server(
            steps in proptest::collection::vec((0_u64..4_000, 0_u64..4_000, any::<bool>()), 1..40),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut clock = LeaseClock::new(now, TTL);
            // The grant is handled some time after it was sent.
            let mut ends_there = start + Duration::from_millis(50) + TTL;
            for (wait, way, answers) in steps {
                now += Duration::from_millis(wait);
                match clock.duty(now) {
                    Duty::Lost => break,
                    Duty::Wait(_) => {}
                    Duty::Leave => clock.left(now),
                    Duty::Ask => {
                        clock.asked(now);
                        let handled = now + Duration::from_millis(way);
                        let is_there = handled < ends_there;
                        if is_there {
                            ends_there = handled + TTL;
                        }
                        if answers {
                            now = handled + Duration::from_millis(way);
                            clock.answered(if is_there { TTL } else { Duration::ZERO });
                        }
                    }
                }
                let is_lost = clock.duty(now) == Duty::Lost;
                prop_assert!(is_lost || clock.ends() <= ends_there);
            }
        }
    }
}
