//! What is left of a cluster, made a cluster of one.

use std::sync::Arc;

use bytes::Bytes;
use cairn_consensus::disk::{Disk, Fault, Survival};
use cairn_consensus::{ConfChangeKind, Node, NodeOptions};

use crate::application::{member, short_segments};
use crate::cluster::Cluster;

fn force(cluster: &Cluster, id: u64) -> Result<(), cairn_consensus::NodeError> {
    let machine = &cluster.machines[&id];
    let disk: Arc<dyn Disk> = Arc::new(machine.disk.clone());
    let options = NodeOptions {
        wal: short_segments(),
        applied: machine.durable.applied,
        conf_state: machine.durable.conf_state.clone(),
        ..NodeOptions::default()
    };
    Node::force_new_cluster(disk, &options, &Bytes::from_static(b"{}"))
}

/// Leaves `id` alone in the world, forces it, and lets it go on.
fn alone(cluster: &mut Cluster, id: u64) {
    cluster.crash(id);
    cluster.machines.retain(|other, _| *other == id);
    force(cluster, id).unwrap();
    force(cluster, id).unwrap();
    cluster.start(id);
    cluster.ticks(3);
    assert_eq!(cluster.leaders(), [id]);
    assert_eq!(cluster.driver(id).conf_state().voters, [member(id)]);
    assert!(cluster.driver(id).conf_state().learners.is_empty());
}

#[test]
fn one_voter_of_three_goes_on_with_all_that_it_holds() {
    let mut cluster = Cluster::new(1, &[1, 2, 3]);
    let leader = cluster.elect();
    for number in 0..9 {
        cluster.propose(leader, &number.to_string());
    }
    cluster.ticks(3);
    let mut held = cluster.data(leader).entries.clone();
    cluster.keep(leader);
    for other in (1..=3).filter(|id| *id != leader) {
        cluster.crash(other);
    }
    cluster.propose(leader, "for all it knows committed");
    cluster.ticks(1);
    alone(&mut cluster, leader);
    held.push("for all it knows committed".into());
    assert_eq!(cluster.data(leader).entries, held);
    cluster.propose(leader, "and on");
    cluster.ticks(1);
    assert_eq!(cluster.data(leader).entries.len(), 11);

    // It grows again.
    cluster.change(leader, ConfChangeKind::AddLearner, 7);
    cluster.ticks(5);
    cluster.change(leader, ConfChangeKind::AddVoter, 7);
    cluster.ticks(5);
    cluster.converge();
}

#[test]
fn what_was_acknowledged_just_before_all_were_killed_is_kept() {
    for seed in 10..30 {
        let mut cluster = Cluster::new(seed, &[1, 2, 3]);
        let leader = cluster.elect();
        cluster.propose(leader, "acknowledged");
        // At the leader it is known to be committed, which nobody has written down.
        while cluster.data(leader).entries.is_empty() {
            cluster.step();
        }
        (1..=3).for_each(|id| cluster.crash(id));
        alone(&mut cluster, leader);
        assert_eq!(cluster.data(leader).entries, ["acknowledged"]);
    }
}

#[test]
fn changes_of_the_group_at_the_end_of_the_log_come_first() {
    for kind in [ConfChangeKind::AddLearner, ConfChangeKind::AddVoter] {
        let mut cluster = Cluster::new(6, &[1, 2, 3]);
        let leader = cluster.elect();
        cluster.ticks(3);
        cluster.keep(leader);
        for other in (1..=3).filter(|id| *id != leader) {
            cluster.crash(other);
        }
        cluster.change(leader, kind, 4);
        cluster.propose(leader, "with four");
        cluster.ticks(1);
        alone(&mut cluster, leader);
        assert_eq!(cluster.data(leader).entries, ["with four"]);
    }
}

#[test]
fn whoever_is_left_stays_although_others_may_have_removed_it() {
    let mut cluster = Cluster::new(7, &[1, 2, 3]);
    let leader = cluster.elect();
    cluster.ticks(3);
    for other in (1..=3).filter(|id| *id != leader) {
        cluster.crash(other);
    }
    cluster.propose(leader, "before");
    cluster.change(leader, ConfChangeKind::Remove, leader);
    cluster.propose(leader, "after");
    cluster.ticks(1);
    alone(&mut cluster, leader);
    assert_eq!(cluster.data(leader).entries, ["before", "after"]);
}

#[test]
fn a_learner_that_is_left_over_is_promoted() {
    let mut cluster = Cluster::new(2, &[1, 2, 3]);
    let leader = cluster.elect();
    cluster.change(leader, ConfChangeKind::AddLearner, 4);
    cluster.ticks(3);
    cluster.change(leader, ConfChangeKind::AddLearner, 5);
    cluster.ticks(3);
    cluster.propose(leader, "learned");
    cluster.ticks(3);
    // What it has applied is on its disk for this member, and for a second one is not.
    cluster.keep(4);
    alone(&mut cluster, 4);
    assert_eq!(cluster.data(4).entries, ["learned"]);
}

#[test]
fn a_learner_whose_application_kept_nothing_is_promoted_too() {
    let mut cluster = Cluster::new(3, &[1, 2, 3]);
    let leader = cluster.elect();
    cluster.change(leader, ConfChangeKind::AddLearner, 4);
    cluster.ticks(3);
    cluster.propose(leader, "learned");
    cluster.ticks(3);
    cluster.propose(leader, "so that the commit before it is written");
    cluster.ticks(3);
    alone(&mut cluster, 4);
    assert_eq!(cluster.data(4).entries[0], "learned");
}

#[test]
fn a_member_that_is_alone_already_is_left_as_it_is() {
    let mut cluster = Cluster::new(4, &[1]);
    cluster.elect();
    cluster.propose(1, "a");
    cluster.ticks(2);
    cluster.keep(1);
    cluster.crash(1);
    let before = cluster.machines[&1].disk.operations();
    let disk = cluster.machines[&1].disk.clone();
    force(&cluster, 1).unwrap();
    let writes = disk.history()[usize::try_from(before).unwrap()..].len();
    force(&cluster, 1).unwrap();
    let again = disk.history()[usize::try_from(before).unwrap()..].len() - writes;
    assert_eq!(writes, again, "only what every recovery does");
    cluster.start(1);
    cluster.ticks(1);
    assert_eq!(cluster.data(1).entries, ["a"]);
}

#[test]
fn a_crash_at_any_operation_can_be_forced_again() {
    let operations = |at: Option<u64>| {
        let mut cluster = Cluster::new(5, &[1, 2, 3]);
        let leader = cluster.elect();
        for number in 0..5 {
            cluster.propose(leader, &number.to_string());
        }
        cluster.ticks(3);
        let committed = cluster.data(leader).entries.clone();
        cluster.keep(leader);
        cluster.crash(leader);
        let disk = cluster.machines[&leader].disk.clone();
        let before = disk.operations();
        if let Some(at) = at {
            disk.script(before + at, Fault::PowerCut);
        }
        assert_eq!(force(&cluster, leader).is_ok(), at.is_none());
        let operations = disk.operations() - before;
        disk.crash(Survival::Random);
        // Whether it was forced or not, it starts.
        cluster.start(leader);
        alone(&mut cluster, leader);
        assert_eq!(cluster.data(leader).entries, committed, "crash at {at:?}");
        operations
    };
    for at in 0..operations(None) {
        operations(Some(at));
    }
}
