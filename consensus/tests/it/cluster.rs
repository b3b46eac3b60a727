//! A cluster as it really runs, from one seed: drivers apart from their logs, disks that take their
//! time, and a network that delays, loses, doubles and reorders.
//!
//! Checked at every step: one leader a term; what one member was handed, all are handed, in the
//! same place; a read waits for whatever anybody had been handed when it was asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use cairn_consensus::disk::{Disk, FaultDisk, Survival};
use cairn_consensus::wal::WalError;
use cairn_consensus::{
    CompactionPolicy, ConfChange, ConfChangeKind, ConfState, Driver, Entry, EntryKind, LogIndex,
    LogWork, Node, NodeError, NodeOptions, Output, ReadContext, Role, SnapshotPoint, Term,
};
use cairn_proto::raftpb;

use crate::application::{first_members, identity, member, short_segments};

/// The SplitMix64 generator.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// An application's data: everything it was handed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Data {
    pub(crate) entries: Vec<Bytes>,
    pub(crate) applied: LogIndex,
    pub(crate) term: Term,
    pub(crate) conf_state: ConfState,
    removed: BTreeSet<u64>,
}

impl Data {
    /// The rules of an application: what it lets happen to the group.
    fn accepts(&self, change: &ConfChange) -> bool {
        let (voters, learners) = (&self.conf_state.voters, &self.conf_state.learners);
        let (votes, learns) = (
            voters.contains(&change.member),
            learners.contains(&change.member),
        );
        match change.kind {
            ConfChangeKind::AddVoter => !votes && !self.removed.contains(&change.member.get()),
            ConfChangeKind::AddLearner => {
                !votes && !learns && !self.removed.contains(&change.member.get())
            }
            ConfChangeKind::Remove => learns || (votes && voters.len() > 1),
            ConfChangeKind::Update => true,
        }
    }

    fn apply(&mut self, change: &ConfChange) {
        let state = &mut self.conf_state;
        state.learners.retain(|id| *id != change.member);
        match change.kind {
            ConfChangeKind::AddVoter => state.voters.push(change.member),
            ConfChangeKind::AddLearner => state.learners.push(change.member),
            ConfChangeKind::Remove => {
                state.voters.retain(|id| *id != change.member);
                self.removed.insert(change.member.get());
            }
            ConfChangeKind::Update => {}
        }
        state.voters.sort_unstable();
        state.learners.sort_unstable();
    }

    fn point(&self) -> SnapshotPoint {
        SnapshotPoint {
            index: self.applied,
            term: self.term,
            conf_state: self.conf_state.clone(),
        }
    }
}

/// The pace of a good clock.
pub(crate) const PACE: u64 = 4;

pub(crate) struct Machine {
    pub(crate) disk: FaultDisk,
    pub(crate) running: Option<Running>,
    /// What of its application survives a crash.
    pub(crate) durable: Data,
    /// Snapshots that it has received, and not thrown away; they survive too.
    files: BTreeMap<LogIndex, Data>,
    /// Nothing happens on it until then.
    pub(crate) paused_until: u64,
    /// Its disk does nothing until then.
    pub(crate) stalled_until: u64,
    /// How fast its clock goes; that of a good clock is `PACE`.
    pub(crate) pace: u64,
    /// What has passed of its next tick.
    clock: u64,
    lives: u64,
}

pub(crate) struct Running {
    pub(crate) node: Node,
    queue: VecDeque<LogWork>,
    pub(crate) data: Data,
    /// Changes of the group that are still to be answered.
    answers: VecDeque<(LogIndex, ConfChange, bool)>,
    /// Copies of its data that it may send.
    copies: BTreeMap<LogIndex, Data>,
    reads_asked: u64,
    asked: BTreeMap<ReadContext, LogIndex>,
    pub(crate) reads_answered: u64,
    pub(crate) transfers_failed: u64,
}

/// A message under way; a snapshot's data travels with it.
struct Parcel {
    due: u64,
    message: raftpb::Message,
    data: Option<Data>,
}

/// How the network treats a message, each once in so many; 0 is never.
#[derive(Clone, Copy, Default)]
pub(crate) struct Weather {
    pub(crate) loses: u64,
    pub(crate) doubles: u64,
    pub(crate) delays: u64,
    /// How long a write takes at most, beyond the step in which it was given.
    pub(crate) disk_steps_max: u64,
}

