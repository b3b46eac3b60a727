//! The stream that renews all leases of a client.
//!
//! [`Kept`] decides, without I/O, what is due for which lease; the driver does it on one stream, at
//! whatever member answers, and is there while there is a lease to keep.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_proto::etcdserverpb as pb;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, sleep_until};
use tracing::Instrument as _;

use super::clock::{Duty, LeaseClock};
use super::{KEEP_ALIVE, seconds_of};
use crate::balance::EndpointId;
use crate::client::{Client, StreamPlace};
use crate::clock::now;
use crate::revision::LeaseId;
use crate::transport::{CallFailure, Replies, Requests};

/// How long to wait before members are asked again, when none took the stream.
const PAUSE: Duration = Duration::from_millis(50);

/// The keepers of a client: one for calls to any endpoint, and one for each that was named.
#[derive(Debug, Default)]
pub(crate) struct Keepers(Mutex<BTreeMap<Option<EndpointId>, Arc<Keeper>>>);

impl Keepers {
    pub(crate) fn of(&self, only: Option<EndpointId>) -> Arc<Keeper> {
        Arc::clone(self.0.lock().entry(only).or_default())
    }
}

/// Leases, and the task that renews them, which is there while there is one.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    kept: Mutex<Kept>,
    added: Notify,
}

/// The leases of one stream.
///
/// Invariant: there is one clock for each lease, whoever holds on to it, so that an answer, which
/// names the lease alone, is to the renewal that the clock knows of.
#[derive(Debug, Default)]
struct Kept {
    leases: BTreeMap<LeaseId, Held>,
    is_driven: bool,
}

#[derive(Debug)]
struct Held {
    clock: LeaseClock,
    /// To whoever holds on to the lease.
    state: watch::Sender<LeaseClock>,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Nothing: nobody holds on to a lease that lives.
    Over,
    Wait(Instant),
    /// Send a renewal of each.
    Ask(Vec<LeaseId>),
    /// The member owes an answer for too long: go on at another.
    Leave,
}

impl Kept {
    /// Adds a lease; returns how its clock is followed.
    fn add(&mut self, id: LeaseId, clock: LeaseClock, now: Instant) -> watch::Receiver<LeaseClock> {
        if let Some(held) = self.leases.get_mut(&id)
            && held.clock.duty(now) != Duty::Lost
        {
            return held.state.subscribe();
        }
        let (state, receiver) = watch::channel(clock);
        self.leases.insert(id, Held { clock, state });
        receiver
    }

    fn step(&mut self, now: Instant) -> Step {
        let mut due = Vec::new();
        let mut leaves = false;
        let mut wait: Option<Instant> = None;
        self.leases.retain(|id, held| {
            if held.state.is_closed() {
                return false;
            }
            match held.clock.duty(now) {
                Duty::Lost => {
                    held.state.send_replace(held.clock);
                    return false;
                }
                Duty::Leave => leaves = true,
                Duty::Ask => due.push(*id),
                Duty::Wait(until) => wait = Some(wait.map_or(until, |wait| wait.min(until))),
            }
            true
        });
        match wait {
            _ if leaves => Step::Leave,
            _ if !due.is_empty() => Step::Ask(due),
            Some(until) => Step::Wait(until),
            None => Step::Over,
        }
    }

    fn asked(&mut self, id: LeaseId, sent: Instant) {
        if let Some(held) = self.leases.get_mut(&id) {
            held.clock.asked(sent);
        }
    }

    fn answered(&mut self, id: LeaseId, ttl: Duration) {
        if let Some(held) = self.leases.get_mut(&id) {
            held.clock.answered(ttl);
            held.state.send_replace(held.clock);
        }
    }

    /// The stream is gone.
    fn left(&mut self, now: Instant) {
        for held in self.leases.values_mut() {
            held.clock.left(now);
        }
    }
}

impl Keeper {
    /// Keeps a lease until nobody follows its clock any more.
    pub(super) fn add(
        self: &Arc<Self>,
        client: &Client,
        id: LeaseId,
        clock: LeaseClock,
    ) -> watch::Receiver<LeaseClock> {
        let mut kept = self.kept.lock();
        let state = kept.add(id, clock, now());
        if !kept.is_driven {
            kept.is_driven = true;
            let driver = Driver {
                client: client.clone(),
                keeper: Arc::clone(self),
            };
            let span = tracing::debug_span!(parent: None, "etcd_leases");
            tokio::spawn(driver.run().instrument(span));
        }
        drop(kept);
        self.added.notify_one();
        state
    }

    /// What is to be done next. After [`Step::Over`], the driver is one no more.
    fn step(&self) -> Step {
        let mut kept = self.kept.lock();
        let step = kept.step(now());
        kept.is_driven = step != Step::Over;
        step
    }
}

struct Driver {
    client: Client,
    keeper: Arc<Keeper>,
}

/// How a stream ended.
enum End {
    /// There is nothing to keep.
    Over,
    /// Renewals go on at another member.
    Leave(Option<EndpointId>),
}

