//! Bytes of consensus and of stored rows, as etcd's packages write them.

use bytes::Bytes;
use cairn_proto::{
    leasepb::Lease,
    raftpb::{
        ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2,
        ConfState, Entry, EntryType, HardState, Message, MessageType, Snapshot, SnapshotMetadata,
    },
};

use crate::golden::check;

fn conf_change_entry() -> Entry {
    Entry {
        r#type: Some(EntryType::EntryConfChange.into()),
        term: Some(2),
        index: Some(3),
        data: Some(Bytes::from_static(b"d")),
    }
}

#[test]
fn entries_keep_what_was_set() {
    check("raftpb_entry", &conf_change_entry());
    let no_type = Entry {
        r#type: None,
        data: Some(Bytes::new()),
        ..conf_change_entry()
    };
    check("raftpb_entry_no_type", &no_type);
    let zeros = Entry {
        r#type: Some(0),
        term: Some(0),
        index: Some(0),
        data: None,
    };
    check("raftpb_entry_zeros", &zeros);
}

#[test]
fn messages_keep_what_was_set() {
    let to_from = Message {
        to: Some(1),
        from: Some(2),
        term: Some(3),
        ..Message::default()
    };
    check(
        "raftpb_append",
        &Message {
            r#type: Some(MessageType::MsgApp.into()),
            log_term: Some(0),
            index: Some(5),
            entries: vec![conf_change_entry(), Entry::default()],
            commit: Some(0),
            ..to_from.clone()
        },
    );
    check(
        "raftpb_vote",
        &Message {
            r#type: Some(MessageType::MsgVote.into()),
            log_term: Some(2),
            index: Some(9),
            context: Some(Bytes::from_static(b"CampaignTransfer")),
            ..to_from.clone()
        },
    );
    check(
        "raftpb_storage_append",
        &Message {
            r#type: Some(MessageType::MsgStorageAppend.into()),
            vote: Some(0),
            responses: vec![Message {
                reject: Some(true),
                reject_hint: Some(7),
                ..Message::default()
            }],
            ..Message::default()
        },
    );
    check(
        "raftpb_heartbeat_zeros",
        &Message {
            r#type: Some(MessageType::MsgHeartbeat.into()),
            log_term: Some(0),
            index: Some(0),
            commit: Some(4),
            reject: Some(false),
            reject_hint: Some(0),
            vote: Some(0),
            ..to_from
        },
    );
}

#[test]
fn snapshots_carry_the_members() {
    let members = ConfState {
        voters: vec![1, 1 << 63],
        learners: vec![3],
        voters_outgoing: vec![1],
        learners_next: vec![4],
        auto_leave: Some(false),
    };
    let metadata = SnapshotMetadata {
        conf_state: Some(members),
        index: Some(100),
        term: Some(6),
    };
    let snapshot = Snapshot {
        data: Some(Bytes::from_static(b"s")),
        metadata: Some(metadata),
    };
    let kind = Some(MessageType::MsgSnap.into());
    let message = Message {
        r#type: kind,
        snapshot: Some(snapshot),
        ..Message::default()
    };
    check("raftpb_snapshot", &message);

    let members = ConfState {
        voters: vec![1, 2],
        auto_leave: Some(false),
        ..ConfState::default()
    };
    check("raftpb_conf_state_zeros", &members);
    let nobody = ConfState {
        auto_leave: Some(false),
        ..ConfState::default()
    };
    let metadata = SnapshotMetadata {
        conf_state: Some(nobody),
        index: Some(0),
        term: Some(0),
    };
    check(
        "raftpb_snapshot_zeros",
        &Snapshot {
            data: None,
            metadata: Some(metadata),
        },
    );
}

#[test]
fn hard_states_keep_their_zeros() {
    check(
        "raftpb_hard_state",
        &HardState {
            term: Some(6),
            vote: Some(0),
            commit: Some(100),
        },
    );
    check(
        "raftpb_hard_state_zeros",
        &HardState {
            term: Some(1),
            vote: Some(0),
            commit: Some(0),
        },
    );
}

#[test]
fn changes_of_members() {
    check(
        "raftpb_conf_change",
        &ConfChange {
            id: Some(1),
            r#type: Some(ConfChangeType::ConfChangeAddNode.into()),
            node_id: Some(5),
            context: Some(Bytes::from_static(b"{}")),
        },
    );
    check(
        "raftpb_conf_change_zeros",
        &ConfChange {
            id: Some(0),
            r#type: Some(0),
            node_id: Some(5),
            context: None,
        },
    );
    let learner = ConfChangeType::ConfChangeAddLearnerNode.into();
    check(
        "raftpb_conf_change_v2",
        &ConfChangeV2 {
            transition: Some(ConfChangeTransition::JointExplicit.into()),
            changes: vec![
                ConfChangeSingle {
                    r#type: Some(learner),
                    node_id: Some(5),
                },
                ConfChangeSingle {
                    r#type: None,
                    node_id: Some(6),
                },
            ],
            context: Some(Bytes::from_static(b"c")),
        },
    );
}

#[test]
fn stored_leases() {
    check(
        "lease_stored",
        &Lease {
            id: 3,
            ttl: 60,
            remaining_ttl: 30,
        },
    );
}