pub(crate) struct Cluster {
    pub(crate) chance: Chance,
    pub(crate) machines: BTreeMap<u64, Machine>,
    network: Vec<Parcel>,
    /// One-way links that carry nothing.
    pub(crate) cut: BTreeSet<(u64, u64)>,
    pub(crate) weather: Weather,
    pub(crate) now: u64,
    pub(crate) handed_out: BTreeMap<LogIndex, (Term, EntryKind)>,
    leaders: BTreeMap<Term, u64>,
    pub(crate) snapshots_installed: u64,
    pub(crate) policy: CompactionPolicy,
    pub(crate) messages_sent: u64,
    /// A kind of message that never arrives.
    pub(crate) dropped: Option<raftpb::MessageType>,
    /// Whether members crash when they are to install a snapshot.
    pub(crate) crash_at_install: bool,
}

impl Cluster {
    pub(crate) fn new(seed: u64, ids: &[u64]) -> Self {
        let mut cluster = Self {
            chance: Chance::new(seed),
            machines: BTreeMap::new(),
            network: Vec::new(),
            cut: BTreeSet::new(),
            weather: Weather::default(),
            now: 0,
            handed_out: BTreeMap::new(),
            leaders: BTreeMap::new(),
            snapshots_installed: 0,
            policy: CompactionPolicy {
                catchup_entries: 8,
                ..CompactionPolicy::default()
            },
            messages_sent: 0,
            dropped: None,
            crash_at_install: false,
        };
        for id in ids {
            cluster.add(*id, ids);
        }
        cluster
    }

    /// Adds a machine whose log begins with the members `first`.
    pub(crate) fn add(&mut self, id: u64, first: &[u64]) {
        let disk = FaultDisk::new(id ^ self.chance.below(u64::MAX));
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let members = first_members(first);
        let options = NodeOptions {
            wal: short_segments(),
            ..NodeOptions::default()
        };
        Node::create(shared, identity(id), &members, &options).unwrap();
        let machine = Machine {
            disk,
            running: None,
            durable: Data::default(),
            files: BTreeMap::new(),
            paused_until: 0,
            stalled_until: 0,
            pace: PACE,
            clock: 0,
            lives: 0,
        };
        self.machines.insert(id, machine);
        self.start(id);
    }

    pub(crate) fn start(&mut self, id: u64) {
        let machine = self.machines.get_mut(&id).unwrap();
        machine.lives += 1;
        let node = loop {
            let options = NodeOptions {
                wal: short_segments(),
                applied: machine.durable.applied,
                conf_state: machine.durable.conf_state.clone(),
                seed: machine.lives,
                ..NodeOptions::default()
            };
            match Node::open(Arc::new(machine.disk.clone()), &options) {
                Ok(node) => break node,
                Err(NodeError::SnapshotNotInstalled { point, .. }) => {
                    let data = &machine.files[&point.index];
                    assert_eq!(data.point(), *point, "the snapshot that was received");
                    machine.durable = data.clone();
                }
                Err(error) => panic!("member {id} does not start: {error}"),
            }
        };
        machine.running = Some(Running {
            node,
            queue: VecDeque::new(),
            data: machine.durable.clone(),
            answers: VecDeque::new(),
            copies: BTreeMap::new(),
            reads_asked: machine.lives << 32,
            asked: BTreeMap::new(),
            reads_answered: 0,
            transfers_failed: 0,
        });
    }

    pub(crate) fn crash(&mut self, id: u64) {
        let machine = self.machines.get_mut(&id).unwrap();
        machine.running = None;
        machine.disk.crash(Survival::Random);
    }

    pub(crate) fn running(&mut self, id: u64) -> Option<&mut Running> {
        self.machines.get_mut(&id)?.running.as_mut()
    }

    pub(crate) fn driver(&mut self, id: u64) -> &mut Driver {
        self.running(id).unwrap().node.driver()
    }

    pub(crate) fn data(&self, id: u64) -> &Data {
        &self.machines[&id].running.as_ref().unwrap().data
    }

