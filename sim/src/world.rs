//! A simulated world: members, network, clients and watchers, and one queue of what happens next.
//!
//! Everything happens at a moment of simulated time and takes none; what takes time is an event at
//! its beginning and another at its end. Two events of one moment happen in the order in which they
//! were planned. So a schedule is played to the same end each time.

mod amnesia;
mod calls;
mod client;
mod leases;
mod loops;
mod members;
mod settle;
mod snapshots;
mod steps;
mod v2;
mod watchers;

use std::collections::BTreeMap;

use bytes::Bytes;
use cairn_consensus::{Incarnation, LogDone};
use cairn_history::{ClientId, History, IncidentKind, MemberId, OpId, Outcome, Time};
use cairn_replica::consensus::Effects;
use cairn_watch::StreamId;

use self::amnesia::Amnesia;
use self::calls::Call;
use self::client::Client;
use self::settle::Rest;
use self::v2::{V2Answer, V2Load};
use self::watchers::{Heard, Watcher};
use crate::chance::Chance;
use crate::invariants::{InvariantChecker, Violation};
use crate::member::{Loop, Member, Ticket};
use crate::network::Network;
use crate::planted::Planted;
use crate::schedule::{Leaves, Schedule};
use crate::trace::{Line, Trace};

/// Events of one run at most; a run that needs more goes round in circles.
const EVENTS_MAX: u64 = 3_000_000;

const MILLI: u64 = 1_000_000;

/// What happens next.
#[derive(Debug)]
enum Event {
    /// A step of the schedule.
    Step(usize),
    /// The end of a fault.
    Ends(Ending),
    /// All faults end.
    Heal,
    /// Is the cluster at rest?
    Look,
    /// A member starts.
    Start(MemberId),
    /// A member's tick, in one of its lives.
    Tick(MemberId, u64),
    /// A loop of a member, in one of its lives.
    Run(MemberId, u64, Loop),
    /// A round of consensus is on disk.
    Worked(MemberId, u64, Vec<Effects<Ticket, Ticket>>),
    /// What a log's loop wrote is on disk, up to a term.
    Logged(MemberId, u64, u64, LogDone),
    /// A message of a member reaches another.
    Message(MemberId, Incarnation, MemberId, Bytes),
    /// A member that was removed leaves, in one of its lives.
    Leave(MemberId, u64),
    /// A member's database reaches another one, whole or not.
    Database(Box<snapshots::Transfer>),
    /// A member learns how sending its database ended, in one of its lives.
    Sent(MemberId, u64, MemberId, bool),
    /// A client's next request, if it has one.
    Next(ClientId),
    /// A request reaches its member.
    Arrive(OpId),
    /// A question that only the leader answers is looked at where it is, unless it has gone on.
    Question(OpId, u64),
    /// An answer reaches its client.
    Reply(OpId, Outcome),
    /// A client has waited long enough.
    GiveUp(OpId),
    /// A request of the second API reaches its member.
    V2Arrive(usize),
    /// Its client knows what became of it.
    V2Reply(usize, V2Answer),
    /// A watcher looks for a member.
    Subscribe(ClientId, u64),
    /// Its request reaches the member.
    Subscribed(ClientId, u64),
    /// A member sends the next message of a stream.
    Drain(MemberId, u64, StreamId),
    /// It reaches the watcher.
    Hear(ClientId, u64, Box<Heard>),
    /// A watcher learns that its stream is lost.
    Lost(ClientId, u64),
}

/// The end of a fault.
#[derive(Clone, Debug)]
enum Ending {
    Cuts(Vec<(MemberId, MemberId)>),
    Swap,
    Weather,
    Full(MemberId),
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Played {
    /// What clients saw.
    pub(crate) history: History,
    /// What was broken, if anything.
    pub(crate) violation: Option<Violation>,
    /// A number that stands for all that happened.
    pub(crate) digest: u64,
    /// All that happened, if it was to be kept.
    pub(crate) lines: Vec<Line>,
    /// Events that happened.
    pub(crate) events: u64,
}

/// The world.
pub(crate) struct World<'a> {
    schedule: &'a Schedule,
    planted: Option<Planted>,
    now: Time,
    queue: BTreeMap<(Time, u64), Event>,
    planned: u64,
    happened: u64,
    trace: Trace,
    history: History,
    invariants: InvariantChecker,
    members: BTreeMap<MemberId, Member>,
    network: Network,
    amnesia: Amnesia,
    clients: BTreeMap<ClientId, Client>,
    calls: BTreeMap<OpId, Call>,
    watchers: BTreeMap<ClientId, Watcher>,
    v2: V2Load,
    next_stream: u64,
    /// The newest revision that any client has seen.
    newest: i64,
    /// Calls that compared hashes.
    comparers: u32,
    /// A rule that was found broken where nothing can be returned.
    broken: Option<Violation>,
    rest: Rest,
    disk_chance: Chance,
    loop_chance: Chance,
    client_chance: Chance,
    start_chance: Chance,
}

