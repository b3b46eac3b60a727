//! Clients of the second API: each request is on its own, and all are checked at the end.
//!
//! The index orders everything. What happened is read from the history of events, and then: each
//! answer is the event at its index, no event comes from nowhere, each follows from the one before,
//! nobody is answered with less than what was acknowledged before he asked, and what expires had to.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use cairn_history::{ClientId, MemberId, Time};
use cairn_mvcc::Revision;
use cairn_replica::apply::Outcome;
use cairn_replica::consensus::Proposal;
use cairn_replica::log_request::LogRequest;
use cairn_v2::{
    Action, ErrorKind, Event as Change, Failure, NodePath, Past, Request, Shown, Snapshot,
    Timestamp, Watch,
};

use super::{Event, MILLI, World};
use crate::invariants::Violation;
use crate::member::{Input, Loop, Ticket, Waits};
use crate::planted::Planted;
use crate::schedule::V2Ask;

/// How long a client waits for an answer, in milliseconds.
const PATIENCE_MILLIS: u64 = 5_000;
/// When the simulated world began, in nanoseconds since the epoch.
const EPOCH_NANOS: u64 = 1_700_000_000 * 1000 * MILLI;
const ALL: &[u8] = b"/1";

/// A request, and what its client knows of it.
#[derive(Debug)]
pub(super) struct V2Call {
    client: ClientId,
    member: MemberId,
    /// The member's life in which it arrived.
    arrived: Option<u64>,
    ask: V2Ask,
    /// The index that the client saw of the key last, for a swap.
    seen: u64,
    began: Time,
    ended: Option<(Time, V2Answer)>,
    left: Rc<Cell<bool>>,
}

/// What a client is told.
#[derive(Clone, Debug)]
pub(super) enum V2Answer {
    /// This happened.
    Done(Box<Change>),
    /// This was there, at an index.
    Read(Option<Box<Shown>>, u64),
    /// The request was refused at an index.
    Refused(ErrorKind, u64),
    /// Nobody knows.
    Unknown,
}

/// All requests of a run.
#[derive(Debug, Default)]
pub(super) struct V2Load {
    calls: Vec<V2Call>,
    /// The index of each key that each client saw last.
    seen: BTreeMap<(ClientId, String), u64>,
}

impl V2Load {
    pub(super) fn is_asking(&self) -> bool {
        self.calls.iter().any(|call| call.ended.is_none())
    }

    pub(super) const fn is_used(&self) -> bool {
        !self.calls.is_empty()
    }
}

fn path(key: &str) -> NodePath {
    NodePath::parse(format!("/1/{key}").as_bytes()).unwrap_or(NodePath::ROOT)
}

