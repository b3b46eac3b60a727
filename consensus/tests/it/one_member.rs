//! A cluster of one: what it acknowledged is there whatever happens.

use std::sync::Arc;

use bytes::Bytes;
use cairn_consensus::disk::{Fault, FaultDisk, Operation, Survival};
use cairn_consensus::wal::{WalError, WalOptions};
use cairn_consensus::{
    CompactionPolicy, ConfChange, ConfChangeError, ConfChangeKind, ConfState, LogIndex, LogWork,
    Node, NodeError, NodeOptions, ProposeError, ReadContext, ReadReady, Role, Status,
};

use crate::application::{Application, member, settle, short_segments, start_alone};

#[test]
fn it_leads_at_once_and_commits_in_the_turn_of_the_write() {
    let disk = FaultDisk::new(1);
    let mut application = Application::default();
    let mut node = start_alone(Arc::new(disk.clone()), &mut application, short_segments()).unwrap();
    let status = node.driver().status();
    assert_eq!(status.leadership.role, Role::Leader);
    assert_eq!(status.leadership.leader, Some(member(1)));
    assert_eq!(application.conf_state.voters, [member(1)]);

    let before = disk.operations();
    for data in ["a", "b", "c"] {
        node.driver()
            .propose(Bytes::from_static(data.as_bytes()))
            .unwrap();
    }
    let output = node.work().unwrap();
    assert_eq!(
        output.committed.len(),
        3,
        "all of the batch is committed in its output"
    );
    let syncs = disk.history()[usize::try_from(before).unwrap()..]
        .iter()
        .filter(|operation| **operation == Operation::Sync)
        .count();
    assert_eq!(syncs, 1, "one sync for the batch");
    application.apply(&mut node, &output);

    node.driver().read_index(ReadContext(7)).unwrap();
    let output = node.work().unwrap();
    let index = application.applied;
    assert_eq!(
        output.reads,
        [ReadReady {
            context: ReadContext(7),
            index
        }]
    );
}

#[test]
fn it_hands_out_again_what_was_not_durable_in_the_application() {
    let disk = FaultDisk::new(1);
    let mut application = Application::default();
    let mut node = start_alone(Arc::new(disk.clone()), &mut application, short_segments()).unwrap();
    let durable = application.clone();
    for number in 0..50_u32 {
        node.driver().propose(number.to_string().into()).unwrap();
        settle(&mut node, &mut application).unwrap();
    }
    assert_eq!(application.entries.len(), 50);
    disk.crash(Survival::Nothing);
    let mut replayed = durable;
    let _node = start_alone(Arc::new(disk), &mut replayed, short_segments()).unwrap();
    assert_eq!(replayed.entries, application.entries);
}

/// Proposes until the disk refuses, and at times compacts; what was reported as committed.
fn run(disk: &FaultDisk) -> Vec<(LogIndex, Bytes)> {
    let mut application = Application::default();
    let policy = CompactionPolicy {
        catchup_entries: 5,
        ..CompactionPolicy::default()
    };
    let mut go = || {
        let shared: Arc<FaultDisk> = Arc::new(disk.clone());
        let mut node = start_alone(shared, &mut application, short_segments())?;
        for round in 0..12_usize {
            for number in 0..=round % 4 {
                let data = format!("{round} {number} {}", "x".repeat(90 * number));
                node.driver().propose(data.into()).unwrap();
            }
            settle(&mut node, &mut application)?;
            if round % 5 == 4 {
                // What the run ends with counts as durable in the application.
                node.driver().compact(application.applied.back(2), &policy);
                settle(&mut node, &mut application)?;
            }
        }
        Ok::<(), NodeError>(())
    };
    if go().is_err() {
        assert!(disk.operations() > 0);
    }
    application.entries
}

#[test]
fn a_crash_at_any_operation_keeps_every_committed_proposal_in_order_and_once() {
    let (all, operations) = {
        let disk = FaultDisk::new(0);
        (run(&disk), disk.operations())
    };
    assert_eq!(all.len(), 30);
    for at in 0..operations {
        for survival in [Survival::Nothing, Survival::Random, Survival::Everything] {
            let disk = FaultDisk::new(at);
            disk.script(at, Fault::PowerCut);
            let committed = run(&disk);
            disk.crash(survival);

            // The application kept what a compaction relied on, and lost the rest.
            let mut application = Application::default();
            let story = format!("power cut at operation {at}, {survival:?}");
            if let Some(status) = status_of(&disk) {
                let kept = status.first.back(1);
                application.applied = kept;
                application.conf_state =
                    ConfState::of_voters((kept > LogIndex::ZERO).then_some(member(1)));
                application.entries = committed
                    .iter()
                    .filter(|(index, _)| *index <= kept)
                    .cloned()
                    .collect();
            }
            let node = start_alone(Arc::new(disk), &mut application, short_segments());
            let node = node.unwrap_or_else(|error| panic!("{story}: {error}"));
            assert_eq!(node.status().leadership.role, Role::Leader, "{story}");
            let found: Vec<_> = application.entries.iter().map(|(_, data)| data).collect();
            assert!(found.len() >= committed.len(), "{story}: lost");
            let expected = all.iter().map(|(_, data)| data);
            assert!(
                expected.take(found.len()).eq(found),
                "{story}: not what was proposed"
            );
        }
    }
}