impl<'a> World<'a> {
    /// Plays a schedule to its end, or to the first violation.
    pub(crate) fn play(
        schedule: &'a Schedule,
        planted: Option<Planted>,
        keep_lines: bool,
    ) -> Played {
        let seed = schedule.cluster.seed;
        let mut world = Self {
            schedule,
            planted,
            now: Time(0),
            queue: BTreeMap::new(),
            planned: 0,
            happened: 0,
            trace: Trace::new(keep_lines),
            history: History::new(),
            invariants: InvariantChecker::default(),
            members: BTreeMap::new(),
            network: Network::new(seed),
            amnesia: Amnesia::of(schedule),
            clients: BTreeMap::new(),
            calls: BTreeMap::new(),
            watchers: BTreeMap::new(),
            v2: V2Load::default(),
            next_stream: 0,
            newest: 1,
            comparers: 0,
            broken: None,
            rest: Rest::default(),
            disk_chance: Chance::new(seed, "disk"),
            loop_chance: Chance::new(seed, "loops"),
            client_chance: Chance::new(seed, "clients"),
            start_chance: Chance::new(seed, "starts"),
        };
        let violation = world.run().err();
        if let Some(violation) = &violation {
            world
                .trace
                .note(world.now, format_args!("BROKEN {violation}"));
        }
        Played {
            history: world.history,
            violation,
            digest: world.trace.digest(),
            lines: world.trace.into_lines(),
            events: world.happened,
        }
    }

