//! Several members in one process, joined by a network of queues.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cairn_consensus::disk::{FaultDisk, Survival};
use cairn_consensus::{
    CompactionPolicy, ConfChange, ConfChangeKind, MemberId, Node, Output, ReadContext, Role,
    SnapshotPoint,
};
use cairn_proto::raftpb;

use crate::application::{Application, first_members, identity, member, short_segments};

struct Member {
    disk: FaultDisk,
    node: Option<Node>,
    application: Application,
    reads: Vec<ReadContext>,
}

/// A cluster; messages arrive in order, except to and from members that are cut off.
struct Group {
    members: BTreeMap<MemberId, Member>,
    network: Vec<raftpb::Message>,
    cut_off: Vec<MemberId>,
}

impl Group {
    fn new(ids: &[u64]) -> Self {
        let mut group = Self {
            members: BTreeMap::new(),
            network: Vec::new(),
            cut_off: Vec::new(),
        };
        for id in ids {
            group.add(*id, ids);
        }
        group
    }

    fn add(&mut self, id: u64, first: &[u64]) {
        let disk = FaultDisk::new(id);
        let application = Application::default();
        let options = application.options(short_segments());
        let members = first_members(first);
        Node::create(Arc::new(disk.clone()), identity(id), &members, &options).unwrap();
        let member_of = Member {
            disk,
            node: None,
            application,
            reads: Vec::new(),
        };
        self.members.insert(member(id), member_of);
        self.start(id);
    }

    fn start(&mut self, id: u64) {
        let member = self.members.get_mut(&member(id)).unwrap();
        let options = member.application.options(short_segments());
        member.node = Some(Node::open(Arc::new(member.disk.clone()), &options).unwrap());
    }

    fn crash(&mut self, id: u64) {
        let member = self.members.get_mut(&member(id)).unwrap();
        member.node = None;
        member.disk.crash(Survival::Random);
    }

    fn node(&mut self, id: u64) -> &mut Node {
        self.members
            .get_mut(&member(id))
            .unwrap()
            .node
            .as_mut()
            .unwrap()
    }

    fn application(&self, id: u64) -> &Application {
        &self.members[&member(id)].application
    }

    /// Turns and delivers until nobody has anything to do.
    fn settle(&mut self) {
        loop {
            let mut busy = !self.network.is_empty();
            for message in std::mem::take(&mut self.network) {
                self.deliver(message);
            }
            for member in self.members.values_mut() {
                let Some(node) = &mut member.node else {
                    continue;
                };
                while node.driver().has_work() {
                    busy = true;
                    let output = node.work().unwrap();
                    member.application.apply(node, &output);
                    offer_snapshot(node, &output, &member.application);
                    member
                        .reads
                        .extend(output.reads.iter().map(|read| read.context));
                    self.network.extend(output.messages);
                }
            }
            if !busy {
                return;
            }
        }
    }

    fn deliver(&mut self, message: raftpb::Message) {
        let [from, to] = [message.from(), message.to()].map(member);
        if self.cut_off.contains(&from) || self.cut_off.contains(&to) {
            return;
        }
        let is_snapshot = message.r#type() == raftpb::MessageType::MsgSnap;
        let Some(receiver) = self.members.get_mut(&to) else {
            return;
        };
        let Some(node) = &mut receiver.node else {
            return;
        };
        let _ = node.driver().step(message);
        // The snapshot's data travels beside its message.
        if is_snapshot {
            let entries = self.members[&from].application.entries.clone();
            if let Some(receiver) = self.members.get_mut(&to) {
                receiver.application.entries = entries;
            }
            if let Some(sender) = self.members.get_mut(&from).and_then(|m| m.node.as_mut()) {
                sender.driver().report_snapshot(to, true);
            }
        }
    }

    fn ticks(&mut self, count: usize) {
        for _ in 0..count {
            for member in self.members.values_mut() {
                if let Some(node) = &mut member.node {
                    node.driver().tick();
                }
            }
            self.settle();
        }
    }

