//! What only the leader can answer about a lease, step by step.
//!
//! A driver brings the clock and carries steps out: it asks the group, proposes, waits, or passes the
//! question on to the leader, where it begins anew.

use std::sync::Arc;

use cairn_lease::{LeaseId, Leases, Moment, Remaining, Renew, Renewed, Term, Ttl};

use crate::lease_request::LeaseRequest;
use crate::log_request::LogRequest;

/// What is to be done before the next step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step<A> {
    /// Nothing: this is the answer.
    Answer(A),
    /// Ask the group for a read index, and wait until this member has applied it.
    Confirm,
    /// Put this into the log, and wait until it was applied, or was refused because its term ended.
    Propose(LogRequest),
    /// Wait for an expiry that is under way.
    Wait,
    /// Ask the leader. If there is none, or it does not answer, wait for a while.
    AskLeader,
}

impl<A> Step<A> {
    /// The same step with another form of the answer.
    pub fn map<B>(self, change: impl FnOnce(A) -> B) -> Step<B> {
        match self {
            Self::Answer(answer) => Step::Answer(change(answer)),
            Self::Confirm => Step::Confirm,
            Self::Propose(request) => Step::Propose(request),
            Self::Wait => Step::Wait,
            Self::AskLeader => Step::AskLeader,
        }
    }
}

/// A renewal of a lease.
///
/// It is answered when the group has confirmed, since the renewal, that this member leads in the same
/// term, and what was committed by then has not replaced the lease.
#[derive(Clone, Debug)]
pub struct KeepAlive {
    id: LeaseId,
    stage: Stage,
    /// This member has applied what was committed when the question came.
    is_up_to_date: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    #[default]
    Asked,
    /// The last step was [`Step::Confirm`], of this renewal if there was one.
    Confirming(Option<Renewed>),
}

impl KeepAlive {
    /// A renewal of the lease `id`.
    #[must_use]
    pub const fn new(id: LeaseId) -> Self {
        Self {
            id,
            stage: Stage::Asked,
            is_up_to_date: false,
        }
    }

    /// The lease.
    #[must_use]
    pub const fn id(&self) -> LeaseId {
        self.id
    }

    /// The next step. `leads_in` is the term in which this member leads, as far as it knows. The answer
    /// is the time to live; none if there is no such lease.
    pub fn step(
        &mut self,
        leases: &mut Leases,
        leads_in: Option<Term>,
        now: Moment,
    ) -> Step<Option<Ttl>> {
        if let Stage::Confirming(renewed) = std::mem::take(&mut self.stage) {
            self.is_up_to_date = true;
            if let Some(renewed) = renewed
                && leads_in == Some(renewed.term)
                && leases.is_still(&renewed)
            {
                return Step::Answer(Some(renewed.ttl));
            }
        }
        match leases.renew(self.id, now) {
            Renew::NotLeader => Step::AskLeader,
            Renew::Unknown if self.is_up_to_date => Step::Answer(None),
            Renew::Unknown => self.confirm(None),
            Renew::Expiring => Step::Wait,
            Renew::ThroughLog(term) => Step::Propose(LogRequest::Lease(LeaseRequest::Renew {
                term,
                lease: self.id,
            })),
            Renew::Done(renewed) => self.confirm(Some(renewed)),
        }
    }

    const fn confirm<A>(&mut self, renewed: Option<Renewed>) -> Step<A> {
        self.stage = Stage::Confirming(renewed);
        Step::Confirm
    }
}

/// What is left of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeLeft {
    /// Its time.
    pub remaining: Remaining,
    /// The keys attached to it, sorted, if they were asked for.
    pub keys: Vec<Arc<[u8]>>,
}

/// A question for what is left of a lease.
#[derive(Clone, Debug)]
pub struct TimeToLive {
    /// None for an id that no lease can have.
    id: Option<LeaseId>,
    with_keys: bool,
    is_confirming: bool,
}

impl TimeToLive {
    /// A question for the lease `id`, and its keys if they are wanted.
    #[must_use]
    pub const fn new(id: Option<LeaseId>, with_keys: bool) -> Self {
        Self {
            id,
            with_keys,
            is_confirming: false,
        }
    }