impl Driver {
    async fn run(self) {
        let mut avoided = Vec::new();
        loop {
            match self.keeper.step() {
                Step::Over => return,
                // The stream is opened when a renewal is due: what was just granted is not in haste.
                Step::Wait(until) => {
                    tokio::select! {
                        () = sleep_until(until.into()) => {}
                        () = self.keeper.added.notified() => {}
                    }
                }
                Step::Ask(_) | Step::Leave => match self.keep_on_one_member(&avoided).await {
                    End::Over => return,
                    End::Leave(place) => {
                        avoided = place.into_iter().collect();
                        self.keeper.kept.lock().left(now());
                    }
                },
            }
        }
    }

    /// Renews on one stream until it no longer works.
    async fn keep_on_one_member(&self, avoided: &[EndpointId]) -> End {
        let opened = self.client.open_stream(KEEP_ALIVE, avoided).await;
        let Ok((mut requests, mut replies, place)) = opened else {
            sleep(PAUSE).await;
            return End::Leave(None);
        };
        self.client.counting().lease_streams.add();
        loop {
            match self.keeper.step() {
                Step::Over => return End::Over,
                Step::Leave => return End::Leave(Some(place.id)),
                Step::Ask(due) => {
                    for id in due {
                        if self.ask(&mut requests, id).is_err() {
                            return End::Leave(Some(place.id));
                        }
                    }
                }
                Step::Wait(until) => {
                    if !self.listen(&mut replies, until, &place).await {
                        return End::Leave(Some(place.id));
                    }
                }
            }
        }
    }

    fn ask(&self, requests: &mut Requests, id: LeaseId) -> Result<(), CallFailure> {
        // Before it is sent, so that the lease ends here no later than there.
        self.keeper.kept.lock().asked(id, now());
        requests.send(&pb::LeaseKeepAliveRequest { id: id.get() })
    }

    /// Takes answers until something else is to be done; `false` if the stream is gone.
    async fn listen(&self, replies: &mut Replies, until: Instant, place: &StreamPlace) -> bool {
        loop {
            let answer = tokio::select! {
                () = sleep_until(until.into()) => return true,
                () = self.keeper.added.notified() => return true,
                answer = replies.next::<pb::LeaseKeepAliveResponse>() => answer,
            };
            match answer {
                Ok(Some(answer)) => {
                    let Ok(id) = LeaseId::from_wire(answer.id) else {
                        return false;
                    };
                    let ttl = seconds_of(answer.ttl);
                    self.keeper.kept.lock().answered(id, ttl);
                    if ttl.is_zero() {
                        return true;
                    }
                }
                Ok(None) => return false,
                Err(failure) => {
                    // A token that ended is renewed; any other refusal is tried again until the
                    // leases end.
                    let _ = self.client.stream_failed(place, &failure);
                    sleep(PAUSE).await;
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn lease(number: i64) -> LeaseId {
        LeaseId::new(number).unwrap()
    }

    #[test]
    fn leases_that_are_due_are_asked_for_together() {
        let start = now();
        let mut kept = Kept::default();
        let _one = kept.add(lease(1), LeaseClock::new(start, TTL), start);
        let _two = kept.add(lease(2), LeaseClock::new(start, TTL), start);
        let due = start + TTL / 3;
        assert_eq!(kept.step(start), Step::Wait(due));
        assert_eq!(kept.step(due), Step::Ask(vec![lease(1), lease(2)]));
        kept.asked(lease(1), due);
        kept.asked(lease(2), due);
        kept.answered(lease(1), TTL);
        // One that is not answered has all of them go elsewhere.
        assert_eq!(kept.step(due + TTL / 6), Step::Leave);
        kept.left(due + TTL / 6);
        assert_eq!(kept.step(due + TTL / 6), Step::Ask(vec![lease(2)]));
    }

    #[test]
    fn who_keeps_a_lease_twice_shares_its_clock() {
        let start = now();
        let mut kept = Kept::default();
        let first = kept.add(lease(1), LeaseClock::new(start, TTL), start);
        let second = kept.add(lease(1), LeaseClock::new(start, TTL), start);
        kept.asked(lease(1), start + TTL / 3);
        kept.answered(lease(1), TTL);
        assert_eq!(first.borrow().ends(), start + TTL / 3 + TTL);
        assert_eq!(second.borrow().ends(), first.borrow().ends());
        drop(first);
        assert!(matches!(kept.step(start + TTL / 2), Step::Wait(_)));
        drop(second);
        assert_eq!(kept.step(start + TTL / 2), Step::Over);
    }

    #[test]
    fn a_lease_that_is_gone_at_the_server_is_told_and_kept_no_more() {
        let start = now();
        let mut kept = Kept::default();
        let state = kept.add(lease(1), LeaseClock::new(start, TTL), start);
        kept.asked(lease(1), start + TTL / 3);
        kept.answered(lease(1), Duration::ZERO);
        assert_eq!(kept.step(start + TTL / 3), Step::Over);
        assert_eq!(state.borrow().clone().duty(start), Duty::Lost);
        // Its number may be granted again.
        let again = kept.add(lease(1), LeaseClock::new(start, TTL), start);
        assert_ne!(again.borrow().clone().duty(start), Duty::Lost);
    }
}