impl World<'_> {
    pub(super) fn ask_v2(&mut self, client: ClientId, ask: &V2Ask) {
        let number = self.v2.calls.len();
        let seen = self.v2.seen.get(&(client, ask.key().to_owned()));
        let seen = seen.copied().unwrap_or(1);
        let call = V2Call {
            client,
            member: self.any_member(),
            arrived: None,
            ask: ask.clone(),
            seen,
            began: self.now,
            ended: None,
            left: Rc::new(Cell::new(false)),
        };
        self.trace.note(
            self.now,
            format_args!("{client} asks {} (v2 {number}): {ask:?}", call.member),
        );
        self.v2.calls.push(call);
        let way = self.client_chance.between(100_000, 800_000);
        self.plan(way, Event::V2Arrive(number));
        self.plan(
            PATIENCE_MILLIS * MILLI,
            Event::V2Reply(number, V2Answer::Unknown),
        );
    }

    pub(super) fn arrive_v2(&mut self, number: usize) {
        let now = self.now;
        let Some(call) = self.v2.calls.get_mut(number) else {
            return;
        };
        let id = call.member;
        let Some(member) = self.members.get_mut(&id).filter(|_| call.ended.is_none()) else {
            return;
        };
        if now < member.paused_until {
            let until = member.paused_until;
            self.plan_at(until, Event::V2Arrive(number));
            return;
        }
        call.arrived = Some(member.lives);
        let clock = wall_clock(now, member.clock_behind);
        let Some(life) = &mut member.life else {
            self.reply_v2_later(number, V2Answer::Unknown);
            return;
        };
        let ticket = Ticket {
            waits: Waits::V2(number),
            left: Rc::clone(&call.left),
        };
        match request(&call.ask, call.seen, clock) {
            Some(request) => {
                let id = life.request_ids.next();
                let data = LogRequest::V2(Box::new(request)).encode(id, None);
                life.inbox
                    .push(Input::Propose(id, Proposal::Request(data), ticket));
            }
            None if matches!(call.ask, V2Ask::Get { quorum: true, .. })
                && !Planted::ReadWithoutIndex.is(self.planted) =>
            {
                life.inbox.push(Input::Read(ticket));
            }
            None => {
                self.read_v2(number);
                return;
            }
        }
        self.wake(id, Loop::Consensus);
    }

    /// Reads what the member has.
    pub(super) fn read_v2(&mut self, number: usize) {
        let Some(call) = self.v2.calls.get(number) else {
            return;
        };
        let life = self
            .members
            .get(&call.member)
            .and_then(|it| it.life.as_ref());
        let Some(life) = life else { return };
        let snapshot = Snapshot::new(&life.store);
        let index = snapshot.index().number();
        let answer = match cairn_v2::get(&snapshot, &path(call.ask.key()), false) {
            Ok(node) => V2Answer::Read(Some(Box::new(node)), index),
            Err(Failure::Refused(error)) => match error.kind {
                ErrorKind::KeyNotFound => V2Answer::Read(None, index),
                kind => V2Answer::Refused(kind, error.index),
            },
            Err(Failure::Storage(error)) => {
                self.broken = Some(Violation(format!("the v2 tree cannot be read: {error}")));
                return;
            }
        };
        self.reply_v2_later(number, answer);
    }

    /// A request was applied.
    pub(super) fn answered_v2(&mut self, number: usize, done: Option<Outcome>) {
        let answer = match done {
            Some(Outcome::V2(Ok(done))) => V2Answer::Done(Box::new(done.event)),
            Some(Outcome::V2(Err(error))) => V2Answer::Refused(error.kind, error.index),
            Some(_) | None => V2Answer::Unknown,
        };
        self.reply_v2_later(number, answer);
    }

    pub(super) fn reply_v2_later(&mut self, number: usize, answer: V2Answer) {
        let way = self.client_chance.between(100_000, 800_000);
        self.plan(way, Event::V2Reply(number, answer));
    }

    pub(super) fn reply_v2(&mut self, number: usize, answer: V2Answer) {
        let now = self.now;
        let Some(call) = self
            .v2
            .calls
            .get_mut(number)
            .filter(|it| it.ended.is_none())
        else {
            return;
        };
        call.left.set(true);
        self.trace.note(
            now,
            format_args!("{} hears: v2 {number} {answer:?}", call.client),
        );
        let seen = match &answer {
            V2Answer::Done(change) => change.node.modified,
            V2Answer::Read(Some(node), _) => node.modified,
            V2Answer::Read(None, _) | V2Answer::Refused(..) | V2Answer::Unknown => 0,
        };
        if seen > 0 {
            let key = (call.client, call.ask.key().to_owned());
            self.v2.seen.insert(key, seen);
        }
        call.ended = Some((now, answer));
    }

    /// Those who wait for a member that is gone learn that nobody knows.
    pub(super) fn hang_up_v2(&mut self, id: MemberId) {
        let lost = self.v2.calls.iter().enumerate();
        let lost = lost.filter(|(_, it)| it.member == id && it.arrived.is_some());
        let lost: Vec<usize> = lost
            .filter(|(_, it)| it.ended.is_none())
            .map(|(number, _)| number)
            .collect();
        for number in lost {
            self.reply_v2_later(number, V2Answer::Unknown);
        }
    }

    /// The leader ends what has expired, as the server's thread does.
    pub(super) fn end_expired_v2(&mut self, id: MemberId) {
        let now = self.now;
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let clock = wall_clock(now, member.clock_behind);
        let Some(life) = &mut member.life else { return };
        if life.leads_in().is_none() || !cairn_v2::due(&life.store, clock).unwrap_or(false) {
            return;
        }
        let number = life.request_ids.next();
        let sync = LogRequest::V2(Box::new(Request::sync(clock)));
        let ticket = Ticket {
            waits: Waits::Nobody,
            left: Rc::new(Cell::new(true)),
        };
        let proposal = Proposal::Request(sync.encode(number, None));
        life.inbox.push(Input::Propose(number, proposal, ticket));
        self.wake(id, Loop::Consensus);
    }

    /// Checks a run.
    pub(super) fn check_v2(&self) -> Result<(), Violation> {
        let Some(life) = self.members.values().find_map(|it| it.life.as_ref()) else {
            return Ok(());
        };
        let happened = happened(&life.store)?;
        let mut states = vec![(1, BTreeMap::new())];
        for change in &happened {
            let (_, before) = states.last().cloned().unwrap_or_default();
            states.push((change.node.modified, follow(before, change)?));
        }
        let mut from_nowhere = happened
            .iter()
            .filter(|it| it.action != Action::Expire)
            .map(|it| (it.node.modified, it))
            .collect::<BTreeMap<u64, &Change>>();
        for call in &self.v2.calls {
            call.check(&states, &mut from_nowhere)?;
        }
        for change in from_nowhere.into_values() {
            let made = |call: &V2Call| {
                matches!(call.ended, Some((_, V2Answer::Unknown))) && call.may_have_made(change)
            };
            if !self.v2.calls.iter().any(made) {
                return Err(broken(&format!("nobody asked for {change:?}")));
            }
        }
        self.check_real_time()
    }

    /// Nobody is answered with less than what was known before he asked.
    fn check_real_time(&self) -> Result<(), Violation> {
        for (number, later) in self.v2.calls.iter().enumerate() {
            let is_local = matches!(later.ask, V2Ask::Get { quorum: false, .. });
            let Some(index) = later.index().filter(|_| !is_local) else {
                continue;
            };
            for earlier in &self.v2.calls {
                let known = earlier.index().filter(|_| {
                    let ended = earlier.ended.as_ref().map(|(ended, _)| *ended);
                    ended.is_some_and(|ended| ended < later.began)
                });
                if known.is_some_and(|known| known > index) {
                    return Err(broken(&format!(
                        "v2 {number} is answered at {index}, after {known:?} was known: {later:?}"
                    )));
                }
            }
        }
        Ok(())
    }
}