/// Where the log on `disk` begins; `None` if there is none.
fn status_of(disk: &FaultDisk) -> Option<Status> {
    let mut options = Application::default().options(short_segments());
    loop {
        match Node::open(Arc::new(disk.clone()), &options) {
            Ok(node) => return Some(node.status()),
            Err(NodeError::SnapshotNotInstalled { point, .. }) => options.applied = point.index,
            Err(_) => return None,
        }
    }
}

#[test]
fn it_starts_after_a_compaction_and_refuses_data_that_does_not_fit() {
    let disk = FaultDisk::new(1);
    let mut application = Application::default();
    let shared: Arc<FaultDisk> = Arc::new(disk.clone());
    let mut node = start_alone(shared.clone(), &mut application, short_segments()).unwrap();
    for number in 0..100_u32 {
        node.driver().propose(number.to_string().into()).unwrap();
        settle(&mut node, &mut application).unwrap();
    }
    let policy = CompactionPolicy {
        catchup_entries: 10,
        ..CompactionPolicy::default()
    };
    let marker = node.driver().compact(application.applied, &policy);
    settle(&mut node, &mut application).unwrap();
    assert_eq!(marker, application.applied.back(10));
    assert_eq!(node.driver().extent().first, marker.next());
    assert!(node.wal().segment_count() < 3);
    let again = node.driver().compact(application.applied, &policy);
    assert_eq!(again, marker, "nothing more to drop");
    drop(node);

    let mut started = start_alone(shared.clone(), &mut application, short_segments()).unwrap();
    assert_eq!(started.driver().extent().first, marker.next());
    drop(started);

    let open = |applied| {
        let options = NodeOptions {
            applied,
            ..application.options(short_segments())
        };
        Node::open(shared.clone(), &options)
    };
    assert!(matches!(
        open(marker.back(1)),
        Err(NodeError::SnapshotNotInstalled { .. })
    ));
    assert!(open(marker).is_ok());
    let beyond = LogIndex::new(application.applied.get() + 2);
    assert!(matches!(
        open(beyond),
        Err(NodeError::AppliedBeyondLog { .. })
    ));
}

#[test]
fn a_failing_disk_stops_it_and_nothing_more_is_acknowledged() {
    let disk = FaultDisk::new(1);
    let mut application = Application::default();
    let mut node = start_alone(Arc::new(disk.clone()), &mut application, short_segments()).unwrap();
    disk.script(disk.operations(), Fault::Error);
    node.driver().propose(Bytes::from_static(b"a")).unwrap();
    assert!(matches!(
        node.work(),
        Err(NodeError::Wal(WalError::Io { .. }))
    ));
    node.driver().propose(Bytes::from_static(b"b")).unwrap();
    assert!(matches!(node.work(), Err(NodeError::WorkUnderWay)));
    let more = LogWork::default();
    assert!(matches!(node.log().perform(more), Err(WalError::Poisoned)));
}

#[test]
fn proposals_that_cannot_be_are_refused() {
    let disk = FaultDisk::new(1);
    let mut application = Application::default();
    let mut node = start_alone(Arc::new(disk), &mut application, short_segments()).unwrap();
    let limit = node.wal().entry_bytes_max();
    assert_eq!(
        node.driver().propose(Bytes::new()),
        Err(ProposeError::Empty)
    );
    assert_eq!(
        node.driver().propose(vec![0; limit + 1].into()),
        Err(ProposeError::TooLarge {
            bytes: limit + 1,
            limit
        })
    );
    node.driver().propose(vec![1; limit].into()).unwrap();
    settle(&mut node, &mut application).unwrap();
    assert_eq!(application.entries.len(), 1);
}

#[test]
fn a_batch_is_full_at_four_mebibytes_and_refused_at_sixteen_times_that() {
    let disk = FaultDisk::new(1);
    let mut application = Application::default();
    let mut node = start_alone(Arc::new(disk), &mut application, WalOptions::default()).unwrap();
    let mebibyte = Bytes::from(vec![7; 1 << 20]);
    let mut full_at = None;
    let mut taken = 0;
    while node.driver().propose(mebibyte.clone()).is_ok() {
        taken += 1;
        if node.driver().batch_is_full() {
            full_at.get_or_insert(taken);
        }
    }
    assert_eq!((full_at, taken), (Some(4), 64));
    assert_eq!(
        node.driver().propose(mebibyte),
        Err(ProposeError::Overloaded)
    );
    settle(&mut node, &mut application).unwrap();
    assert_eq!(application.entries.len(), 64);
}

#[test]
fn the_last_member_cannot_be_removed_and_the_change_counts_as_rejected() {
    let disk = FaultDisk::new(1);
    let mut application = Application::default();
    let mut node = start_alone(Arc::new(disk), &mut application, short_segments()).unwrap();
    let change = ConfChange {
        id: 1,
        kind: ConfChangeKind::Remove,
        member: member(1),
        context: Bytes::new(),
    };
    node.driver().propose_conf_change(&change).unwrap();
    let output = node.work().unwrap();
    let index = output.committed[0].index;
    assert!(matches!(
        node.driver().apply_conf_change(index, &change),
        Err(ConfChangeError::Impossible { .. })
    ));
    assert!(matches!(
        node.driver().reject_conf_change(index),
        Err(ConfChangeError::NotPending { .. })
    ));
    assert_eq!(node.driver().conf_state().voters, [member(1)]);
    node.driver().propose_conf_change(&change).unwrap();
    let output = node.work().unwrap();
    node.driver()
        .reject_conf_change(output.committed[0].index)
        .unwrap();
}
