//! Messages that no member of ours sends: none of them may stop one.

use std::sync::Arc;

use bytes::Bytes;
use cairn_consensus::disk::FaultDisk;
use cairn_consensus::{Contradiction, LogIndex, MemberId, Node, Role, StepError, Term};
use cairn_proto::raftpb;
use proptest::prelude::*;

use crate::application::{Application, first_members, identity, settle, short_segments};

fn follower() -> (Node, Application) {
    let disk = Arc::new(FaultDisk::new(1));
    let mut application = Application::default();
    let options = application.options(short_segments());
    Node::create(
        disk.clone(),
        identity(1),
        &first_members(&[1, 2, 3]),
        &options,
    )
    .unwrap();
    let mut node = Node::open(disk, &options).unwrap();
    settle(&mut node, &mut application).unwrap();
    (node, application)
}

fn message(kind: raftpb::MessageType, term: u64) -> raftpb::Message {
    raftpb::Message {
        r#type: Some(kind.into()),
        from: Some(2),
        to: Some(1),
        term: Some(term),
        ..raftpb::Message::default()
    }
}

fn entry(index: u64, term: u64) -> raftpb::Entry {
    let data = Some(Bytes::from_static(b"data"));
    raftpb::Entry {
        index: Some(index),
        term: Some(term),
        r#type: Some(0),
        data,
    }
}