    fn run(&mut self) -> Result<(), Violation> {
        for number in 1..=self.schedule.cluster.members {
            let id = MemberId(number);
            let member =
                Member::create(id, self.schedule.cluster.members, self.start_chance.next());
            let member =
                member.map_err(|error| Violation(format!("{id} has no log: {error:#}")))?;
            self.members.insert(id, member);
            self.plan(0, Event::Start(id));
        }
        for (number, step) in self.schedule.steps.iter().enumerate() {
            self.plan_at(Time(step.at.0 * MILLI), Event::Step(number));
        }
        self.plan_at(Time(self.schedule.cluster.ends.0 * MILLI), Event::Heal);
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            self.happened += 1;
            if self.happened > EVENTS_MAX {
                return Err(Violation("the run does not end".to_owned()));
            }
            let happened = self.happen(event);
            if self.rebuild_damaged() {
                // Whoever found it has ended, and what came of it with him.
                self.broken = None;
                continue;
            }
            happened?;
            if let Some(broken) = self.broken.take() {
                return Err(broken);
            }
            if self.rest.is_over() {
                break;
            }
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Step(number) => self.step(number),
            Event::Ends(ending) => self.end_fault(ending),
            Event::Heal => self.heal(),
            Event::Look => return self.look(),
            Event::Start(member) => return self.start(member),
            Event::Tick(member, life) => self.tick(member, life),
            Event::Run(member, life, which) => return self.run_loop(member, life, which),
            Event::Worked(member, life, rounds) => self.worked(member, life, rounds),
            Event::Logged(member, life, term, done) => {
                return self.logged(member, life, term, done);
            }
            Event::Message(from, incarnation, to, bytes) => {
                self.message(from, incarnation, to, bytes);
            }
            Event::Leave(member, life) => self.leave_if_known(member, life),
            Event::Database(transfer) => self.receive(&transfer),
            Event::Sent(from, life, to, whole) => self.sent(from, life, to, whole),
            Event::Next(client) => self.next_ask(client),
            Event::Arrive(op) => self.arrive(op),
            Event::Question(op, step) => self.question(op, step),
            Event::Reply(op, outcome) => self.reply(op, outcome),
            Event::GiveUp(op) => self.give_up(op),
            Event::V2Arrive(number) => self.arrive_v2(number),
            Event::V2Reply(number, answer) => self.reply_v2(number, answer),
            Event::Subscribe(client, stream) => self.subscribe(client, stream),
            Event::Subscribed(client, stream) => self.subscribed(client, stream),
            Event::Drain(member, life, stream) => self.drain(member, life, stream),
            Event::Hear(client, stream, heard) => self.hear(client, stream, &heard),
            Event::Lost(client, stream) => self.lost(client, stream),
        }
        Ok(())
    }

    /// Plans an event for so many nanoseconds from now.
    fn plan(&mut self, after: u64, event: Event) {
        self.plan_at(Time(self.now.0 + after), event);
    }

    fn plan_at(&mut self, at: Time, event: Event) {
        self.planned += 1;
        self.queue.insert((at.max(self.now), self.planned), event);
    }

    /// Wakes a loop of a member, if it runs: it comes round when it is done with what it does.
    fn wake(&mut self, id: MemberId, which: Loop) {
        let after = self.loop_chance.between(1_000, 40_000);
        self.wake_after(id, which, after);
    }

    fn wake_after(&mut self, id: MemberId, which: Loop, after: u64) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let (lives, paused_until) = (member.lives, member.paused_until);
        let Some(life) = &mut member.life else {
            return;
        };
        let free_at = life.free_at.get(&which).copied().unwrap_or_default();
        // Whose loops were held up together go on in any order.
        let at = Time(self.now.max(free_at).max(paused_until).0 + after);
        if life.woken.get(&which).is_some_and(|planned| *planned <= at) {
            return;
        }
        life.woken.insert(which, at);
        self.plan_at(at, Event::Run(id, lives, which));
    }

    /// The member that leads in the highest term.
    fn leader(&self) -> Option<MemberId> {
        let leads = |member: &Member| {
            let status = member.life.as_ref()?.consensus.status();
            let leads = status.leadership.role == cairn_consensus::Role::Leader;
            leads.then_some((status.leadership.term, member.id))
        };
        self.members
            .values()
            .filter_map(leads)
            .max()
            .map(|(_, id)| id)
    }

    fn start(&mut self, id: MemberId) -> Result<(), Violation> {
        let seed = self.start_chance.next();
        let (now, planted) = (self.now, self.planted);
        let Some(member) = self
            .members
            .get_mut(&id)
            .filter(|it| it.life.is_none() && !it.has_left)
        else {
            return Ok(());
        };
        if self.amnesia.needs_copies {
            member.copy();
        }
        if let Err(error) = member.start(now, seed, planted) {
            // What the schedule did to its disk may have met the start itself.
            if is_of_the_disk(&error) && !self.rest.has_begun() {
                self.trace
                    .note(now, format_args!("{id} cannot start: {error:#}"));
                self.stop(id, Leaves::Some, 200 * MILLI);
                return Ok(());
            }
            return Err(Violation(format!("{id} cannot start: {error:#}")));
        }
        let (lives, tick) = (member.lives, member.tick);
        let applied = member.life.as_ref().map(|it| it.applier.applied().get());
        self.trace.note(
            now,
            format_args!("{id} starts, applied {}", applied.unwrap_or_default()),
        );
        self.history.incident(now, Some(id), IncidentKind::Started);
        let first_tick = self.start_chance.below(tick);
        self.plan(first_tick, Event::Tick(id, lives));
        for which in [Loop::Consensus, Loop::House, Loop::Leases] {
            self.wake(id, which);
        }
        self.wake_after(id, Loop::Commit, 100 * MILLI);
        Ok(())
    }

    /// Ends members that have read a damaged row, as the server's process ends itself, and gives them a
    /// database that is whole, as `cairn rebuild` does; whether there were any.
    fn rebuild_damaged(&mut self) -> bool {
        const REBUILT_AFTER: u64 = 500 * MILLI;

        let members = self.members.values();
        let found: Vec<MemberId> = members
            .filter(|member| member.engine.has_found_damage())
            .map(|member| member.id)
            .collect();
        for id in &found {
            self.trace.note(
                self.now,
                format_args!("{id} stops: its database is damaged"),
            );
            self.stop(*id, Leaves::Everything, REBUILT_AFTER);
            if let Some(member) = self.members.get(id) {
                member.engine.mend();
            }
        }
        !found.is_empty()
    }

    /// Ends a member's life, and starts it again later.
    fn stop(&mut self, id: MemberId, leaves: Leaves, down: u64) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let was_up = member.life.is_some();
        let outcome = member.crash(leaves);
        self.trace.note(
            self.now,
            format_args!(
                "{id} crashes: {} of {} writes survive",
                outcome.survived, outcome.pending
            ),
        );
        if was_up {
            self.history
                .incident(self.now, Some(id), IncidentKind::Stopped);
        }
        self.hang_up(id);
        self.plan(down, Event::Start(id));
    }
}

fn is_of_the_disk(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<std::io::Error>().is_some())
}