    /// Lets a tick pass everywhere, and then whatever can happen in four steps.
    pub(crate) fn tick(&mut self) {
        let ids: Vec<_> = self.machines.keys().copied().collect();
        for id in &ids {
            if !self.is_awake(*id) {
                continue;
            }
            let machine = self.machines.get_mut(id).unwrap();
            machine.clock += machine.pace;
            let ticks = machine.clock / PACE;
            machine.clock %= PACE;
            (0..ticks).for_each(|_| self.driver(*id).tick());
        }
        for _ in 0..4 {
            self.step();
        }
    }

    pub(crate) fn ticks(&mut self, count: usize) {
        (0..count).for_each(|_| self.tick());
    }

    fn is_awake(&self, id: u64) -> bool {
        let machine = &self.machines[&id];
        machine.running.is_some() && machine.paused_until <= self.now
    }

    /// A quarter of a tick: messages arrive, everybody works, disks write.
    pub(crate) fn step(&mut self) {
        self.now += 1;
        let (due, later) = std::mem::take(&mut self.network)
            .into_iter()
            .partition(|parcel: &Parcel| parcel.due <= self.now);
        self.network = later;
        for parcel in due {
            self.deliver(parcel);
        }
        let ids: Vec<_> = self.machines.keys().copied().collect();
        for id in ids {
            if self.is_awake(id) {
                self.answer(id);
                self.work(id);
            }
            if self.is_awake(id) {
                self.write(id);
            }
        }
    }

