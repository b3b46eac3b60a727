//! Leases: the loop that keeps their time, and questions that only the leader answers.
//!
//! A renewal goes the way it goes in the server: it is put to the member that leads, by way of the one
//! that was asked, noted there, and answered once a majority has confirmed that it leads still.

use std::time::Duration;

use cairn_consensus::Role;
use cairn_history::{Answer, Data, LeaseId, MemberId, OpId, Outcome, Request, Response};
use cairn_lease::{Moment, Term, Ttl};
use cairn_proto::etcdserverpb::LeaseRevokeRequest;
use cairn_replica::apply;
use cairn_replica::consensus::Proposal;
use cairn_replica::error::ApplyError;
use cairn_replica::lease_duties::{self, Decided};
use cairn_replica::lease_question::{KeepAlive, Step, TimeLeft, TimeToLive};
use cairn_replica::lease_request::LeaseRequest;
use cairn_replica::log_request::LogRequest;

use super::{Event, MILLI, World};
use crate::member::{Input, Life, Loop, Ticket, Waits};
use crate::planted::Planted;

/// How often a member looks at its leases, in milliseconds; the server's time.
const LOOK: u64 = 100;
/// How far what is replicated of leases' times may be behind: runs are short.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// How long a question waits for somebody to lead, or for an expiry to be settled, in milliseconds.
const AGAIN: u64 = 50;

/// A question that only the leader answers, on its way.
#[derive(Debug)]
pub(super) struct Question {
    /// Where it is: at the member that was asked, or at the one that leads, as far as that knew.
    at: MemberId,
    /// What waits for an earlier step is too late.
    step: u64,
    /// How far it is there.
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    KeepAlive(KeepAlive),
    TimeToLive(TimeToLive),
    /// It names no lease.
    Nothing,
}

impl Question {
    pub(super) fn to(at: MemberId, request: &Request) -> Self {
        Self {
            at,
            step: 0,
            stage: Stage::of(request),
        }
    }

    pub(super) const fn at(&self) -> MemberId {
        self.at
    }
}

impl Stage {
    fn of(request: &Request) -> Self {
        match request {
            Request::LeaseKeepAlive(LeaseId(id)) => {
                let id = cairn_lease::LeaseId::from_wire(*id);
                id.map_or(Self::Nothing, |id| Self::KeepAlive(KeepAlive::new(id)))
            }
            Request::LeaseTimeToLive { id, keys } => {
                let id = cairn_lease::LeaseId::from_wire(id.0);
                Self::TimeToLive(TimeToLive::new(id, *keys))
            }
            _ => Self::Nothing,
        }
    }

    fn step(&mut self, life: &Life, now: Moment) -> Step<Response> {
        let leases = life.applier.leases();
        let mut leases = leases.lock();
        let leads_in = life.leads_in();
        let answered = match self {
            Self::KeepAlive(question) => {
                let step = question.step(&mut leases, leads_in, now);
                step.map(|ttl| Response::LeaseKeepAlive(ttl.map_or(0, Ttl::to_wire)))
            }
            Self::TimeToLive(question) => {
                let step = question.step(&leases, leads_in.is_some(), now);
                step.map(time_to_live)
            }
            Self::Nothing => Step::Answer(Response::LeaseKeepAlive(0)),
        };
        drop(leases);
        answered
    }
}

impl Life {
    /// The present, in leases' time.
    fn moment(&self, now: cairn_history::Time) -> Moment {
        Moment::after_start(Duration::from_nanos(now.0 - self.started.0))
    }

    /// The term in which the member leads.
    pub(super) fn leads_in(&self) -> Option<Term> {
        let leadership = self.consensus.status().leadership;
        (leadership.role == Role::Leader).then_some(Term(leadership.term.get()))
    }
}