fn reason(result: Result<(), StepError>) -> &'static str {
    match result {
        Err(StepError::Impossible { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_raft_would_panic_at_is_refused_with_a_reason() {
    use raftpb::MessageType as Type;
    let (mut node, _) = follower();
    let driver = node.driver();
    let gap = raftpb::Message {
        index: Some(3),
        log_term: Some(1),
        entries: vec![entry(5, 2)],
        ..message(Type::MsgApp, 2)
    };
    assert_eq!(reason(driver.step(gap)), "entries are not consecutive");
    let back = raftpb::Message {
        index: Some(3),
        log_term: Some(1),
        entries: vec![entry(4, 2), entry(5, 1)],
        ..message(Type::MsgApp, 2)
    };
    assert_eq!(reason(driver.step(back)), "terms of entries do not rise");
    assert_eq!(
        reason(driver.step(message(Type::MsgProp, 0))),
        "proposes nothing"
    );
    assert_eq!(
        reason(driver.step(message(Type::MsgReadIndex, 0))),
        "a read is one entry"
    );
    assert_eq!(
        reason(driver.step(message(Type::MsgVote, 0))),
        "only what is passed on to a leader is without a term"
    );
    assert_eq!(
        reason(driver.step(message(Type::MsgSnap, 2))),
        "a snapshot of no place in the log"
    );
    assert_eq!(
        reason(driver.step(message(Type::MsgHup, 2))),
        "it never leaves a member"
    );
    let stranger = raftpb::Message {
        to: Some(3),
        ..message(Type::MsgHeartbeat, 2)
    };
    assert!(matches!(
        driver.step(stranger),
        Err(StepError::Address { from: 2, to: 3 })
    ));
    let storage = message(Type::MsgStorageAppend, 2);
    assert!(matches!(
        driver.step(storage),
        Err(StepError::Unreadable(_))
    ));
}

fn contradiction(result: Result<(), StepError>) -> Contradiction {
    match result {
        Err(StepError::Contradiction { contradiction, .. }) => contradiction,
        other => panic!("{other:?}"),
    }
}

fn index(index: u64) -> LogIndex {
    LogIndex::new(index)
}

/// The entries that began the cluster are committed: three, of term 1.
#[test]
fn a_leader_that_has_other_entries_than_those_committed_here_is_no_leader() {
    use raftpb::MessageType as Type;
    let other_third = Contradiction::CommittedEntry {
        index: index(3),
        ours: Term::new(1),
        theirs: Term::new(2),
    };
    let append = |index, log_term, entries| raftpb::Message {
        index: Some(index),
        log_term: Some(log_term),
        entries,
        ..message(Type::MsgApp, 2)
    };
    let snapshot = raftpb::Message {
        snapshot: Some(raftpb::Snapshot {
            data: None,
            metadata: Some(raftpb::SnapshotMetadata {
                conf_state: Some(raftpb::ConfState {
                    voters: vec![1, 2, 3],
                    ..raftpb::ConfState::default()
                }),
                index: Some(3),
                term: Some(2),
            }),
        }),
        ..message(Type::MsgSnap, 2)
    };
    for message in [
        append(3, 2, Vec::new()),
        append(2, 1, vec![entry(3, 2)]),
        snapshot,
    ] {
        let (mut node, _) = follower();
        let shown = contradiction(node.driver().step(message));
        assert_eq!(shown, other_third);
        assert!(shown.stops_this_member());
    }
}

/// The story: a directory was put back. The leader knows what was acknowledged from it.
#[test]
fn a_commit_beyond_the_log_shows_that_it_went_back() {
    let (mut node, _) = follower();
    let heartbeat = |commit, term| raftpb::Message {
        commit: Some(commit),
        ..message(raftpb::MessageType::MsgHeartbeat, term)
    };
    assert!(node.driver().step(heartbeat(3, 2)).is_ok());
    let shown = contradiction(node.driver().step(heartbeat(4, 2)));
    let (commit, last) = (index(4), index(3));
    assert_eq!(shown, Contradiction::CommitBeyondLog { commit, last });
    assert!(shown.stops_this_member());
    assert!(
        node.driver().step(heartbeat(4, 1)).is_ok(),
        "an earlier leader's knowledge proves nothing"
    );
}

#[test]
fn two_leaders_of_one_term_show_that_somebody_has_voted_twice() {
    let (mut node, _) = follower();
    let of = |from| raftpb::Message {
        from: Some(from),
        ..message(raftpb::MessageType::MsgHeartbeat, 2)
    };
    assert!(node.driver().step(of(2)).is_ok());
    assert!(node.driver().step(of(2)).is_ok());
    let known = MemberId::from_wire(2).unwrap();
    let shown = contradiction(node.driver().step(of(3)));
    assert_eq!(shown, Contradiction::TwoLeaders { known });
}

/// The story: a majority has forgotten what this follower knows to be committed. Whoever leads must
/// not count it, also when its own log has become as long.
#[test]
fn a_leader_counts_nothing_from_who_has_acknowledged_more_than_its_log_has() {
    use raftpb::MessageType as Type;
    let (mut node, mut application) = follower();
    lead(&mut node, &mut application);
    let term = node.status().leadership.term.get();
    let last = node.status().last;
    let acknowledges = |index| raftpb::Message {
        index: Some(index),
        ..message(Type::MsgAppResp, term)
    };
    let beyond = last.get() + 1;
    let shown = contradiction(node.driver().step(acknowledges(beyond)));
    let expected = Contradiction::AcknowledgedBeyondLog {
        index: index(beyond),
        last,
    };
    assert_eq!(shown, expected);
    assert!(!shown.stops_this_member());
    node.driver().propose(Bytes::from_static(b"x")).unwrap();
    settle(&mut node, &mut application).unwrap();
    let refused = node.driver().step(acknowledges(beyond));
    assert!(matches!(refused, Err(StepError::Distrusted)), "{refused:?}");
    assert!(node.status().commit < index(beyond));
    let third = raftpb::Message {
        from: Some(3),
        ..acknowledges(beyond)
    };
    node.driver().step(third).unwrap();
    assert_eq!(node.status().commit, index(beyond));
}

/// Lets a member win an election by the vote of member 2.
fn lead(node: &mut Node, application: &mut Application) {
    let votes = [
        raftpb::MessageType::MsgPreVoteResp,
        raftpb::MessageType::MsgVoteResp,
    ];
    for kind in votes {
        while node.status().leadership.role == Role::Follower {
            node.driver().tick();
        }
        settle(node, application).unwrap();
        let term = node.status().leadership.term.get();
        let is_asked = kind == raftpb::MessageType::MsgPreVoteResp;
        let vote = message(kind, term + u64::from(is_asked));
        node.driver().step(vote).unwrap();
        settle(node, application).unwrap();
    }
    assert_eq!(node.status().leadership.role, Role::Leader);
}

fn any_entry() -> impl Strategy<Value = raftpb::Entry> {
    (
        0..12_u64,
        0..5_u64,
        0..4_i32,
        prop::collection::vec(0..5_u8, 0..4),
    )
        .prop_map(|(index, term, kind, data)| raftpb::Entry {
            index: Some(index),
            term: Some(term),
            r#type: Some(kind),
            data: Some(data.into()),
        })
}

/// Entries that follow one another, so that some pass the checks.
fn consecutive() -> impl Strategy<Value = (u64, u64, Vec<raftpb::Entry>)> {
    (0..10_u64, 1..4_u64, 0..4_u64).prop_map(|(index, term, count)| {
        (
            index,
            term,
            (1..=count)
                .map(|after| entry(index + after, term))
                .collect(),
        )
    })
}

fn any_message() -> impl Strategy<Value = raftpb::Message> {
    let snapshot = (0..12_u64, 0..4_u64, prop::collection::vec(0..4_u64, 0..4)).prop_map(
        |(index, term, voters)| raftpb::Snapshot {
            data: None,
            metadata: Some(raftpb::SnapshotMetadata {
                conf_state: Some(raftpb::ConfState {
                    voters,
                    ..raftpb::ConfState::default()
                }),
                index: Some(index),
                term: Some(term),
            }),
        },
    );
    let entries = prop_oneof![
        3 => consecutive(),
        1 => (0..12_u64, 0..5_u64, prop::collection::vec(any_entry(), 0..4)),
    ];
    (
        (0..24_i32, 0..4_u64, 0..5_u64, 0..12_u64),
        entries,
        (any::<bool>(), 0..12_u64),
        prop::option::of(snapshot),
        prop_oneof![
            Just(Bytes::new()),
            Just(Bytes::from_static(b"CampaignTransfer"))
        ],
    )
        .prop_map(
            |(head, (index, log_term, entries), reject, snapshot, context)| {
                let (kind, from, term, commit) = head;
                raftpb::Message {
                    r#type: Some(kind),
                    to: Some(1),
                    from: Some(from),
                    term: Some(term),
                    log_term: Some(log_term),
                    index: Some(index),
                    entries,
                    commit: Some(commit),
                    snapshot,
                    reject: Some(reject.0),
                    reject_hint: Some(reject.1),
                    context: Some(context),
                    ..raftpb::Message::default()
                }
            },
        )
}

#[derive(Clone, Debug)]
enum Input {
    Message(Box<raftpb::Message>),
    Tick(usize),
    Propose,
    Output,
    Vote,
}

proptest! {
    #[test]
    fn no_sequence_of_messages_stops_a_member(
        inputs in prop::collection::vec(
            prop_oneof![
                8 => any_message().prop_map(|message| Input::Message(Box::new(message))),
                2 => (1..25_usize).prop_map(Input::Tick),
                1 => Just(Input::Propose),
                3 => Just(Input::Output),
                3 => Just(Input::Vote),
            ],
            1..60,
        ),
    ) {
        let (mut node, mut application) = follower();
        for input in inputs {
            match input {
                Input::Message(message) => { let _ = node.driver().step(*message); }
                Input::Tick(count) => (0..count).for_each(|_| node.driver().tick()),
                Input::Propose => { let _ = node.driver().propose(Bytes::from_static(b"x")); }
                Input::Output => settle(&mut node, &mut application).unwrap(),
                // Whatever election this member holds, it wins.
                Input::Vote => {
                    let term = node.status().leadership.term.get();
                    for (kind, term) in [
                        (raftpb::MessageType::MsgPreVoteResp, term + 1),
                        (raftpb::MessageType::MsgVoteResp, term),
                    ] {
                        let _ = node.driver().step(message(kind, term));
                    }
                }
            }
        }
        settle(&mut node, &mut application).unwrap();
    }
}