    fn deliver(&mut self, parcel: Parcel) {
        let Parcel { message, data, .. } = parcel;
        let [from, to] = [message.from(), message.to()];
        if self.machines.contains_key(&to) && self.machines[&to].paused_until > self.now {
            let due = self.machines[&to].paused_until;
            self.network.push(Parcel { due, message, data });
            return;
        }
        let lost = self.cut.contains(&(from, to))
            || self.dropped == Some(message.r#type())
            || self.running(to).is_none();
        if let Some(data) = data {
            if !lost {
                let files = &mut self.machines.get_mut(&to).unwrap().files;
                files.insert(data.applied, data);
            }
            if let Some(sender) = self.running(from) {
                sender.node.driver().report_snapshot(member(to), !lost);
            }
        }
        if !lost {
            let _ = self.driver(to).step(message);
        }
    }

    fn answer(&mut self, id: u64) {
        let slow = self.chance.one_in(3);
        let running = self.running(id).unwrap();
        while let Some((index, change, accepted)) = running.answers.pop_front() {
            if slow {
                running.answers.push_front((index, change, accepted));
                return;
            }
            // A snapshot may have overtaken it.
            let _ = match accepted {
                true => running
                    .node
                    .driver()
                    .apply_conf_change(index, &change)
                    .map(|_state| ()),
                false => running.node.driver().reject_conf_change(index),
            };
        }
    }

    /// Begins all there is to begin.
    fn work(&mut self, id: u64) {
        for _ in 0..100 {
            let Some(running) = self.running(id) else {
                return;
            };
            if !running.node.driver().has_work() {
                return;
            }
            let (output, work) = running.node.driver().begin().unwrap();
            if !work.is_empty() {
                running.queue.push_back(work);
            }
            self.take(id, output);
        }
        panic!("member {id} is never done");
    }

    /// Lets the disk do what waits, or the first part of it.
    fn write(&mut self, id: u64) {
        let machine = &self.machines[&id];
        let waiting = machine
            .running
            .as_ref()
            .map_or(0, |running| running.queue.len());
        if waiting == 0 || machine.stalled_until > self.now {
            return;
        }
        if self.weather.disk_steps_max > 0 && self.chance.one_in(2) {
            let stall = self.chance.below(self.weather.disk_steps_max);
            self.machines.get_mut(&id).unwrap().stalled_until = self.now + stall;
            return;
        }
        let count = 1 + self.chance.below(waiting as u64);
        let running = self.running(id).unwrap();
        let mut work = LogWork::default();
        for later in running.queue.drain(..usize::try_from(count).unwrap()) {
            work.join(later);
        }
        let done = match running.node.log().perform(work) {
            Ok(done) => done,
            // Its power was cut.
            Err(WalError::Io { .. }) => return self.crash(id),
            Err(error) => panic!("the log of member {id} refuses its work: {error}"),
        };
        let output = running.node.driver().done(done);
        self.take(id, output);
        self.work(id);
    }

    /// Does what an output asks for.
    fn take(&mut self, id: u64, output: Output) {
        if let Some(leadership) = output.leadership
            && leadership.role == Role::Leader
        {
            let first = *self.leaders.entry(leadership.term).or_insert(id);
            assert_eq!(first, id, "two leaders in term {}", leadership.term);
        }
        for message in output.messages {
            self.send(id, &message);
        }
        if let Some(point) = output.snapshot {
            if self.crash_at_install {
                self.crash(id);
                return;
            }
            self.install(id, &point);
        }
        for entry in output.committed {
            self.apply(id, entry);
        }
        let running = self.running(id).unwrap();
        running.transfers_failed += u64::from(output.transfer_failed.is_some());
        for read in output.reads {
            // A message that comes twice is answered twice.
            let Some(least) = running.asked.remove(&read.context) else {
                continue;
            };
            assert!(read.index >= least, "a stale read at member {id}");
            running.reads_answered += 1;
        }
        if !output.snapshot_wanted_by.is_empty() && running.data.applied > LogIndex::ZERO {
            running
                .copies
                .insert(running.data.applied, running.data.clone());
            running.node.driver().offer_snapshot(&running.data.point());
        }
    }

    fn install(&mut self, id: u64, point: &SnapshotPoint) {
        self.snapshots_installed += 1;
        let machine = self.machines.get_mut(&id).unwrap();
        let data = machine.files[&point.index].clone();
        assert_eq!(data.point(), *point, "the snapshot that was received");
        let running = machine.running.as_mut().unwrap();
        assert!(data.applied > running.data.applied, "a snapshot goes on");
        running.data = data.clone();
        machine.durable = data;
        machine.files.retain(|index, _| *index > point.index);
    }

    fn apply(&mut self, id: u64, entry: Entry) {
        let known = self
            .handed_out
            .entry(entry.index)
            .or_insert_with(|| (entry.term, entry.kind.clone()));
        assert_eq!(
            *known,
            (entry.term, entry.kind.clone()),
            "entry {} is the same for all",
            entry.index
        );
        let running = self.running(id).unwrap();
        let data = &mut running.data;
        assert_eq!(entry.index, data.applied.next(), "no gap, no repeat");
        data.applied = entry.index;
        data.term = entry.term;
        match entry.kind {
            EntryKind::Empty => {}
            EntryKind::Normal(bytes) => data.entries.push(bytes),
            EntryKind::ConfChange(change) => {
                let accepted = data.accepts(&change);
                if accepted {
                    data.apply(&change);
                }
                running
                    .answers
                    .push_back((entry.index, change.clone(), accepted));
                let joins = matches!(
                    change.kind,
                    ConfChangeKind::AddVoter | ConfChangeKind::AddLearner
                );
                if accepted && joins && !self.machines.contains_key(&change.member.get()) {
                    self.add(change.member.get(), &[]);
                }
            }
        }
    }

    fn send(&mut self, from: u64, message: &raftpb::Message) {
        self.messages_sent += 1;
        let mut data = None;
        if message.r#type() == raftpb::MessageType::MsgSnap {
            let index = message.snapshot.clone().unwrap().metadata.unwrap().index();
            let copies = &self.running(from).unwrap().copies;
            data = Some(copies[&LogIndex::new(index)].clone());
        }
        let mut copies = 1;
        let weather = self.weather;
        if weather.loses > 0 && self.chance.one_in(weather.loses) {
            // The sender is told now and then.
            if data.is_some() || self.chance.one_in(2) {
                let to = member(message.to());
                let driver = self.driver(from);
                driver.report_unreachable(to);
                driver.report_snapshot(to, false);
            }
            return;
        }
        if weather.doubles > 0 && self.chance.one_in(weather.doubles) {
            copies = 2;
        }
        for _ in 0..copies {
            let late = weather.delays > 0 && self.chance.one_in(weather.delays);
            let delay = if late { self.chance.below(60) } else { 0 };
            self.network.push(Parcel {
                due: self.now + 1 + delay,
                message: message.clone(),
                data: data.clone(),
            });
        }
    }

