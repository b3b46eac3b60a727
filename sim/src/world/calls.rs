//! Clients: each asks one thing at a time, waits for the answer and writes it down.

use std::cell::Cell;
use std::rc::Rc;

use cairn_auth::{AuthInfo, AuthStore};
use cairn_history::{
    Answer, ClientId, MemberId, OpId, Outcome, Refusal, Request, Response, Revision, Term,
};
use cairn_replica::apply::permission::Permission;
use cairn_replica::consensus::Proposal;
use cairn_replica::log_request::LogRequest;
use cairn_replica::membership::MemberChange;

use super::client::{About, Client, What, request, what};
use super::leases::Question;
use super::{Event, MILLI, World};
use crate::api::{self, Way};
use crate::member::{Input, Loop, Ticket, Waits, description, raft_id};
use crate::planted::Planted;
use crate::schedule::{Ask, Change};

/// Clients that compare hashes have numbers from here on, each used for one call at a time.
const FIRST_COMPARER: u32 = 600;
const COMPARERS: u32 = 300;

/// How long a client waits for an answer, in milliseconds.
const PATIENCE: (u64, u64) = (2_000, 6_000);

/// A request under way.
pub(super) struct Call {
    client: ClientId,
    pub(super) member: MemberId,
    /// The member's life in which it arrived.
    arrived: Option<u64>,
    pub(super) request: Request,
    /// What else is known of it than the history tells.
    about: About,
    /// On whose behalf it is made, once it has arrived.
    auth_info: Option<AuthInfo>,
    /// Where it is, if only the leader can answer it.
    pub(super) question: Option<Question>,
    pub(super) ticket: Ticket,
}

impl Call {
    /// What the request needs, by the rules that the member knows.
    fn way(&self, auth_store: &AuthStore) -> Result<Way, Refusal> {
        match &self.about.what {
            What::Members(change) => member_change(*change)
                .map(Way::Members)
                .ok_or_else(|| Refusal::Other("no such member".to_owned())),
            What::Rules(change) => Ok(Way::Log(Box::new(LogRequest::Auth(change.clone())))),
            What::Data | What::Lock(_) | What::Behind(_) => {
                let auth_info = self.auth_info.as_ref();
                api::way(
                    &self.request,
                    Permission {
                        auth_store,
                        auth_info,
                    },
                )
            }
        }
    }
}

