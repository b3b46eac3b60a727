//! Who takes part, and how that changes.

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb;

use crate::member_id::MemberId;

/// etcd's number for a change that leaves roles alone; raft-rs has no name for it.
const UPDATE_ON_WIRE: i32 = 2;

/// What a configuration change does to its member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConfChangeKind {
    /// Makes it a voter: a new member, or a learner that is promoted.
    AddVoter,
    /// Removes it.
    Remove,
    /// Changes only what the application knows of it.
    Update,
    /// Adds it without a vote.
    AddLearner,
}

/// A change of the configuration, as it is replicated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfChange {
    /// The proposer's mark, to recognise its change by.
    pub id: u64,
    /// What is done.
    pub kind: ConfChangeKind,
    /// To whom.
    pub member: MemberId,
    /// The application's: for Cairn, the member's description.
    pub context: Bytes,
}

impl ConfChange {
    /// The change as etcd's `raftpb.ConfChange`.
    pub(crate) fn encode(&self) -> Bytes {
        let mut message = eraftpb::ConfChange {
            id: self.id,
            node_id: self.member.get(),
            context: self.context.clone(),
            ..eraftpb::ConfChange::default()
        };
        message.change_type = match self.kind {
            ConfChangeKind::AddVoter => eraftpb::ConfChangeType::AddNode.into(),
            ConfChangeKind::Remove => eraftpb::ConfChangeType::RemoveNode.into(),
            ConfChangeKind::Update => UPDATE_ON_WIRE,
            ConfChangeKind::AddLearner => eraftpb::ConfChangeType::AddLearnerNode.into(),
        };
        message.encode_to_vec().into()
    }

    /// The change as an entry that has no place yet.
    pub(crate) fn to_entry(&self) -> eraftpb::Entry {
        let mut entry = eraftpb::Entry {
            data: self.encode(),
            ..eraftpb::Entry::default()
        };
        entry.set_entry_type(eraftpb::EntryType::EntryConfChange);
        entry
    }

    /// Reads etcd's `raftpb.ConfChange`, which is what the log holds.
    ///
    /// # Errors
    ///
    /// [`UnreadableConfChange`].
    pub fn decode(bytes: Bytes) -> Result<Self, UnreadableConfChange> {
        let message = eraftpb::ConfChange::decode(bytes)?;
        let number = message.change_type;
        let kind = match eraftpb::ConfChangeType::try_from(number) {
            Ok(eraftpb::ConfChangeType::AddNode) => ConfChangeKind::AddVoter,
            Ok(eraftpb::ConfChangeType::RemoveNode) => ConfChangeKind::Remove,
            Ok(eraftpb::ConfChangeType::AddLearnerNode) => ConfChangeKind::AddLearner,
            Err(_) if number == UPDATE_ON_WIRE => ConfChangeKind::Update,
            Err(_) => return Err(UnreadableConfChange::Kind { number }),
        };
        let member = MemberId::from_wire(message.node_id).ok_or(UnreadableConfChange::NoMember)?;
        Ok(Self {
            id: message.id,
            kind,
            member,
            context: message.context,
        })
    }

    /// What raft is to do; `None` if nothing.
    pub(crate) fn for_raft(&self) -> Option<eraftpb::ConfChange> {
        let change_type = match self.kind {
            ConfChangeKind::AddVoter => eraftpb::ConfChangeType::AddNode,
            ConfChangeKind::Remove => eraftpb::ConfChangeType::RemoveNode,
            ConfChangeKind::AddLearner => eraftpb::ConfChangeType::AddLearnerNode,
            ConfChangeKind::Update => return None,
        };
        Some(eraftpb::ConfChange {
            id: self.id,
            change_type: change_type.into(),
            node_id: self.member.get(),
            context: Bytes::new(),
        })
    }
}

/// Bytes that are no configuration change of ours.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableConfChange {
    /// Not such a message at all.
    #[error("configuration change is not well formed")]
    Malformed(#[from] prost::DecodeError),
    /// A change of a kind that is not known.
    #[error("configuration change of unknown kind {number}")]
    Kind {
        /// The kind.
        number: i32,
    },
    /// A change of nobody.
    #[error("configuration change without a member")]
    NoMember,
}

/// Who votes and who learns.
///
/// Invariants:
/// 1. Each list is sorted and names nobody twice.
/// 2. Nobody is in two lists, except that `learners_next` are `voters_outgoing`.
/// 3. `learners_next` and `auto_leave` are empty and false unless `voters_outgoing` is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfState {
    /// The voters.
    pub voters: Vec<MemberId>,
    /// The learners.
    pub learners: Vec<MemberId>,
    /// The voters of the configuration that is being left; empty unless joint.
    pub voters_outgoing: Vec<MemberId>,
    /// The voters that become learners when the joint configuration is left.
    pub learners_next: Vec<MemberId>,
    /// Whether a joint configuration is left by itself.
    pub auto_leave: bool,
}

