//! Raft's messages to etcd's `raftpb` and back.
//!
//! Both have the same fields under the same numbers; `raftpb` says of each whether it is present.
//! So this moves fields and copies nothing. What raft-rs alone knows and is not used here stays
//! behind (priorities, requested snapshots), but for one field: the term of the commit index on
//! votes travels as `rejectHint`, which votes do not use. By it a candidate learns that it need not
//! ask a leader that has removed itself, and whose longer log would refuse it for ever.

use cairn_proto::raftpb;
use raft::eraftpb;

/// Why a message is none that members send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableMessage {
    /// It is of a type that is not known, or never leaves a member.
    #[error("message type {number} is not known")]
    Type {
        /// The type.
        number: i32,
    },
}

/// Adds `messages` to `to`, as the wire has them.
pub(crate) fn push_messages(messages: Vec<eraftpb::Message>, to: &mut Vec<raftpb::Message>) {
    to.extend(messages.into_iter().map(message_to_wire));
}

fn message_to_wire(message: eraftpb::Message) -> raftpb::Message {
    let hint = if is_of_a_vote(message.msg_type) {
        message.commit_term
    } else {
        message.reject_hint
    };
    raftpb::Message {
        r#type: Some(message.msg_type),
        to: Some(message.to),
        from: Some(message.from),
        term: Some(message.term),
        log_term: Some(message.log_term),
        index: Some(message.index),
        entries: message.entries.into_iter().map(entry_to_wire).collect(),
        commit: Some(message.commit),
        snapshot: message.snapshot.map(snapshot_to_wire),
        reject: Some(message.reject),
        reject_hint: Some(hint),
        context: (!message.context.is_empty()).then_some(message.context),
        ..raftpb::Message::default()
    }
}

pub(crate) fn message_from_wire(
    message: raftpb::Message,
) -> Result<eraftpb::Message, UnreadableMessage> {
    let number = message.r#type.unwrap_or_default();
    if eraftpb::MessageType::try_from(number).is_err() {
        return Err(UnreadableMessage::Type { number });
    }
    let hint = message.reject_hint.unwrap_or_default();
    let (reject_hint, commit_term) = if is_of_a_vote(number) {
        (0, hint)
    } else {
        (hint, 0)
    };
    Ok(eraftpb::Message {
        msg_type: number,
        to: message.to.unwrap_or_default(),
        from: message.from.unwrap_or_default(),
        term: message.term.unwrap_or_default(),
        log_term: message.log_term.unwrap_or_default(),
        index: message.index.unwrap_or_default(),
        entries: message.entries.into_iter().map(entry_from_wire).collect(),
        commit: message.commit.unwrap_or_default(),
        snapshot: message.snapshot.map(snapshot_from_wire),
        reject: message.reject.unwrap_or_default(),
        reject_hint,
        commit_term,
        context: message.context.unwrap_or_default(),
        ..eraftpb::Message::default()
    })
}

fn is_of_a_vote(number: i32) -> bool {
    use eraftpb::MessageType;

    matches!(
        MessageType::try_from(number),
        Ok(MessageType::MsgRequestVote
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgRequestPreVote
            | MessageType::MsgRequestPreVoteResponse)
    )
}

fn entry_to_wire(entry: eraftpb::Entry) -> raftpb::Entry {
    raftpb::Entry {
        term: Some(entry.term),
        index: Some(entry.index),
        r#type: Some(entry.entry_type),
        data: (!entry.data.is_empty()).then_some(entry.data),
    }
}

fn entry_from_wire(entry: raftpb::Entry) -> eraftpb::Entry {
    eraftpb::Entry {
        entry_type: entry.r#type.unwrap_or_default(),
        term: entry.term.unwrap_or_default(),
        index: entry.index.unwrap_or_default(),
        data: entry.data.unwrap_or_default(),
        ..eraftpb::Entry::default()
    }
}

fn snapshot_to_wire(snapshot: eraftpb::Snapshot) -> raftpb::Snapshot {
    raftpb::Snapshot {
        data: (!snapshot.data.is_empty()).then_some(snapshot.data),
        metadata: snapshot.metadata.map(|metadata| raftpb::SnapshotMetadata {
            conf_state: metadata.conf_state.map(|state| raftpb::ConfState {
                voters: state.voters,
                learners: state.learners,
                voters_outgoing: state.voters_outgoing,
                learners_next: state.learners_next,
                auto_leave: Some(state.auto_leave),
            }),
            index: Some(metadata.index),
            term: Some(metadata.term),
        }),
    }
}