impl World<'_> {
    /// Lets a client ask for something, when it has its answers to what it asked before.
    pub(super) fn ask(&mut self, id: ClientId, user: Option<&str>, what: &Ask) {
        if let Ask::Hashes { by } = what {
            self.ask_hashes(*by);
            return;
        }
        if let Ask::V2(ask) = what {
            self.ask_v2(id, ask);
            return;
        }
        let members = self.schedule.cluster.members;
        let client = self.clients.entry(id);
        let client = client.or_insert_with(|| Client::new(id, members));
        let user = user.map(ToOwned::to_owned);
        client.asks.push_back((user, what.clone()));
        if !client.busy {
            self.next_ask(id);
        }
    }

    pub(super) fn next_ask(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id).filter(|it| !it.busy) else {
            return;
        };
        let Some((user, ask)) = client.asks.pop_front() else {
            return;
        };
        client.busy = true;
        let member = client.member;
        let about = About {
            user,
            what: what(&ask),
        };
        let request = request(ask, client, self.newest);
        let op = self.call(id, member, request);
        if let Some(call) = self.calls.get_mut(&op) {
            call.about = about;
        }
    }

    /// Asks all members for the hash of a revision, each by a client that asks nothing else.
    fn ask_hashes(&mut self, by: i64) {
        let revision = Revision((self.newest - by).max(1));
        let ids: Vec<MemberId> = self.members.keys().copied().collect();
        for id in ids {
            let client = ClientId(FIRST_COMPARER + self.comparers % COMPARERS);
            self.comparers += 1;
            self.call(client, id, Request::HashKv(Some(revision)));
        }
    }

    /// A member, whichever.
    pub(super) fn any_member(&mut self) -> MemberId {
        let ids: Vec<MemberId> = self.members.keys().copied().collect();
        let at = self.client_chance.below(ids.len() as u64);
        let at = usize::try_from(at).unwrap_or(0);
        ids.get(at).copied().unwrap_or(MemberId(1))
    }

    /// Calls on behalf of who may do everything, if authentication is on.
    pub(super) fn call_as_root(
        &mut self,
        client: ClientId,
        member: MemberId,
        request: Request,
    ) -> OpId {
        let op = self.call(client, member, request);
        if let Some(call) = self.calls.get_mut(&op) {
            call.about.user = Some("root".to_owned());
        }
        op
    }

    pub(super) fn call(&mut self, client: ClientId, member: MemberId, request: Request) -> OpId {
        let op = self.history.call(client, member, self.now, request.clone());
        self.trace.note(
            self.now,
            format_args!("{client} asks {member}: {op} {request:?}"),
        );
        let ticket = Ticket {
            waits: Waits::Call(op),
            left: Rc::new(Cell::new(false)),
        };
        let call = Call {
            client,
            member,
            arrived: None,
            request,
            about: About::default(),
            auth_info: None,
            question: None,
            ticket,
        };
        self.calls.insert(op, call);
        let way = self.client_chance.between(100_000, 800_000);
        self.plan(way, Event::Arrive(op));
        let (low, high) = PATIENCE;
        let patience = self.client_chance.between(low, high) * MILLI;
        self.plan(patience, Event::GiveUp(op));
        op
    }

    /// Whether anybody waits for an answer.
    pub(super) fn is_asking(&self) -> bool {
        !self.calls.is_empty()
            || self.v2.is_asking()
            || self.clients.values().any(|client| !client.asks.is_empty())
    }

    pub(super) fn arrive(&mut self, op: OpId) {
        let Some(call) = self.calls.get_mut(&op) else {
            return;
        };
        let id = call.member;
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        if self.now < member.paused_until {
            let until = member.paused_until;
            self.plan_at(until, Event::Arrive(op));
            return;
        }
        let Some(life) = &mut member.life else {
            self.refuse(op, "no connection");
            return;
        };
        call.arrived = Some(member.lives);
        let auth_store = life.applier.auth_store().load_full();
        let user = call.about.user.as_deref();
        call.auth_info = user
            .filter(|_| auth_store.is_enabled())
            .and_then(|user| AuthInfo::new(user.into(), auth_store.revision()));
        let way = match call.way(&auth_store) {
            Ok(way) => way,
            Err(why) => {
                let at = self.now;
                self.send_reply(op, Outcome::Refused { at, why });
                return;
            }
        };
        let number = life.request_ids.next();
        let ticket = call.ticket.clone();
        match way {
            Way::Members(change) => {
                let proposal = Proposal::ConfChange(change.to_conf_change(number));
                life.inbox.push(Input::Propose(number, proposal, ticket));
            }
            Way::Log(request) => {
                let proposal = Proposal::Request(request.encode(number, call.auth_info.as_ref()));
                life.inbox.push(Input::Propose(number, proposal, ticket));
            }
            Way::Leader => {
                call.question = Some(Question::to(id, &call.request));
                self.question(op, 0);
                return;
            }
            Way::Linearizable if !Planted::ReadWithoutIndex.is(self.planted) => {
                life.inbox.push(Input::Read(ticket));
            }
            Way::Linearizable | Way::Serializable => {
                self.read(op);
                return;
            }
        }
        self.wake(id, Loop::Consensus);
    }

    /// Lets the reads go on that waited for what is applied now.
    pub(super) fn finish_reads(&mut self, id: MemberId) {
        let too_early = Planted::ReadBeforeApplied.is(self.planted);
        let Some(life) = self.members.get_mut(&id).and_then(|it| it.life.as_mut()) else {
            return;
        };
        let applied = life.applier.applied();
        let (ready, waiting) = std::mem::take(&mut life.confirmed)
            .into_iter()
            .partition(|(index, _)| *index <= applied || too_early);
        life.confirmed = waiting;
        let ready: Vec<(_, Vec<Ticket>)> = ready;
        for ticket in ready.into_iter().flat_map(|(_, tickets)| tickets) {
            match ticket.waits {
                Waits::Call(op) => self.read(op),
                Waits::Question(op, step) => self.ask_again(op, step),
                Waits::V2(number) => self.read_v2(number),
                Waits::Duty(_) | Waits::Nobody => {}
            }
        }
    }

    fn read(&mut self, op: OpId) {
        let Some(call) = self.calls.get(&op) else {
            return;
        };
        let Some(life) = self
            .members
            .get(&call.member)
            .and_then(|it| it.life.as_ref())
        else {
            return;
        };
        let term = Term(life.shown_term);
        let auth_store = life.applier.auth_store().load_full();
        let mut outcome = api::read(&life.store, &call.request, self.now, term);
        // Who read under other rules than now is told nothing.
        if let Err(error) = auth_store.check_unchanged(call.auth_info.as_ref())
            && !Planted::ReadUnconfirmed.is(self.planted)
        {
            let (at, why) = (self.now, Refusal::Other(error.to_string()));
            outcome = Outcome::Refused { at, why };
        }
        if matches!(outcome, Outcome::Ok(_)) {
            let state = (life.applier.applied(), call.member);
            let seen = self
                .invariants
                .see_read(state, &call.request, call.auth_info.as_ref());
            self.broken = self.broken.take().or_else(|| seen.err());
        }
        self.send_reply(op, outcome);
    }

    pub(super) fn send_reply(&mut self, op: OpId, outcome: Outcome) {
        let way = self.client_chance.between(100_000, 800_000);
        self.plan(way, Event::Reply(op, outcome));
    }

    pub(super) fn refuse(&mut self, op: OpId, why: &str) {
        let outcome = Outcome::Refused {
            at: self.now,
            why: Refusal::Other(why.to_owned()),
        };
        self.send_reply(op, outcome);
    }

    /// All who wait for an answer of a member that is gone learn that there will be none.
    pub(super) fn hang_up(&mut self, id: MemberId) {
        let lost: Vec<OpId> = self
            .calls
            .iter()
            .filter(|(_, call)| call.member == id && call.arrived.is_some())
            .map(|(op, _)| *op)
            .collect();
        for op in lost {
            self.send_reply(op, unknown("connection lost"));
        }
        let asked_here: Vec<OpId> = self
            .calls
            .iter()
            .filter(|(_, call)| call.question.as_ref().is_some_and(|it| it.at() == id))
            .filter(|(_, call)| call.member != id)
            .map(|(op, _)| *op)
            .collect();
        for op in asked_here {
            self.go_home(op);
        }
        self.hang_up_v2(id);
        self.lose_streams(id);
    }

    pub(super) fn give_up(&mut self, op: OpId) {
        if self.calls.contains_key(&op) {
            self.reply(op, unknown("timed out"));
        }
    }

    pub(super) fn reply(&mut self, op: OpId, outcome: Outcome) {
        let Some(mut call) = self.calls.remove(&op) else {
            return;
        };
        call.ticket.left.set(true);
        let outcome = arriving(outcome, self.now);
        self.trace.note(
            self.now,
            format_args!("{} hears: {op} {outcome:?}", call.client),
        );
        let answered = matches!(outcome, Outcome::Ok(_));
        let other = self.any_member();
        if let What::Members(Change::Add(id) | Change::Learn(id)) = call.about.what
            && answered
        {
            self.join(id);
        }
        if Planted::RetryUnknown.is(self.planted)
            && matches!(outcome, Outcome::Unknown { .. })
            && matches!(call.request, Request::Put(_))
            && !self.rest.has_begun()
        {
            call.member = other;
            call.arrived = None;
            call.ticket.left = Rc::new(Cell::new(false));
            self.calls.insert(op, call);
            self.plan(MILLI, Event::Arrive(op));
            self.plan(3_000 * MILLI, Event::GiveUp(op));
            return;
        }
        if let Outcome::Ok(answer) = &outcome {
            let revision = answer.revision.map_or(1, |revision| revision.0);
            self.newest = self.newest.max(revision);
        }
        if let Some(client) = self.clients.get_mut(&call.client) {
            client.busy = false;
            if !answered {
                client.member = other;
            }
            if let Outcome::Ok(answer) = &outcome {
                client.note(&call.request, answer);
            }
            client.note_lease(&call.request, &outcome);
            client.note_lock(&call.about.what, &outcome);
        }
        self.history.end(op, outcome);
        self.plan(0, Event::Next(call.client));
        self.rest.answered(op);
    }

    pub(super) fn answer_early(&mut self, waits: Waits) {
        let Waits::Call(op) = waits else { return };
        let Some(call) = self.calls.get(&op) else {
            return;
        };
        if !matches!(call.request, Request::Put(_)) {
            return;
        }
        let life = self
            .members
            .get(&call.member)
            .and_then(|it| it.life.as_ref());
        let Some(next) = life.map(|life| life.store.current().next().to_wire()) else {
            return;
        };
        let answer = Answer {
            at: self.now,
            revision: Some(Revision(next)),
            term: None,
            body: Response::Put(None),
        };
        self.send_reply(op, Outcome::Ok(answer));
    }
}

