//! The messages of raft, named as raft-rs names them and numbered as etcd's `raftpb` numbers them.
//!
//! Where raft-rs has a field that etcd has not ([`Message::commit_term`],
//! [`Message::request_snapshot`], [`Message::priority`]), the number is one that etcd does not use,
//! so that an etcd-shaped reader skips it. `ConfChangeType` has no variant for etcd's
//! `ConfChangeUpdateNode` (2): raft-rs matches the enum exhaustively, and an update changes nothing
//! in raft; whoever applies changes looks at the raw number first.

use bytes::Bytes;

/// What an entry's data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum EntryType {
    /// The application's bytes, or nothing at the start of a term.
    EntryNormal = 0,
    /// A [`ConfChange`].
    EntryConfChange = 1,
    /// A [`ConfChangeV2`].
    EntryConfChangeV2 = 2,
}

/// An entry of the log.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Entry {
    /// An [`EntryType`].
    #[prost(enumeration = "EntryType", tag = "1")]
    pub entry_type: i32,
    /// The term in which the entry was proposed.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The entry's place in the log.
    #[prost(uint64, tag = "3")]
    pub index: u64,
    /// What is replicated.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
    /// raft-rs's own; never set by us.
    #[prost(bytes = "bytes", tag = "6")]
    pub context: Bytes,
}

/// What a snapshot covers.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct SnapshotMetadata {
    /// The configuration at `index`.
    #[prost(message, optional, tag = "1")]
    pub conf_state: Option<ConfState>,
    /// The last entry the snapshot contains.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// That entry's term.
    #[prost(uint64, tag = "3")]
    pub term: u64,
}

/// A snapshot, whose `data` the application defines.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Snapshot {
    /// The application's.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
    /// What it covers.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<SnapshotMetadata>,
}

impl Snapshot {
    /// Whether this stands for "no snapshot".
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.metadata.as_ref().is_none_or(|m| m.index == 0)
    }
}

/// What a message asks or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum MessageType {
    /// Local: stand for election.
    MsgHup = 0,
    /// Local: send heartbeats.
    MsgBeat = 1,
    /// A proposal on its way to the leader.
    MsgPropose = 2,
    /// Entries from the leader.
    MsgAppend = 3,
    /// The follower's answer to entries or a snapshot.
    MsgAppendResponse = 4,
    /// A candidate asks for a vote.
    MsgRequestVote = 5,
    /// The vote.
    MsgRequestVoteResponse = 6,
    /// A snapshot from the leader.
    MsgSnapshot = 7,
    /// The leader is alive.
    MsgHeartbeat = 8,
    /// So is the follower.
    MsgHeartbeatResponse = 9,
    /// Local: the last message did not reach its member.
    MsgUnreachable = 10,
    /// Local: how sending a snapshot ended.
    MsgSnapStatus = 11,
    /// Local: does a quorum still answer?
    MsgCheckQuorum = 12,
    /// Hand leadership over.
    MsgTransferLeader = 13,
    /// Stand for election at once.
    MsgTimeoutNow = 14,
    /// Ask for an index at which a linearizable read may be served.
    MsgReadIndex = 15,
    /// That index.
    MsgReadIndexResp = 16,
    /// Would you vote for me?
    MsgRequestPreVote = 17,
    /// The answer.
    MsgRequestPreVoteResponse = 18,
}

/// A message between members.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Message {
    /// A [`MessageType`].
    #[prost(enumeration = "MessageType", tag = "1")]
    pub msg_type: i32,
    /// The receiver.
    #[prost(uint64, tag = "2")]
    pub to: u64,
    /// The sender.
    #[prost(uint64, tag = "3")]
    pub from: u64,
    /// The sender's term; 0 for local messages.
    #[prost(uint64, tag = "4")]
    pub term: u64,
    /// The term of the entry at `index`.
    #[prost(uint64, tag = "5")]
    pub log_term: u64,
    /// The entry before `entries`, or the one that is acknowledged.
    #[prost(uint64, tag = "6")]
    pub index: u64,
    /// The entries after `index`.
    #[prost(message, repeated, tag = "7")]
    pub entries: Vec<Entry>,
    /// The sender's commit index.
    #[prost(uint64, tag = "8")]
    pub commit: u64,
    /// The snapshot of a `MsgSnapshot`.
    #[prost(message, optional, tag = "9")]
    pub snapshot: Option<Snapshot>,
    /// Whether the answer is no.
    #[prost(bool, tag = "10")]
    pub reject: bool,
    /// Where the leader should probe next.
    #[prost(uint64, tag = "11")]
    pub reject_hint: u64,
    /// The read request that a heartbeat confirms, or why a campaign started.
    #[prost(bytes = "bytes", tag = "12")]
    pub context: Bytes,
    /// The term of the entry at `commit`; raft-rs's own.
    #[prost(uint64, tag = "15")]
    pub commit_term: u64,
    /// The election priority; raft-rs's own.
    #[prost(int64, tag = "16")]
    pub priority: i64,
    /// The index of a snapshot that a follower asks for; raft-rs's own.
    #[prost(uint64, tag = "17")]
    pub request_snapshot: u64,
    /// An older form of `priority`; raft-rs's own.
    #[prost(uint64, tag = "18")]
    pub deprecated_priority: u64,
}