fn snapshot_from_wire(snapshot: raftpb::Snapshot) -> eraftpb::Snapshot {
    eraftpb::Snapshot {
        data: snapshot.data.unwrap_or_default(),
        metadata: snapshot.metadata.map(|metadata| eraftpb::SnapshotMetadata {
            conf_state: metadata.conf_state.map(|state| eraftpb::ConfState {
                voters: state.voters,
                learners: state.learners,
                voters_outgoing: state.voters_outgoing,
                learners_next: state.learners_next,
                auto_leave: state.auto_leave.unwrap_or_default(),
            }),
            index: metadata.index.unwrap_or_default(),
            term: metadata.term.unwrap_or_default(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn message() -> eraftpb::Message {
        let entry = |index, data: &'static [u8]| eraftpb::Entry {
            index,
            term: 3,
            data: Bytes::from_static(data),
            ..eraftpb::Entry::default()
        };
        let mut message = eraftpb::Message {
            to: 1,
            from: 2,
            term: 3,
            log_term: 2,
            index: 7,
            entries: vec![entry(8, b"put"), entry(9, b"")],
            commit: 6,
            reject_hint: 5,
            context: Bytes::from_static(b"context"),
            snapshot: Some(eraftpb::Snapshot {
                data: Bytes::from_static(b"data"),
                metadata: Some(eraftpb::SnapshotMetadata {
                    conf_state: Some(eraftpb::ConfState::from(([1, 2], [3]))),
                    index: 4,
                    term: 1,
                }),
            }),
            ..eraftpb::Message::default()
        };
        message.set_msg_type(eraftpb::MessageType::MsgAppend);
        message
    }

    #[test]
    fn both_forms_have_the_same_bytes() {
        let wire = message_to_wire(message());
        assert_eq!(
            eraftpb::Message::decode(wire.encode_to_vec().as_slice()).unwrap(),
            message()
        );
        assert_eq!(
            raftpb::Message::decode(message().encode_to_vec().as_slice())
                .unwrap()
                .entries
                .len(),
            2
        );
        assert_eq!(message_from_wire(wire).unwrap(), message());
    }

    fn any_bytes() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..9).prop_map(Bytes::from)
    }

    fn any_entry() -> impl Strategy<Value = eraftpb::Entry> {
        (0..3_i32, any::<u64>(), any::<u64>(), any_bytes()).prop_map(
            |(entry_type, term, index, data)| eraftpb::Entry {
                entry_type,
                term,
                index,
                data,
                ..eraftpb::Entry::default()
            },
        )
    }

    fn any_snapshot() -> impl Strategy<Value = eraftpb::Snapshot> {
        let members = || prop::collection::vec(any::<u64>(), 0..4);
        let group = (members(), members(), members(), members(), any::<bool>()).prop_map(
            |(voters, learners, voters_outgoing, learners_next, auto_leave)| eraftpb::ConfState {
                voters,
                learners,
                voters_outgoing,
                learners_next,
                auto_leave,
            },
        );
        let metadata = (prop::option::of(group), any::<u64>(), any::<u64>()).prop_map(
            |(conf_state, index, term)| eraftpb::SnapshotMetadata {
                conf_state,
                index,
                term,
            },
        );
        (any_bytes(), prop::option::of(metadata))
            .prop_map(|(data, metadata)| eraftpb::Snapshot { data, metadata })
    }

    /// Any message with the fields that etcd's has.
    fn any_message() -> impl Strategy<Value = eraftpb::Message> {
        let head = (0..19_i32, any::<u64>(), any::<u64>(), any::<u64>());
        let place = (any::<u64>(), any::<u64>(), any::<u64>());
        let answer = (any::<bool>(), any::<u64>(), any_bytes());
        let entries = prop::collection::vec(any_entry(), 0..4);
        (
            head,
            place,
            answer,
            entries,
            prop::option::of(any_snapshot()),
        )
            .prop_map(
                |(head, (log_term, index, commit), answer, entries, snapshot)| eraftpb::Message {
                    msg_type: head.0,
                    to: head.1,
                    from: head.2,
                    term: head.3,
                    log_term,
                    index,
                    entries,
                    commit,
                    snapshot,
                    reject: answer.0,
                    reject_hint: if is_of_a_vote(head.0) { 0 } else { answer.1 },
                    commit_term: if is_of_a_vote(head.0) { answer.1 } else { 0 },
                    context: answer.2,
                    ..eraftpb::Message::default()
                },
            )
    }

    proptest! {
        #[test]
        fn nothing_is_lost_on_the_way(message in any_message()) {
            let wire = message_to_wire(message.clone());
            let bytes = wire.encode_to_vec();
            let arrived = raftpb::Message::decode(bytes.as_slice()).unwrap();
            prop_assert_eq!(&arrived, &wire);
            prop_assert_eq!(message_from_wire(arrived).unwrap(), message.clone());
            // Who reads etcd's bytes as raft-rs does finds the same, but for the term on votes.
            let (reject_hint, commit_term) = (wire.reject_hint.unwrap(), 0);
            let read = eraftpb::Message { reject_hint, commit_term, ..message };
            prop_assert_eq!(eraftpb::Message::decode(bytes.as_slice()).unwrap(), read);
        }
    }

    #[test]
    fn types_that_raft_does_not_know_are_refused() {
        let unknown = raftpb::Message {
            r#type: Some(19),
            ..raftpb::Message::default()
        };
        assert_eq!(
            message_from_wire(unknown),
            Err(UnreadableMessage::Type { number: 19 })
        );
    }
}
