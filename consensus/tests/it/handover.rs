//! Leadership that changes hands: at a wish, because a disk stalls, because the leader is removed.

use bytes::Bytes;
use cairn_consensus::{ConfChangeKind, ProposeError, ReadContext, ReadIndexError, Role};
use cairn_proto::raftpb::{self, MessageType};

use crate::application::member;
use crate::cluster::Cluster;

/// As many ticks as an election takes at most, and some.
const ELECTION: usize = 25;
/// The election timeout that members have by default.
const TIMEOUT: usize = 10;
const FOR_EVER: u64 = u64::MAX;

#[test]
fn a_leader_whose_disk_stalls_hands_over_and_stays_a_follower_until_it_writes_again() {
    let mut cluster = Cluster::new(1, &[1, 2, 3]);
    let old = cluster.elect();
    cluster.machines.get_mut(&old).unwrap().stalled_until = FOR_EVER;
    cluster.propose(old, "before");
    cluster.ticks(TIMEOUT + 3);
    let new = cluster.elect_without(&[old]);
    assert_eq!(
        cluster.leaders(),
        [new],
        "it was handed over, not waited for"
    );
    cluster.propose(new, "after");
    cluster.ticks(3);
    assert_eq!(cluster.data(new).entries, ["before", "after"]);
    let third = (1..=3).find(|id| ![old, new].contains(id)).unwrap();
    assert_eq!(cluster.data(third).entries, ["before", "after"]);
    assert!(
        cluster.data(old).entries.is_empty(),
        "its disk stands still"
    );

    // The others are gone, and still it does not stand.
    cluster.crash(new);
    cluster.crash(third);
    for _ in 0..100 {
        cluster.tick();
        assert_eq!(cluster.driver(old).status().leadership.role, Role::Follower);
    }
    assert!(cluster.driver(old).status().stalled_ticks > 100);
    cluster.heal();
    cluster.converge();
}

#[test]
fn a_stalled_leader_steps_down_if_nobody_takes_over() {
    let mut cluster = Cluster::new(2, &[1, 2, 3]);
    let old = cluster.elect();
    cluster.dropped = Some(MessageType::MsgTimeoutNow);
    cluster.machines.get_mut(&old).unwrap().stalled_until = FOR_EVER;
    cluster.propose(old, "before");
    cluster.ticks(TIMEOUT + 2);
    assert_eq!(cluster.leaders(), [old]);
    assert!(cluster.driver(old).status().transferring_to.is_some());
    cluster.ticks(TIMEOUT);
    assert!(!cluster.leaders().contains(&old));
    assert_ne!(cluster.elect_without(&[old]), old);
}

#[test]
fn a_leader_that_is_alone_waits_for_its_disk() {
    let mut cluster = Cluster::new(3, &[1]);
    cluster.elect();
    cluster.machines.get_mut(&1).unwrap().stalled_until = FOR_EVER;
    cluster.propose(1, "late");
    cluster.ticks(60);
    assert_eq!(cluster.leaders(), [1]);
    assert_eq!(cluster.driver(1).status().stalled_ticks, 59);
    cluster.machines.get_mut(&1).unwrap().stalled_until = 0;
    cluster.ticks(1);
    assert_eq!(cluster.data(1).entries, ["late"]);
    assert_eq!(cluster.driver(1).status().stalled_ticks, 0);
}

#[test]
fn a_stalled_follower_is_passed_over_and_the_most_up_to_date_chosen() {
    let mut cluster = Cluster::new(4, &[1, 2, 3, 4, 5]);
    let old = cluster.elect();
    let behind: Vec<_> = (1..=5).filter(|id| *id != old).take(3).collect();
    let ahead = (1..=5)
        .find(|id| *id != old && !behind.contains(id))
        .unwrap();
    for id in &behind {
        cluster.machines.get_mut(id).unwrap().stalled_until = FOR_EVER;
    }
    for number in 0..5 {
        cluster.propose(old, &number.to_string());
        cluster.ticks(1);
    }
    assert_eq!(cluster.driver(old).transferee(), Some(member(ahead)));
    assert_eq!(
        cluster.driver(ahead).transferee(),
        None,
        "it has nothing to give"
    );
}

#[test]
fn leadership_is_handed_over_at_a_wish_of_anybody() {
    let mut cluster = Cluster::new(5, &[1, 2, 3]);
    let old = cluster.elect();
    let new = cluster.other(old);
    cluster.driver(new).transfer_leader(member(new));
    cluster.ticks(2);
    assert_eq!(cluster.leaders(), [new]);
    cluster.driver(new).transfer_leader(member(old));
    cluster.ticks(2);
    assert_eq!(cluster.leaders(), [old]);
    let failed = cluster.running(old).unwrap().transfers_failed;
    assert_eq!(failed, 0);
}

#[test]
fn a_handover_that_fails_is_given_up_after_an_election_timeout_and_told() {
    let mut cluster = Cluster::new(6, &[1, 2, 3]);
    let leader = cluster.elect();
    cluster.dropped = Some(MessageType::MsgTimeoutNow);
    let to = cluster.other(leader);
    cluster.driver(leader).transfer_leader(member(to));
    cluster.ticks(TIMEOUT - 1);
    let data = Bytes::from_static(b"too early");
    assert_eq!(
        cluster.driver(leader).propose(data),
        Err(ProposeError::LeaderChanging)
    );
    cluster.ticks(2);
    assert_eq!(cluster.running(leader).unwrap().transfers_failed, 1);
    assert_eq!(cluster.leaders(), [leader]);
    assert!(cluster.propose(leader, "in time"));
}

