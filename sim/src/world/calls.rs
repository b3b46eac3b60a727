//! Clients: each asks one thing at a time, waits for the answer and writes it down.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use cairn_history::{
    Answer, ClientId, Compare, Comparison, KeyRange, MemberId, OpId, Operand, Outcome, PutRequest,
    RangeRequest, Refusal, Request, Response, Revision, Term, TxnOp, TxnOpResponse, TxnRequest,
};
use cairn_replica::consensus::Proposal;
use cairn_replica::membership::MemberChange;

use super::{Event, MILLI, World};
use crate::door::{self, Way};
use crate::member::{Input, Loop, Ticket, description, raft_id};
use crate::planted::Planted;
use crate::schedule::{Ask, Change};

/// How long a client waits for an answer, in milliseconds.
const PATIENCE: (u64, u64) = (2_000, 6_000);

/// A request under way.
pub(super) struct Call {
    client: ClientId,
    member: MemberId,
    /// The member's life in which it arrived.
    arrived: Option<u64>,
    request: Request,
    /// The change of the members that is asked for, if it is one.
    change: Option<Change>,
    ticket: Ticket,
}

/// A client.
pub(super) struct Client {
    asks: VecDeque<Ask>,
    busy: bool,
    member: MemberId,
    /// The revision of each key that it saw last.
    seen: BTreeMap<String, i64>,
}