impl ConfState {
    /// The configuration of these voters and no learners.
    #[must_use]
    pub fn of_voters(voters: impl IntoIterator<Item = MemberId>) -> Self {
        let mut voters: Vec<_> = voters.into_iter().collect();
        voters.sort_unstable();
        voters.dedup();
        Self {
            voters,
            ..Self::default()
        }
    }

    /// Whether `member` alone decides.
    #[must_use]
    pub fn is_sole_voter(&self, member: MemberId) -> bool {
        self.voters == [member] && self.voters_outgoing.is_empty()
    }

    pub(crate) fn from_raft(state: &eraftpb::ConfState) -> Option<Self> {
        let members = |ids: &[u64]| {
            let members: Option<Vec<_>> = ids.iter().map(|id| MemberId::from_wire(*id)).collect();
            members.map(|mut members| {
                members.sort_unstable();
                members
            })
        };
        let state = Self {
            voters: members(&state.voters)?,
            learners: members(&state.learners)?,
            voters_outgoing: members(&state.voters_outgoing)?,
            learners_next: members(&state.learners_next)?,
            auto_leave: state.auto_leave,
        };
        state.is_consistent().then_some(state)
    }

    pub(crate) fn to_raft(&self) -> eraftpb::ConfState {
        let ids = |members: &[MemberId]| members.iter().map(|member| member.get()).collect();
        eraftpb::ConfState {
            voters: ids(&self.voters),
            learners: ids(&self.learners),
            voters_outgoing: ids(&self.voters_outgoing),
            learners_next: ids(&self.learners_next),
            auto_leave: self.auto_leave,
        }
    }

    /// Whether the invariants hold.
    pub(crate) fn is_consistent(&self) -> bool {
        let lists = [
            &self.voters,
            &self.learners,
            &self.voters_outgoing,
            &self.learners_next,
        ];
        let sorted = lists.iter().all(|list| list.is_sorted_by(|a, b| a < b));
        let joint = !self.voters_outgoing.is_empty();
        let learner_votes = self
            .learners
            .iter()
            .any(|learner| self.voters.contains(learner) || self.voters_outgoing.contains(learner));
        let next_vote = self
            .learners_next
            .iter()
            .all(|next| self.voters_outgoing.contains(next));
        sorted && !learner_votes && next_vote && (joint || !self.auto_leave)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64) -> MemberId {
        MemberId::from_wire(id).unwrap()
    }

    #[test]
    fn changes_are_written_as_etcd_writes_them() {
        let change = |kind| ConfChange {
            id: 5,
            kind,
            member: member(0x2a),
            context: Bytes::from_static(b"{}"),
        };
        for (kind, number) in [
            (ConfChangeKind::AddVoter, None),
            (ConfChangeKind::Remove, Some(1)),
            (ConfChangeKind::Update, Some(2)),
            (ConfChangeKind::AddLearner, Some(3)),
        ] {
            let mut expected = vec![0x08, 5];
            if let Some(number) = number {
                expected.extend([0x10, number]);
            }
            expected.extend([0x18, 0x2a, 0x22, 2, b'{', b'}']);
            assert_eq!(change(kind).encode(), expected);
            assert_eq!(ConfChange::decode(expected.into()).unwrap(), change(kind));
        }
        assert!(matches!(
            ConfChange::decode(Bytes::from_static(&[0x10, 4, 0x18, 1])),
            Err(UnreadableConfChange::Kind { number: 4 })
        ));
        assert!(matches!(
            ConfChange::decode(Bytes::from_static(&[0x10, 1])),
            Err(UnreadableConfChange::NoMember)
        ));
    }

    #[test]
    fn a_configuration_that_contradicts_itself_is_refused() {
        let good = eraftpb::ConfState::from(([2, 1], [3]));
        assert_eq!(
            ConfState::from_raft(&good).unwrap().voters,
            [member(1), member(2)],
            "members are sorted"
        );
        for bad in [
            eraftpb::ConfState::from(([1, 1], [])),
            eraftpb::ConfState::from(([0], [])),
            eraftpb::ConfState::from(([1], [1])),
            eraftpb::ConfState {
                auto_leave: true,
                ..eraftpb::ConfState::from(([1], []))
            },
            eraftpb::ConfState {
                learners_next: vec![4],
                ..eraftpb::ConfState::from(([1], []))
            },
        ] {
            assert_eq!(ConfState::from_raft(&bad), None, "{bad:?}");
        }
    }
}