#[test]
fn a_leader_that_is_removed_steps_down_and_the_last_member_goes_on() {
    let mut cluster = Cluster::new(7, &[1, 2]);
    let old = cluster.elect();
    let last = cluster.other(old);
    cluster.change(old, ConfChangeKind::Remove, old);
    cluster.ticks(3);
    assert!(cluster.driver(old).status().removed);
    assert!(!cluster.driver(last).status().removed);
    assert_eq!(cluster.leaders(), [last], "at once, not after a timeout");
    cluster.machines.remove(&old);
    cluster.propose(last, "alone");
    cluster.ticks(1);
    assert_eq!(cluster.data(last).entries, ["alone"]);
}

#[test]
fn a_leader_of_three_that_is_removed_goes_without_a_pause() {
    let mut cluster = Cluster::new(8, &[1, 2, 3]);
    let old = cluster.elect();
    cluster.change(old, ConfChangeKind::Remove, old);
    cluster.ticks(4);
    let new = cluster.elect_without(&[old]);
    assert_eq!(cluster.leaders(), [new]);
    assert!(cluster.driver(old).progress().is_empty());
    cluster.propose(new, "on");
    cluster.ticks(2);
    assert_eq!(cluster.data(new).entries, ["on"]);
    assert_eq!(cluster.driver(new).conf_state().voters.len(), 2);
}

#[test]
fn a_leader_that_was_paused_answers_no_read_from_its_past() {
    for seed in 0..30 {
        let mut cluster = Cluster::new(seed, &[1, 2, 3]);
        let old = cluster.elect();
        cluster.propose(old, "before");
        cluster.ticks(2);
        // A question is under way when it is stopped.
        cluster.read(old);
        let until = cluster.now + 400;
        cluster.machines.get_mut(&old).unwrap().paused_until = until;
        let new = cluster.elect_without(&[old]);
        cluster.propose(new, "after");
        cluster.ticks(3);
        assert!(cluster.handed_out.len() > 2);
        // It wakes up as a leader, and is asked at once; the cluster checks each answer.
        cluster.machines.get_mut(&old).unwrap().paused_until = 0;
        assert_eq!(cluster.driver(old).status().leadership.role, Role::Leader);
        let before = cluster.running(old).unwrap().reads_answered;
        cluster.read(old);
        cluster.ticks(2);
        assert_eq!(cluster.running(old).unwrap().reads_answered, before);
        assert_eq!(cluster.leaders(), [new]);
        cluster.read(old);
        cluster.ticks(2);
        assert_eq!(cluster.running(old).unwrap().reads_answered, before + 1);
    }
}

#[test]
fn a_new_leader_answers_no_read_before_it_has_committed_in_its_term() {
    let mut cluster = Cluster::new(9, &[1, 2, 3]);
    let old = cluster.elect();
    cluster.ticks(2);
    cluster.crash(old);
    cluster.dropped = Some(MessageType::MsgAppResp);
    let new = cluster.elect_without(&[old]);
    cluster.ticks(1);
    assert_eq!(
        cluster.driver(new).read_index(ReadContext(1 << 60)),
        Err(ReadIndexError::NotReady)
    );
    // Asked by a follower, it keeps silent.
    let follower = (1..=3).find(|id| ![old, new].contains(id)).unwrap();
    assert!(cluster.read(follower));
    cluster.ticks(2);
    assert_eq!(cluster.running(follower).unwrap().reads_answered, 0);
    cluster.dropped = None;
    cluster.ticks(ELECTION);
    let leader = cluster.elect_without(&[old]);
    assert!(cluster.read(leader));
    cluster.ticks(2);
    assert_eq!(cluster.running(leader).unwrap().reads_answered, 1);
}

#[test]
fn a_question_that_comes_twice_confirms_nothing_that_came_in_between() {
    let mut cluster = Cluster::new(10, &[1, 2, 3]);
    let leader = cluster.elect();
    cluster.ticks(3);
    let mut others = (1..=3).filter(|id| *id != leader);
    let [first, late] = [others.next().unwrap(), others.next().unwrap()];
    let driver = cluster.driver(leader);
    let term = driver.status().leadership.term.get();
    let question = raftpb::Message {
        r#type: Some(MessageType::MsgReadIndex.into()),
        from: Some(first),
        to: Some(leader),
        entries: vec![raftpb::Entry {
            data: Some(Bytes::from_static(b"member..a number")),
            ..raftpb::Entry::default()
        }],
        ..raftpb::Message::default()
    };
    driver.step(question.clone()).unwrap();
    let (output, _) = driver.begin().unwrap();
    let heartbeat = output.messages.iter().find(|message| message.to() == late);
    let context = heartbeat.unwrap().context.clone();
    let confirms = |from| raftpb::Message {
        r#type: Some(MessageType::MsgHeartbeatResp.into()),
        from: Some(from),
        to: Some(leader),
        term: Some(term),
        context: context.clone(),
        ..raftpb::Message::default()
    };
    driver.step(confirms(first)).unwrap();
    // Held up here, it may have been replaced; then it is asked, by itself and once more.
    driver.read_index(ReadContext(7)).unwrap();
    driver.step(question).unwrap();
    driver.step(confirms(late)).unwrap();
    let (output, _) = driver.begin().unwrap();
    assert!(output.reads.is_empty(), "what is late confirms nothing new");
}