impl World<'_> {
    /// Lets a client ask for something, when it has its answers to what it asked before.
    pub(super) fn ask(&mut self, id: ClientId, what: &Ask) {
        let members = self.schedule.cluster.members;
        let client = self.clients.entry(id).or_insert_with(|| Client {
            asks: VecDeque::new(),
            busy: false,
            member: MemberId(1 + u64::from(id.0) % members),
            seen: BTreeMap::new(),
        });
        client.asks.push_back(what.clone());
        if !client.busy {
            self.next_ask(id);
        }
    }

    pub(super) fn next_ask(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id).filter(|it| !it.busy) else {
            return;
        };
        let Some(ask) = client.asks.pop_front() else {
            return;
        };
        client.busy = true;
        let member = client.member;
        let change = match &ask {
            Ask::Members(change) => Some(*change),
            _ => None,
        };
        let request = request(ask, client, self.newest);
        let op = self.call(id, member, request);
        if let Some(call) = self.calls.get_mut(&op) {
            call.change = change;
        }
    }

    /// A member, whichever.
    pub(super) fn any_member(&mut self) -> MemberId {
        let ids: Vec<MemberId> = self.members.keys().copied().collect();
        let at = self.client_chance.below(ids.len() as u64);
        let at = usize::try_from(at).unwrap_or(0);
        ids.get(at).copied().unwrap_or(MemberId(1))
    }

    pub(super) fn call(&mut self, client: ClientId, member: MemberId, request: Request) -> OpId {
        let op = self.history.call(client, member, self.now, request.clone());
        self.trace.note(
            self.now,
            format_args!("{client} asks {member}: {op} {request:?}"),
        );
        let ticket = Ticket {
            op,
            left: Rc::new(Cell::new(false)),
        };
        let call = Call {
            client,
            member,
            arrived: None,
            request,
            change: None,
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
        !self.calls.is_empty() || self.clients.values().any(|client| !client.asks.is_empty())
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
        if let Some(change) = call.change {
            let number = life.request_ids.next();
            if let Some(change) = member_change(change) {
                let proposal = Proposal::ConfChange(change.to_conf_change(number));
                let ticket = call.ticket.clone();
                life.inbox.push(Input::Propose(number, proposal, ticket));
                self.wake(id, Loop::Consensus);
            }
            return;
        }
        match door::way(&call.request) {
            Err(why) => {
                let at = self.now;
                self.send_reply(op, Outcome::Refused { at, why });
            }
            Ok(Way::Log(request)) => {
                let number = life.request_ids.next();
                let proposal = Proposal::Request(request.encode(number, None));
                let ticket = call.ticket.clone();
                life.inbox.push(Input::Propose(number, proposal, ticket));
                self.wake(id, Loop::Consensus);
            }
            Ok(Way::Linearizable) if !Planted::ReadWithoutIndex.is(self.planted) => {
                life.inbox.push(Input::Read(call.ticket.clone()));
                self.wake(id, Loop::Consensus);
            }
            Ok(Way::Linearizable | Way::Serializable) => self.read(op),
        }
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
            self.read(ticket.op);
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
        let term = Term(life.term);
        let outcome = door::read(&life.store, &call.request, self.now, term);
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
        if let Some(Change::Add(id) | Change::Learn(id)) = call.change
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
        }
        self.history.end(op, outcome);
        self.plan(0, Event::Next(call.client));
        self.rest.answered(op);
    }

    pub(super) fn answer_early(&mut self, op: OpId) {
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

impl Client {
    /// Remembers the revision of a key that an answer shows.
    fn note(&mut self, request: &Request, answer: &Answer) {
        let revision = answer.revision.map_or(0, |revision| revision.0);
        let mut note = |key: &cairn_history::Data, revision: i64| {
            self.seen.insert(key.to_string(), revision);
        };
        match (request, &answer.body) {
            (Request::Put(put), _) => note(&put.key, revision),
            (_, Response::Range(range)) => {
                for kv in &range.kvs {
                    note(&kv.key, kv.mod_revision.0);
                }
            }
            (Request::Txn(txn), Response::Txn(done)) => {
                let ops = if done.succeeded {
                    &txn.success
                } else {
                    &txn.failure
                };
                for (op, response) in ops.iter().zip(&done.responses) {
                    match (op, response) {
                        (TxnOp::Put(put), _) => note(&put.key, revision),
                        (_, TxnOpResponse::Range(range)) => {
                            for kv in &range.kvs {
                                note(&kv.key, kv.mod_revision.0);
                            }
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

/// What a client asks, now that it is its turn.
fn request(ask: Ask, client: &Client, newest: i64) -> Request {
    let back = |by: i64| Revision((newest - by).max(1));
    match ask {
        Ask::Plain(request) => request,
        Ask::Swap { key, value } => {
            let seen = client.seen.get(&key).copied().unwrap_or(0);
            let range = KeyRange::One(key.as_str().into());
            Request::Txn(TxnRequest {
                compares: vec![Compare {
                    range: range.clone(),
                    is: Comparison::Equal,
                    operand: Operand::Mod(seen),
                }],
                success: vec![TxnOp::Put(PutRequest::new(key, value))],
                failure: vec![TxnOp::Range(RangeRequest::new(range))],
            })
        }
        Ask::ReadBack { range, by } => {
            let mut read = RangeRequest::new(range);
            read.revision = Some(back(by));
            Request::Range(read)
        }
        Ask::WriteAndReadBack {
            key,
            value,
            range,
            by,
        } => {
            let mut read = RangeRequest::new(range);
            read.revision = Some(back(by));
            Request::Txn(TxnRequest {
                compares: Vec::new(),
                success: vec![TxnOp::Put(PutRequest::new(key, value)), TxnOp::Range(read)],
                failure: Vec::new(),
            })
        }
        Ask::Members(change) => Request::Other(format!("{change:?}")),
        Ask::Compact { keep } => Request::Compact(back(keep)),
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
            ..description(id.0)
        };
        MemberChange::Add {
            member,
            learners_max: LEARNERS_MAX,
        }
    };
    Some(match change {
        Change::Add(id) => add(id, false),
        Change::Learn(id) => add(id, true),
        Change::Promote(id) => MemberChange::Promote(raft_id(id).ok()?),
        Change::Remove(id) => MemberChange::Remove(raft_id(id).ok()?),
    })
}