    /// The next step: [`Answer`](Step::Answer), [`Confirm`](Step::Confirm) or
    /// [`AskLeader`](Step::AskLeader). `leads` as this member knows. The answer is none if there is no
    /// such lease.
    pub fn step(&mut self, leases: &Leases, leads: bool, now: Moment) -> Step<Option<TimeLeft>> {
        let is_confirmed = std::mem::replace(&mut self.is_confirming, false);
        if !is_confirmed && leads {
            self.is_confirming = true;
            return Step::Confirm;
        }
        if !is_confirmed || leases.leading().is_none() {
            return Step::AskLeader;
        }
        let found = self.id.and_then(|id| {
            let keys = leases.keys(id).filter(|_| self.with_keys);
            Some(TimeLeft {
                remaining: leases.remaining(id, now)?,
                keys: keys.cloned().collect(),
            })
        });
        Step::Answer(found)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cairn_backend::{Backend, BackendOptions, MemoryEngine};
    use cairn_lease::Renewal;
    use cairn_mvcc::{Restored, Store};

    use super::*;

    const TERM: Term = Term(2);

    /// The leader since 0, with the lease 1.
    struct Leader {
        store: Store,
        leases: Leases,
        entries: u64,
    }

    impl Leader {
        fn new() -> Self {
            let backend = Backend::open(MemoryEngine::new(), BackendOptions::default()).unwrap();
            let mut leader = Self {
                store: Restored::read(backend).unwrap().store,
                leases: Leases::default(),
                entries: 0,
            };
            leader.leases.promote(TERM, at(0));
            leader.grant(90);
            leader
        }

        fn grant(&mut self, secs: i64) {
            self.entries += 1;
            let (ttl, renewal) = (ttl(secs), Renewal(self.entries));
            let mut batch = self.store.write();
            let granted = self.leases.grant(id(), ttl, renewal, batch.backend());
            granted.unwrap();
            batch.end().unwrap();
            self.leases.tick(at(0));
        }

        fn revoke(&mut self) {
            let mut batch = self.store.write();
            self.leases.revoke(id(), batch.backend()).unwrap();
            batch.end().unwrap();
        }

        fn keep_alive(
            &mut self,
            question: &mut KeepAlive,
            leads_in: Option<Term>,
        ) -> Step<Option<Ttl>> {
            question.step(&mut self.leases, leads_in, at(1000))
        }
    }

    fn id() -> LeaseId {
        LeaseId::from_wire(1).unwrap()
    }

    fn ttl(secs: i64) -> Ttl {
        Ttl::from_wire(secs).unwrap()
    }

    fn at(millis: u64) -> Moment {
        Moment::after_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_renewal_is_answered_when_the_group_has_confirmed_it() {
        let mut leader = Leader::new();
        let mut question = KeepAlive::new(id());
        let step = leader.keep_alive(&mut question, Some(TERM));
        assert_eq!(step, Step::Confirm);
        let step = leader.keep_alive(&mut question, Some(TERM));
        assert_eq!(step, Step::Answer(Some(ttl(90))));
    }

    #[test]
    fn a_renewal_in_a_term_that_has_ended_is_asked_for_anew() {
        let mut leader = Leader::new();
        for later in [None, Some(Term(3))] {
            let mut question = KeepAlive::new(id());
            let step = leader.keep_alive(&mut question, Some(TERM));
            assert_eq!(step, Step::Confirm);
            let step = leader.keep_alive(&mut question, later);
            assert_eq!(step, Step::Confirm, "{later:?}");
        }
        leader.leases.demote();
        let step = leader.keep_alive(&mut KeepAlive::new(id()), None);
        assert_eq!(step, Step::AskLeader);
    }

    #[test]
    fn a_lease_that_was_replaced_meanwhile_is_renewed_anew() {
        let mut leader = Leader::new();
        let mut question = KeepAlive::new(id());
        leader.keep_alive(&mut question, Some(TERM));
        leader.revoke();
        leader.grant(2);
        let step = leader.keep_alive(&mut question, Some(TERM));
        assert_eq!(step, Step::Confirm);
        let step = leader.keep_alive(&mut question, Some(TERM));
        assert_eq!(step, Step::Answer(Some(ttl(2))));
    }

    #[test]
    fn there_is_no_such_lease_only_when_all_was_applied() {
        let mut leader = Leader::new();
        leader.revoke();
        let mut question = KeepAlive::new(id());
        let step = leader.keep_alive(&mut question, Some(TERM));
        assert_eq!(step, Step::Confirm);
        let step = leader.keep_alive(&mut question, Some(TERM));
        assert_eq!(step, Step::Answer(None));
    }

    #[test]
    fn what_is_left_is_told_by_a_leader_that_the_group_has_confirmed() {
        let mut leader = Leader::new();
        let mut question = TimeToLive::new(Some(id()), true);
        let left = |question: &mut TimeToLive, leader: &Leader, leads| {
            let step = question.step(&leader.leases, leads, at(1000));
            step.map(|left| left.map(|it| it.remaining.left.as_secs()))
        };
        assert_eq!(left(&mut question, &leader, false), Step::AskLeader);
        assert_eq!(left(&mut question, &leader, true), Step::Confirm);
        assert_eq!(left(&mut question, &leader, true), Step::Answer(Some(89)));
        assert_eq!(left(&mut question, &leader, true), Step::Confirm);
        leader.leases.demote();
        assert_eq!(left(&mut question, &leader, true), Step::AskLeader);
    }
}