fn unknown(error: &str) -> Outcome {
    Outcome::Unknown {
        at: None,
        error: error.to_owned(),
    }
}

/// The outcome with the time at which the client knows it.
fn arriving(outcome: Outcome, now: cairn_history::Time) -> Outcome {
    match outcome {
        Outcome::Ok(answer) => Outcome::Ok(Answer { at: now, ..answer }),
        Outcome::Refused { why, .. } => Outcome::Refused { at: now, why },
        Outcome::Unknown { error, .. } => Outcome::Unknown {
            at: Some(now),
            error,
        },
    }
}

/// Learners that there may be at a time.
const LEARNERS_MAX: usize = 2;

fn member_change(change: Change) -> Option<MemberChange> {
    let add = |id: MemberId, is_learner| {
        let member = cairn_replica::membership::Member {
            is_learner,
            ..description(raft_id(id).ok()?)
        };
        Some(MemberChange::Add {
            member,
            learners_max: LEARNERS_MAX,
        })
    };
    Some(match change {
        Change::Add(id) => add(id, false)?,
        Change::Learn(id) => add(id, true)?,
        Change::Promote(id) => MemberChange::Promote(raft_id(id).ok()?),
        Change::Remove(id) => MemberChange::Remove(raft_id(id).ok()?),
    })
}