    /// Asks for a read at a member.
    pub(crate) fn read(&mut self, id: u64) -> bool {
        let least = self.handed_out.last_key_value();
        let least = least.map_or(LogIndex::ZERO, |(index, _)| *index);
        let running = self.running(id).unwrap();
        running.reads_asked += 1;
        let context = ReadContext(running.reads_asked);
        let asked = running.node.driver().read_index(context).is_ok();
        if asked {
            running.asked.insert(context, least);
        }
        asked
    }

    pub(crate) fn propose(&mut self, id: u64, data: &str) -> bool {
        let data = Bytes::copy_from_slice(data.as_bytes());
        self.driver(id).propose(data).is_ok()
    }

    pub(crate) fn change(&mut self, id: u64, kind: ConfChangeKind, of: u64) -> bool {
        let change = ConfChange {
            id: 9,
            kind,
            member: member(of),
            context: Bytes::from_static(b"{}"),
        };
        self.driver(id).propose_conf_change(&change).is_ok()
    }

    /// How many snapshots a member has received that it has not installed.
    pub(crate) fn snapshots_waiting(&self, id: u64) -> usize {
        self.machines[&id].files.len()
    }

    /// The application makes durable what it has, and the log is cut.
    pub(crate) fn keep(&mut self, id: u64) {
        let policy = self.policy;
        let machine = self.machines.get_mut(&id).unwrap();
        let running = machine.running.as_mut().unwrap();
        machine.durable = running.data.clone();
        running
            .node
            .driver()
            .compact(machine.durable.applied, &policy);
    }

    /// Those who say that they lead.
    pub(crate) fn leaders(&self) -> Vec<u64> {
        let leads = |machine: &Machine| {
            let running = machine.running.as_ref();
            running.is_some_and(|r| r.node.status().leadership.role == Role::Leader)
        };
        let leaders = self.machines.iter().filter(|(_, machine)| leads(machine));
        leaders.map(|(id, _)| *id).collect()
    }

    /// Waits for somebody to lead whom all but `but` follow.
    pub(crate) fn elect_without(&mut self, but: &[u64]) -> u64 {
        for _ in 0..300 {
            let leaders = self.leaders();
            let leaders: Vec<_> = leaders.iter().filter(|id| !but.contains(id)).collect();
            if let [leader] = leaders.as_slice() {
                return **leader;
            }
            self.tick();
        }
        panic!("nobody was elected: {:?}", self.positions());
    }

    /// Somebody else than `id`.
    pub(crate) fn other(&self, id: u64) -> u64 {
        let mut ids = self.machines.keys().copied();
        ids.find(|other| *other != id).unwrap()
    }

    pub(crate) fn elect(&mut self) -> u64 {
        self.elect_without(&[])
    }

    /// Ends all trouble.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.dropped = None;
        self.crash_at_install = false;
        self.weather = Weather::default();
        let ids: Vec<_> = self.machines.keys().copied().collect();
        for id in ids {
            let machine = self.machines.get_mut(&id).unwrap();
            machine.paused_until = 0;
            machine.stalled_until = 0;
            machine.pace = PACE;
            if machine.running.is_none() {
                self.start(id);
            }
        }
    }

    /// Waits until a proposal has reached every member that has not been removed, and checks that
    /// they have the same.
    pub(crate) fn converge(&mut self) -> Vec<Bytes> {
        for round in 0..60 {
            let leader = self.elect();
            if round % 10 == 0 {
                self.propose(leader, &format!("last {round}"));
            }
            self.ticks(10);
            let data = self.data(leader).clone();
            let state = &data.conf_state;
            let mut members = state.voters.iter().chain(&state.learners);
            let agreed = members.all(|id| {
                let other = self.data(id.get());
                other.applied == data.applied && other.entries == data.entries
            });
            if agreed && data.entries.last().is_some_and(|e| e.starts_with(b"last")) {
                return data.entries;
            }
        }
        panic!("no agreement: {:?}", self.positions());
    }

    fn positions(&self) -> Vec<(u64, String)> {
        let position = |running: &Running| format!("{:?}", running.node.status());
        let all = self.machines.iter();
        all.map(|(id, m)| (*id, m.running.as_ref().map_or(String::new(), position)))
            .collect()
    }
}