impl World<'_> {
    pub(super) fn run_leases(&mut self, id: MemberId) {
        let (now, planted) = (self.now, self.planted);
        let Some(life) = self.members.get_mut(&id).and_then(|it| it.life.as_mut()) else {
            return;
        };
        let moment = life.moment(now);
        let led = life.leads_in().filter(|term| term.0 == life.applied_term);
        let leases = life.applier.leases();
        let mut leases = leases.lock();
        leases.checkpoint_every(CHECKPOINT_INTERVAL);
        if lease_duties::follow_leadership(&mut leases, led, moment) {
            self.trace
                .note(now, format_args!("{id} keeps leases in {led:?}"));
        }
        let due = lease_duties::due(&mut leases, moment);
        leases.check_invariants();
        drop(leases);
        let is_due = !due.is_empty();
        for decided in due {
            self.trace
                .note(now, format_args!("{id} decides {decided:?}"));
            life.decide(planted, decided);
        }
        if is_due {
            self.wake(id, Loop::Consensus);
        }
        self.end_expired_v2(id);
        self.wake_after(id, Loop::Leases, LOOK * MILLI);
    }

    /// A proposal or a read was not taken.
    pub(super) fn refused(&mut self, id: MemberId, waits: Waits, why: &str) {
        match waits {
            Waits::Call(op) => self.refuse(op, why),
            Waits::Question(op, step) => {
                if self.is_at(op, step) {
                    self.refuse(op, why);
                }
            }
            Waits::Duty(number) => self.take_back(id, number),
            Waits::V2(number) => self.answered_v2(number, None),
            Waits::Nobody => {}
        }
    }

    /// An entry was applied that somebody waits for.
    pub(super) fn answered(
        &mut self,
        id: MemberId,
        waits: Waits,
        done: Result<apply::Outcome, ApplyError>,
    ) {
        let now = self.now;
        let Some(life) = self.members.get_mut(&id).and_then(|it| it.life.as_mut()) else {
            return;
        };
        match waits {
            Waits::Call(op) => {
                let term = cairn_history::Term(life.shown_term);
                let answer = crate::api::answer(done, &life.store, now, term);
                self.send_reply(op, answer);
            }
            Waits::Question(op, step) => match done {
                Ok(_) | Err(ApplyError::TermEnded) => self.ask_again(op, step),
                Err(error) => self.refused(id, waits, &error.to_string()),
            },
            Waits::V2(number) => self.answered_v2(number, done.ok()),
            Waits::Nobody => {}
            Waits::Duty(number) if done.is_err() => self.take_back(id, number),
            Waits::Duty(number) => {
                life.duties.remove(&number);
            }
        }
    }

    fn take_back(&mut self, id: MemberId, number: u64) {
        let now = self.now;
        let Some(life) = self.members.get_mut(&id).and_then(|it| it.life.as_mut()) else {
            return;
        };
        if let Some(decided) = life.duties.remove(&number) {
            let moment = life.moment(now);
            decided.take_back(&mut life.applier.leases().lock(), moment);
        }
    }

    /// Looks at a question where it is.
    pub(super) fn question(&mut self, op: OpId, step: u64) {
        let (now, planted) = (self.now, self.planted);
        let Some(call) = self.calls.get_mut(&op) else {
            return;
        };
        let home = call.member;
        let Some(question) = call.question.as_mut().filter(|it| it.step == step) else {
            return;
        };
        let at = question.at;
        let Some(member) = self.members.get_mut(&at) else {
            return;
        };
        if now < member.paused_until {
            let until = member.paused_until;
            self.plan_at(until, Event::Question(op, step));
            return;
        }
        let Some(life) = &mut member.life else {
            self.go_home(op);
            return;
        };
        let moment = life.moment(now);
        let mut taken = question.stage.step(life, moment);
        if taken == Step::Confirm && Planted::RenewUnconfirmed.is(planted) {
            taken = question.stage.step(life, moment);
        }
        let mut ticket = || {
            question.step += 1;
            Ticket {
                waits: Waits::Question(op, question.step),
                left: std::rc::Rc::clone(&call.ticket.left),
            }
        };
        match taken {
            Step::Answer(body) => self.answer_question(op, body),
            Step::Confirm => {
                life.inbox.push(Input::Read(ticket()));
                self.wake(at, Loop::Consensus);
            }
            Step::Propose(request) => {
                let number = life.request_ids.next();
                let proposal = Proposal::Request(request.encode(number, None));
                life.inbox.push(Input::Propose(number, proposal, ticket()));
                self.wake(at, Loop::Consensus);
            }
            Step::Wait => self.plan(AGAIN * MILLI, Event::Question(op, step)),
            Step::AskLeader if at == home => {
                let leader = life.consensus.status().leadership.leader;
                match leader.map(|leader| MemberId(leader.get())) {
                    Some(leader) if leader != home => self.forward(op, leader),
                    _ => self.plan(AGAIN * MILLI, Event::Question(op, step)),
                }
            }
            Step::AskLeader => self.go_home(op),
        }
    }

    /// Lets a question take its next step where it is.
    pub(super) fn ask_again(&mut self, op: OpId, step: u64) {
        let Some(call) = self.calls.get_mut(&op) else {
            return;
        };
        let Some(question) = call.question.as_mut().filter(|it| it.step == step) else {
            return;
        };
        question.step += 1;
        let step = question.step;
        self.plan(0, Event::Question(op, step));
    }

    fn is_at(&self, op: OpId, step: u64) -> bool {
        let call = self.calls.get(&op);
        let question = call.and_then(|call| call.question.as_ref());
        question.is_some_and(|it| it.step == step)
    }

    /// Takes a question to the leader, if it gets there.
    fn forward(&mut self, op: OpId, leader: MemberId) {
        self.move_question(op, leader, 0);
    }

    /// Takes a question back to the member that was asked: the other leads no more, or is gone.
    pub(super) fn go_home(&mut self, op: OpId) {
        let Some(home) = self.calls.get(&op).map(|call| call.member) else {
            return;
        };
        self.move_question(op, home, AGAIN);
    }

    fn move_question(&mut self, op: OpId, to: MemberId, rest: u64) {
        let way = self.client_chance.between(100_000, 1_000_000);
        let Some(call) = self.calls.get_mut(&op) else {
            return;
        };
        let Some(question) = call.question.as_mut() else {
            return;
        };
        if self.network.is_cut(question.at, to) {
            // It is asked where it is, later.
            let step = question.step;
            self.plan(AGAIN * MILLI, Event::Question(op, step));
            return;
        }
        question.at = to;
        question.step += 1;
        question.stage = Stage::of(&call.request);
        let step = question.step;
        self.plan(way + rest * MILLI, Event::Question(op, step));
    }

    /// Answers a client by way of the member that it asked. What does not get there is lost.
    fn answer_question(&mut self, op: OpId, body: Response) {
        let Some(call) = self.calls.get(&op) else {
            return;
        };
        let at = call.question.as_ref().map_or(call.member, Question::at);
        if at != call.member && self.network.is_cut(at, call.member) {
            return;
        }
        let answer = Answer {
            at: self.now,
            revision: None,
            term: None,
            body,
        };
        self.send_reply(op, Outcome::Ok(answer));
    }
}