type State = BTreeMap<NodePath, Shown>;

impl V2Call {
    fn index(&self) -> Option<u64> {
        match &self.ended {
            Some((_, V2Answer::Done(change))) => Some(change.node.modified),
            Some((_, V2Answer::Read(_, index) | V2Answer::Refused(_, index))) => Some(*index),
            Some((_, V2Answer::Unknown)) | None => None,
        }
    }

    /// Whether the answer is what the state of its index says.
    fn check(
        &self,
        states: &[(u64, State)],
        from_nowhere: &mut BTreeMap<u64, &Change>,
    ) -> Result<(), Violation> {
        let at = |index: u64| {
            let after = states.partition_point(|(from, _)| *from <= index);
            let (_, state) = states.get(after.checked_sub(1)?)?;
            Some(state.get(&path(self.ask.key())))
        };
        let is_right = match &self.ended {
            Some((_, V2Answer::Done(change))) => {
                from_nowhere.remove(&change.node.modified) == Some(&**change)
                    && self.may_have_made(change)
            }
            Some((_, V2Answer::Read(node, index))) => at(*index) == Some(node.as_deref()),
            Some((_, V2Answer::Refused(kind, index))) => match (kind, &self.ask, at(*index)) {
                (ErrorKind::KeyNotFound, _, Some(None)) => true,
                (ErrorKind::CompareFailed, V2Ask::Swap { .. }, Some(Some(node))) => {
                    node.modified != self.seen
                }
                _ => false,
            },
            Some((_, V2Answer::Unknown)) | None => true,
        };
        if is_right {
            return Ok(());
        }
        Err(broken(&format!("this cannot be answered: {self:?}")))
    }