    fn leaders(&self) -> Vec<MemberId> {
        let leads = |member: &&MemberId| {
            let node = self.members[*member].node.as_ref();
            node.is_some_and(|node| node.status().leadership.role == Role::Leader)
        };
        self.members.keys().filter(leads).copied().collect()
    }

    fn elect(&mut self) -> u64 {
        for _ in 0..200 {
            let leaders = self.leaders();
            let reachable: Vec<_> = leaders
                .iter()
                .filter(|leader| !self.cut_off.contains(leader))
                .collect();
            if let [leader] = reachable.as_slice() {
                return leader.get();
            }
            self.ticks(1);
        }
        panic!("nobody was elected");
    }

    fn propose(&mut self, id: u64, data: &str) {
        self.node(id)
            .driver()
            .propose(Bytes::copy_from_slice(data.as_bytes()))
            .unwrap();
        self.settle();
    }

    fn change(&mut self, id: u64, kind: ConfChangeKind, of: u64) {
        let change = ConfChange {
            id: 9,
            kind,
            member: member(of),
            context: Bytes::from_static(b"{}"),
        };
        self.node(id).driver().propose_conf_change(&change).unwrap();
        self.settle();
    }

    /// What the members have applied, and whether they agree.
    fn agreed(&self) -> Vec<String> {
        let mut histories = self
            .members
            .values()
            .filter(|m| m.node.is_some())
            .map(history);
        let first = histories.next().unwrap();
        assert!(histories.all(|other| other == first), "members disagree");
        first
    }
}

fn offer_snapshot(node: &mut Node, output: &Output, application: &Application) {
    if output.snapshot_wanted_by.is_empty() {
        return;
    }
    node.driver().offer_snapshot(&SnapshotPoint {
        index: application.applied,
        term: application.term,
        conf_state: application.conf_state.clone(),
    });
}

fn history(member: &Member) -> Vec<String> {
    let entries = member.application.entries.iter();
    entries
        .map(|(_, data)| String::from_utf8(data.to_vec()).unwrap())
        .collect()
}

#[test]
fn three_members_elect_one_leader_and_commit_the_same() {
    let mut group = Group::new(&[1, 2, 3]);
    let leader = group.elect();
    group.propose(leader, "a");
    group.propose(leader, "b");
    let follower = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    group.propose(follower, "c");
    assert_eq!(group.agreed(), ["a", "b", "c"]);
    assert_eq!(group.node(leader).driver().progress().len(), 2);
}

#[test]
fn the_same_seeds_give_the_same_leader_in_the_same_term() {
    let run = || {
        let mut group = Group::new(&[1, 2, 3]);
        let leader = group.elect();
        (leader, group.node(leader).status())
    };
    assert_eq!(run(), run());
}

#[test]
fn a_leader_that_is_cut_off_steps_down_and_its_lone_entries_are_replaced() {
    let mut group = Group::new(&[1, 2, 3]);
    let old = group.elect();
    group.propose(old, "kept");
    group.cut_off = vec![member(old)];
    group.propose(old, "lost");
    let new = group.elect();
    assert_ne!(new, old);
    group.propose(new, "newer");
    group.ticks(25);
    assert_eq!(
        group.leaders(),
        [member(new)],
        "check-quorum made the old leader step down"
    );
    group.cut_off.clear();
    group.ticks(25);
    assert_eq!(group.agreed(), ["kept", "newer"]);
    assert_eq!(
        group.leaders(),
        [member(new)],
        "pre-vote kept the newcomer from disturbing"
    );
}

#[test]
fn reads_are_answered_by_leader_and_followers() {
    let mut group = Group::new(&[1, 2, 3]);
    let leader = group.elect();
    group.propose(leader, "a");
    for id in [1, 2, 3] {
        // The same number at each member: they are told apart all the same.
        group.node(id).driver().read_index(ReadContext(5)).unwrap();
    }
    group.settle();
    for member in group.members.values() {
        assert_eq!(member.reads, [ReadContext(5)]);
    }
}