/// What a member must remember before it answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct HardState {
    /// The term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Whom the member voted for in it.
    #[prost(uint64, tag = "2")]
    pub vote: u64,
    /// The commit index.
    #[prost(uint64, tag = "3")]
    pub commit: u64,
}

/// How a change of several members at once is gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ConfChangeTransition {
    /// Simply where possible, else as `Implicit`.
    Auto = 0,
    /// Through a joint configuration that is left by itself.
    Implicit = 1,
    /// Through a joint configuration that the application leaves.
    Explicit = 2,
}

/// Who votes, and who only learns.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ConfState {
    /// The voters.
    #[prost(uint64, repeated, packed = "false", tag = "1")]
    pub voters: Vec<u64>,
    /// The learners.
    #[prost(uint64, repeated, packed = "false", tag = "2")]
    pub learners: Vec<u64>,
    /// The voters of the configuration that is being left; empty unless joint.
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    pub voters_outgoing: Vec<u64>,
    /// The voters that become learners when the joint configuration is left.
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    pub learners_next: Vec<u64>,
    /// Whether a joint configuration is left by itself.
    #[prost(bool, tag = "5")]
    pub auto_leave: bool,
}

impl<Voters, Learners> From<(Voters, Learners)> for ConfState
where
    Voters: IntoIterator<Item = u64>,
    Learners: IntoIterator<Item = u64>,
{
    fn from((voters, learners): (Voters, Learners)) -> Self {
        Self {
            voters: voters.into_iter().collect(),
            learners: learners.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// What a configuration change does to one member. See the module's words on number 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ConfChangeType {
    /// Makes it a voter.
    AddNode = 0,
    /// Removes it.
    RemoveNode = 1,
    /// Makes it a learner.
    AddLearnerNode = 3,
}

/// A change of one member.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ConfChange {
    /// The proposer's mark.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// A [`ConfChangeType`].
    #[prost(enumeration = "ConfChangeType", tag = "2")]
    pub change_type: i32,
    /// The member.
    #[prost(uint64, tag = "3")]
    pub node_id: u64,
    /// The application's.
    #[prost(bytes = "bytes", tag = "4")]
    pub context: Bytes,
}

/// One step of a [`ConfChangeV2`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct ConfChangeSingle {
    /// A [`ConfChangeType`].
    #[prost(enumeration = "ConfChangeType", tag = "1")]
    pub change_type: i32,
    /// The member.
    #[prost(uint64, tag = "2")]
    pub node_id: u64,
}

/// A change of any number of members.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct ConfChangeV2 {
    /// A [`ConfChangeTransition`].
    #[prost(enumeration = "ConfChangeTransition", tag = "1")]
    pub transition: i32,
    /// The steps; none leaves a joint configuration.
    #[prost(message, repeated, tag = "2")]
    pub changes: Vec<ConfChangeSingle>,
    /// The application's.
    #[prost(bytes = "bytes", tag = "3")]
    pub context: Bytes,
}

impl ConfChangeV2 {
    /// Whether the change goes through a joint configuration; if so, whether that one is left by
    /// itself.
    #[must_use]
    pub fn enter_joint(&self) -> Option<bool> {
        match self.transition() {
            ConfChangeTransition::Auto if self.changes.len() <= 1 => None,
            ConfChangeTransition::Auto | ConfChangeTransition::Implicit => Some(true),
            ConfChangeTransition::Explicit => Some(false),
        }
    }

    /// Whether the change leaves a joint configuration.
    #[must_use]
    pub fn leave_joint(&self) -> bool {
        self.transition() == ConfChangeTransition::Auto && self.changes.is_empty()
    }
}