    /// Whether the request does this.
    fn may_have_made(&self, change: &Change) -> bool {
        let value = |value: &str| change.node.value.as_deref() == Some(value.as_bytes());
        change.node.path == path(self.ask.key())
            && match &self.ask {
                V2Ask::Set { value: wanted, .. } => change.action == Action::Set && value(wanted),
                V2Ask::Swap { value: wanted, .. } => {
                    let before = change.prev.as_ref().map(|prev| prev.modified);
                    change.action == Action::CompareAndSwap
                        && value(wanted)
                        && before == Some(self.seen)
                }
                V2Ask::Delete { .. } => change.action == Action::Delete,
                V2Ask::Get { .. } => false,
            }
    }
}

/// The request that goes into the log; a read is none.
fn request(ask: &V2Ask, seen: u64, clock: Timestamp) -> Option<Request> {
    let put = Request {
        method: "PUT".to_owned(),
        path: path(ask.key()).as_bytes().clone(),
        time: clock.nanos(),
        ..Request::default()
    };
    Some(match ask {
        V2Ask::Set {
            value, ttl_secs, ..
        } => Request {
            val: Bytes::copy_from_slice(value.as_bytes()),
            expiration: ttl_secs.map_or(0, |ttl| clock.after_seconds(ttl).nanos()),
            ..put
        },
        V2Ask::Swap { value, .. } => Request {
            val: Bytes::copy_from_slice(value.as_bytes()),
            prev_index: seen,
            ..put
        },
        V2Ask::Delete { .. } => Request {
            method: "DELETE".to_owned(),
            ..put
        },
        V2Ask::Get { .. } => return None,
    })
}

/// All events, from the history.
fn happened(store: &cairn_mvcc::Store) -> Result<Vec<Change>, Violation> {
    let everything = Watch {
        path: NodePath::parse(ALL).unwrap_or(NodePath::ROOT),
        recursive: true,
        stream: true,
    };
    let mut found: Vec<Change> = Vec::new();
    let mut from = Revision::FIRST;
    loop {
        match cairn_v2::past(store, &everything, from) {
            Ok(Past::Found(change)) => {
                let next = Revision::new(change.node.modified).map(Revision::next);
                from = next.unwrap_or(from);
                found.push(*change);
            }
            Ok(Past::NothingBefore(next)) if next <= store.current() => from = next,
            Ok(Past::NothingBefore(_)) => return Ok(found),
            Ok(Past::Cleared(first)) => {
                return Err(broken(&format!("history begins at {first}")));
            }
            Err(error) => return Err(broken(&error.to_string())),
        }
    }
}

/// The state after an event, which must follow from the one before.
fn follow(mut state: State, change: &Change) -> Result<State, Violation> {
    let path = &change.node.path;
    if change.prev.as_ref() != state.get(path) {
        return Err(broken(&format!(
            "{change:?} comes after {:?}",
            state.get(path)
        )));
    }
    let ended = change.prev.as_ref().and_then(|prev| prev.expiration);
    let too_early = ended.is_none_or(|ended| ended > change.at);
    if change.action == Action::Expire && too_early {
        return Err(broken(&format!("{change:?} is too early")));
    }
    match change.action {
        Action::Delete | Action::Expire => state.remove(path),
        _ => state.insert(path.clone(), change.node.clone()),
    };
    Ok(state)
}

/// What a member's clock shows.
pub(super) const fn wall_clock(now: Time, behind_millis: u64) -> Timestamp {
    let nanos = EPOCH_NANOS + now.0;
    Timestamp::from_nanos(nanos.saturating_sub(behind_millis * MILLI).cast_signed())
}

fn broken(what: &str) -> Violation {
    Violation(format!("v2: {what}"))
}