#[test]
fn leadership_is_handed_over() {
    let mut group = Group::new(&[1, 2, 3]);
    let old = group.elect();
    let new = [1, 2, 3].into_iter().find(|id| *id != old).unwrap();
    group.node(old).driver().transfer_leader(member(new));
    group.settle();
    assert_eq!(group.leaders(), [member(new)]);
    // A follower passes the wish on.
    group.node(old).driver().transfer_leader(member(old));
    group.settle();
    assert_eq!(group.leaders(), [member(old)]);
}

#[test]
fn members_come_learn_and_go() {
    let mut group = Group::new(&[1]);
    group.settle();
    group.propose(1, "alone");
    for id in [2, 3] {
        group.change(1, ConfChangeKind::AddLearner, id);
        group.add(id, &[]);
        group.ticks(3);
        assert_eq!(group.node(id).status().leadership.role, Role::Learner);
        group.change(1, ConfChangeKind::AddVoter, id);
    }
    group.ticks(3);
    group.propose(1, "three");
    assert_eq!(group.agreed(), ["alone", "three"]);
    assert_eq!(
        group.application(3).conf_state.voters,
        [1, 2, 3].map(member)
    );

    group.change(1, ConfChangeKind::Update, 2);
    group.change(1, ConfChangeKind::Remove, 1);
    group.members.remove(&member(1));
    let leader = group.elect();
    group.change(
        leader,
        ConfChangeKind::Remove,
        if leader == 2 { 3 } else { 2 },
    );
    group.members.retain(|id, _| id.get() == leader);
    group.settle();
    group.propose(leader, "alone again");
    assert_eq!(group.agreed(), ["alone", "three", "alone again"]);
}

#[test]
fn a_member_that_is_behind_the_log_gets_a_snapshot() {
    let mut group = Group::new(&[1, 2, 3]);
    let leader = group.elect();
    let behind = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    group.crash(behind);
    let policy = CompactionPolicy {
        catchup_entries: 3,
        ..CompactionPolicy::default()
    };
    for number in 0..60 {
        group.propose(leader, &format!("{number:0100}"));
    }
    let applied = group.application(leader).applied;
    let begins = group.node(leader).driver().compact(applied, &policy);
    assert_eq!(begins, applied.back(3));
    group.start(behind);
    group.ticks(10);
    assert_eq!(group.agreed().len(), 60);
    group.propose(leader, "after");
    assert_eq!(group.agreed().len(), 61);

    // What the snapshot brought is still there after a crash.
    group.crash(behind);
    group.start(behind);
    group.ticks(10);
    assert_eq!(group.agreed().len(), 61);
}

#[test]
fn a_member_that_is_behind_memory_is_served_from_the_log() {
    let mut group = Group::new(&[1, 2, 3]);
    let leader = group.elect();
    let behind = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    group.crash(behind);
    for batch in 0..80 {
        for number in 0..100 {
            let data = Bytes::from(format!("{batch} {number}"));
            group.node(leader).driver().propose(data).unwrap();
        }
        group.settle();
    }
    group.start(behind);
    group.ticks(10);
    assert_eq!(group.agreed().len(), 8000);
}

#[test]
fn members_that_crash_at_random_agree_in_the_end() {
    let mut group = Group::new(&[1, 2, 3]);
    let mut proposed = Vec::new();
    for round in 0..40_u64 {
        let leader = group.elect();
        for number in 0..3 {
            let data = format!("{round} {number}");
            group.propose(leader, &data);
            proposed.push(data);
        }
        let victim = 1 + round % 3;
        group.crash(victim);
        group.start(victim);
    }
    group.elect();
    group.ticks(20);
    assert_eq!(
        group.agreed(),
        proposed,
        "all were committed before the next crash"
    );
}
