//! Followers that are behind the log, and how much log is kept for them.

use cairn_consensus::disk::Fault;
use cairn_consensus::{CompactionPolicy, LogIndex};

use crate::cluster::Cluster;

/// A cluster with a member that needs a snapshot as soon as it can be reached; it and the leader.
fn with_one_behind(seed: u64) -> (Cluster, u64, u64) {
    let mut cluster = Cluster::new(seed, &[1, 2, 3]);
    let leader = cluster.elect();
    let behind = cluster.other(leader);
    cluster.propose(leader, "known to all");
    cluster.ticks(3);
    cluster.crash(behind);
    cluster.policy.catchup_entries = 3;
    for number in 0..60 {
        cluster.propose(leader, &format!("{number:0100}"));
        cluster.step();
    }
    cluster.ticks(3);
    for id in [1, 2, 3] {
        if id != behind {
            cluster.keep(id);
        }
    }
    cluster.ticks(2);
    assert!(cluster.driver(leader).extent().first > LogIndex::new(50));
    (cluster, leader, behind)
}

#[test]
fn a_member_that_is_behind_the_log_gets_a_snapshot_and_what_follows() {
    let (mut cluster, leader, behind) = with_one_behind(1);
    cluster.start(behind);
    cluster.ticks(4);
    assert_eq!(cluster.snapshots_installed, 1);
    cluster.propose(leader, "after");
    cluster.ticks(3);
    assert_eq!(cluster.data(behind).entries.len(), 62);
    cluster.converge();
}

#[test]
fn a_crash_at_any_operation_of_the_disk_leaves_the_old_state_or_the_new() {
    let operations = |at: Option<u64>| {
        let (mut cluster, leader, behind) = with_one_behind(2);
        let disk = cluster.machines[&behind].disk.clone();
        let before = disk.operations();
        if let Some(at) = at {
            disk.script(before + at, Fault::PowerCut);
        }
        // Its start may be what fails; then it is started again.
        let start = std::panic::AssertUnwindSafe(|| cluster.start(behind));
        if at.is_some() && std::panic::catch_unwind(start).is_err() {
            cluster.crash(behind);
        } else if at.is_none() {
            cluster.start(behind);
        }
        for round in 0..20 {
            if cluster.machines[&behind].running.is_none() {
                cluster.start(behind);
            }
            cluster.propose(leader, &round.to_string());
            cluster.tick();
        }
        let operations = disk.operations() - before;
        cluster.heal();
        cluster.converge();
        assert!(cluster.snapshots_installed > 0 || at.is_some());
        operations
    };
    let all = operations(None);
    assert!(all > 20);
    for at in 0..all {
        operations(Some(at));
    }
}

#[test]
fn a_crash_between_the_marker_and_the_installation_is_repaired_at_the_start() {
    let (mut cluster, _, behind) = with_one_behind(3);
    cluster.start(behind);
    cluster.crash_at_install = true;
    for _ in 0..20 {
        cluster.tick();
        if cluster.machines[&behind].running.is_none() {
            break;
        }
    }
    assert!(
        cluster.machines[&behind].running.is_none(),
        "it crashed where it was to install"
    );
    let old = cluster.machines[&behind].durable.applied;
    cluster.crash_at_install = false;
    cluster.start(behind);
    assert!(
        cluster.data(behind).applied > old,
        "the start asked for what was received"
    );
    cluster.converge();
}

#[test]
fn a_second_snapshot_may_come_before_the_first_is_durable() {
    let (mut cluster, leader, behind) = with_one_behind(4);
    cluster.start(behind);
    cluster.machines.get_mut(&behind).unwrap().stalled_until = u64::MAX;
    let mut sent = 0;
    for round in 0..6 {
        // Each round, the log goes on beyond what was sent.
        for number in 0..10 {
            cluster.propose(leader, &format!("{round} {number}"));
        }
        cluster.ticks(3);
        cluster.policy.bytes_max = 0;
        cluster.keep(leader);
        cluster.ticks(3);
        sent = sent.max(cluster.snapshots_waiting(behind));
    }
    assert!(sent >= 2, "{sent} snapshots wait for the disk");
    assert_eq!(cluster.snapshots_installed, 0);
    cluster.heal();
    cluster.converge();
    assert!(cluster.snapshots_installed >= 1);
}

#[test]
fn what_is_kept_for_followers_is_bounded_in_bytes() {
    let mut cluster = Cluster::new(5, &[1, 2, 3]);
    let leader = cluster.elect();
    let behind = cluster.other(leader);
    cluster.crash(behind);
    cluster.policy = CompactionPolicy {
        snapshot_count: 100,
        catchup_entries: 5000,
        catchup_bytes_max: 256 << 10,
        bytes_max: 512 << 10,
    };
    for round in 0..200 {
        for _ in 0..10 {
            cluster.propose(leader, &format!("{round:01000}"));
        }
        cluster.ticks(1);
        let applied = cluster.data(leader).applied;
        let extent = cluster.driver(leader).extent();
        assert!(
            extent.bytes < (512 + 128) << 10,
            "round {round}: {extent:?}"
        );
        if cluster.policy.is_due(extent, applied) {
            cluster.keep(leader);
            let kept = cluster.driver(leader).extent().bytes;
            assert!(kept <= (256 + 64) << 10, "round {round}: {kept}");
            cluster.ticks(1);
        }
    }
    // Far fewer than 5000 entries stay: they are large.
    let extent = cluster.driver(leader).extent();
    let entries = extent.last.distance_from(extent.first);
    assert!((100..700).contains(&entries), "{entries} entries are kept");
    cluster.heal();
    cluster.converge();
    assert!(cluster.snapshots_installed > 0);
}

#[test]
fn the_log_that_follows_a_snapshot_under_way_is_kept_for_its_receiver() {
    let (mut cluster, leader, behind) = with_one_behind(6);
    cluster.start(behind);
    // The snapshot takes its time.
    cluster.dropped = Some(cairn_proto::raftpb::MessageType::MsgAppResp);
    cluster.machines.get_mut(&behind).unwrap().paused_until = u64::MAX;
    for _ in 0..3 {
        cluster.ticks(1);
    }
    cluster.dropped = None;
    let under_way = |cluster: &mut Cluster| {
        let progress = cluster.driver(leader).progress();
        progress.into_iter().find_map(|peer| peer.snapshot)
    };
    let Some(point) = under_way(&mut cluster) else {
        // It was not seen to be alive, so nothing was sent to it.
        return;
    };
    for number in 0..30 {
        cluster.propose(leader, &number.to_string());
    }
    cluster.ticks(2);
    cluster.keep(leader);
    assert!(cluster.driver(leader).extent().first <= point.next());
}