impl Life {
    /// Puts what was decided into the log.
    fn decide(&mut self, planted: Option<Planted>, decided: Decided) {
        if Planted::NoCheckpoints.is(planted) && matches!(decided, Decided::Checkpoints(..)) {
            return;
        }
        for request in requests(planted, &decided) {
            self.duties_begun += 1;
            let ticket = Ticket {
                waits: Waits::Duty(self.duties_begun),
                left: std::rc::Rc::default(),
            };
            let number = self.request_ids.next();
            let proposal = Proposal::Request(request.encode(number, None));
            self.inbox.push(Input::Propose(number, proposal, ticket));
        }
        self.duties.insert(self.duties_begun, decided);
    }
}

/// The requests that carry a decision out.
fn requests(planted: Option<Planted>, decided: &Decided) -> Vec<LogRequest> {
    let Decided::Expiry(expiry) = decided else {
        return vec![decided.request()];
    };
    if !Planted::UnfencedRevoke.is(planted) {
        return vec![decided.request()];
    }
    let revoke = |id: cairn_lease::LeaseId| {
        LogRequest::Lease(LeaseRequest::Revoke(LeaseRevokeRequest {
            id: id.to_wire(),
        }))
    };
    expiry.leases.iter().map(|it| revoke(it.id)).collect()
}

fn time_to_live(left: Option<TimeLeft>) -> Response {
    match left {
        None => Response::LeaseTimeToLive {
            ttl_secs: -1,
            granted_secs: 0,
            keys: Vec::new(),
        },
        Some(TimeLeft { remaining, keys }) => Response::LeaseTimeToLive {
            ttl_secs: i64::try_from(remaining.left.as_secs()).unwrap_or(i64::MAX),
            granted_secs: remaining.granted.to_wire(),
            keys: keys.iter().map(|key| Data::from(key.to_vec())).collect(),
        },
    }
}
