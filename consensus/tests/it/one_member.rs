//! A cluster of one: what it acknowledged is there whatever happens.

use std::sync::Arc;

use bytes::Bytes;
use cairn_consensus::disk::{FaultDisk, Survival};
use cairn_consensus::{ReadContext, ReadReady, Role};

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
    let turn = node.turn().unwrap();
    assert_eq!(
        turn.committed.len(),
        3,
        "all of the batch is committed in its turn"
    );
    let syncs = disk.history()[usize::try_from(before).unwrap()..]
        .iter()
        .filter(|operation| **operation == cairn_consensus::disk::Operation::Sync)
        .count();
    assert_eq!(syncs, 1, "one sync for the batch");
    application.apply(&mut node, &turn);

    node.driver().read_index(ReadContext(7)).unwrap();
    let turn = node.turn().unwrap();
    let index = application.applied;
    assert_eq!(
        turn.reads,
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
