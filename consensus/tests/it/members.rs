//! Members that come, learn, are promoted and go; and what is known of them.

use cairn_consensus::{ConfChangeKind, LogIndex, PeerProgress, Role};

use crate::application::member;
use crate::cluster::Cluster;

#[test]
fn a_learner_is_followed_until_it_is_ready_and_then_votes() {
    let mut cluster = Cluster::new(1, &[1, 2, 3]);
    let leader = cluster.elect();
    for number in 0..20 {
        cluster.propose(leader, &number.to_string());
    }
    cluster.ticks(2);
    // Changes may be proposed to a follower.
    let follower = cluster.other(leader);
    assert!(cluster.change(follower, ConfChangeKind::AddLearner, 4));
    cluster.ticks(2);
    cluster.machines.get_mut(&4).unwrap().stalled_until = u64::MAX;
    cluster.ticks(2);
    let learner = |cluster: &mut Cluster| -> PeerProgress {
        let progress = cluster.driver(leader).progress();
        assert_eq!(progress.len(), 3);
        assert!(progress.is_sorted_by_key(|peer| peer.member));
        let learner = progress.into_iter().find(|p| p.member == member(4));
        learner.unwrap()
    };
    cluster.propose(leader, "more");
    cluster.ticks(3);
    let slow = learner(&mut cluster);
    assert!(slow.is_learner && slow.is_active, "it answers heartbeats");
    assert!(slow.matched < cluster.driver(leader).status().last);
    cluster.machines.get_mut(&4).unwrap().stalled_until = 0;
    cluster.ticks(5);
    let ready = learner(&mut cluster);
    assert_eq!(ready.matched, cluster.driver(leader).status().last);
    assert_eq!(ready.snapshot, None);
    assert_eq!(cluster.driver(4).status().leadership.role, Role::Learner);
    assert!(cluster.read(4), "a learner reads through the leader");
    cluster.ticks(2);
    assert_eq!(cluster.running(4).unwrap().reads_answered, 1);

    cluster.change(leader, ConfChangeKind::AddVoter, 4);
    cluster.ticks(3);
    assert!(!learner(&mut cluster).is_learner);
    assert_eq!(cluster.driver(4).status().leadership.role, Role::Follower);
    assert_eq!(cluster.driver(4).conf_state().voters.len(), 4);
}

#[test]
fn a_member_that_is_silent_is_not_active() {
    let mut cluster = Cluster::new(2, &[1, 2, 3]);
    let leader = cluster.elect();
    cluster.ticks(5);
    let active = |cluster: &mut Cluster| -> Vec<bool> {
        let progress = cluster.driver(leader).progress();
        progress.iter().map(|peer| peer.is_active).collect()
    };
    // At no moment, though raft forgets every election timeout.
    for _ in 0..30 {
        assert_eq!(active(&mut cluster), [true, true]);
        cluster.tick();
    }
    let silent = cluster.other(leader);
    cluster.crash(silent);
    cluster.ticks(12);
    let seen = active(&mut cluster);
    assert_eq!(seen.iter().filter(|active| **active).count(), 1);
    assert!(
        cluster
            .driver(silent_other(leader, silent))
            .progress()
            .is_empty()
    );
}

fn silent_other(leader: u64, silent: u64) -> u64 {
    (1..=3).find(|id| ![leader, silent].contains(id)).unwrap()
}

#[test]
fn a_removed_member_notices_and_disturbs_nobody() {
    let mut cluster = Cluster::new(3, &[1, 2, 3]);
    let leader = cluster.elect();
    let gone = cluster.other(leader);
    cluster.change(leader, ConfChangeKind::Remove, gone);
    cluster.ticks(3);
    assert!(cluster.driver(gone).status().removed);
    let term = cluster.driver(leader).status().leadership.term;
    cluster.ticks(100);
    assert_eq!(cluster.leaders(), [leader]);
    assert_eq!(cluster.driver(leader).status().leadership.term, term);
    assert_eq!(cluster.driver(leader).progress().len(), 1);
}

#[test]
fn an_update_changes_nothing_for_raft_and_a_second_change_waits_for_the_first() {
    let mut cluster = Cluster::new(4, &[1, 2, 3]);
    let leader = cluster.elect();
    cluster.ticks(2);
    let before = cluster.driver(leader).conf_state().clone();
    cluster.change(leader, ConfChangeKind::Update, 2);
    // While one is under way, another becomes an empty entry.
    cluster.change(leader, ConfChangeKind::Remove, 3);
    cluster.ticks(3);
    assert_eq!(*cluster.driver(leader).conf_state(), before);
    cluster.change(leader, ConfChangeKind::Remove, cluster.other(leader));
    cluster.ticks(3);
    assert_eq!(cluster.driver(leader).conf_state().voters.len(), 2);
}

#[test]
fn a_sole_voter_with_learners_survives_any_loss_of_what_it_had_not_written() {
    for seed in 0..40 {
        let mut cluster = Cluster::new(seed, &[1]);
        cluster.elect();
        cluster.change(1, ConfChangeKind::AddLearner, 2);
        cluster.ticks(3);
        for round in 0..5 {
            // It is elected while its disk stands still: its new term must not be seen abroad.
            cluster.crash(1);
            cluster.start(1);
            let until = cluster.now + cluster.chance.below(40);
            cluster.machines.get_mut(&1).unwrap().stalled_until = until;
            cluster.ticks(1);
            cluster.propose(1, &format!("{round} of {seed}"));
            let steps = cluster.chance.below(24);
            (0..steps).for_each(|_| cluster.step());
        }
        cluster.heal();
        let entries = cluster.converge();
        assert!(!entries.is_empty());
        assert!(cluster.data(2).applied > LogIndex::ZERO);
    }
}

#[test]
fn a_first_election_can_be_hastened_and_one_that_is_not_due_cannot() {
    let ticks_until_elected = |seed: u64, hastened: usize| {
        let mut cluster = Cluster::new(seed, &[1, 2, 3]);
        for id in [1, 2, 3] {
            cluster.driver(id).hasten_election(hastened);
        }
        let leads =
            |cluster: &mut Cluster, id| cluster.driver(id).status().leadership.role == Role::Leader;
        let ticks = (1..).find(|_| {
            cluster.tick();
            (1..=3).any(|id| leads(&mut cluster, id))
        });
        ticks.unwrap()
    };
    for seed in 0..20 {
        let (patient, hasty) = (ticks_until_elected(seed, 0), ticks_until_elected(seed, 8));
        assert!(hasty <= patient, "seed {seed}: {hasty}, {patient}");
        assert!(
            hasty < 10 || patient > 12,
            "seed {seed}: {hasty}, {patient}"
        );
    }
    let mut cluster = Cluster::new(1, &[1, 2, 3]);
    let leader = cluster.elect();
    let follower = cluster.other(leader);
    cluster.ticks(3);
    for _ in 0..30 {
        cluster.driver(follower).hasten_election(8);
        cluster.driver(leader).hasten_election(8);
        cluster.tick();
        let leadership = cluster.driver(follower).status().leadership;
        assert_eq!(
            (leadership.role, leadership.leader),
            (Role::Follower, Some(member(leader)))
        );
    }
}
