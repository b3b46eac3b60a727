//! The messages in etcd's log and `.snap` files: raft's, and etcd's own few. Names are etcd's.
//!
//! All fields are written, zero or not, as etcd did until 3.6 and everyone reads.

/// An entry of the log.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Entry {
    /// 0 normal, 1 configuration change, 2 the same in raft's newer form.
    #[prost(int32, optional, tag = "1")]
    pub kind: Option<i32>,
    /// The term it was proposed in.
    #[prost(uint64, optional, tag = "2")]
    pub term: Option<u64>,
    /// Its place.
    #[prost(uint64, optional, tag = "3")]
    pub index: Option<u64>,
    /// What it says.
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub data: Option<bytes::Bytes>,
}

/// What raft must remember.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct HardState {
    /// The latest term.
    #[prost(uint64, optional, tag = "1")]
    pub term: Option<u64>,
    /// Whom this member voted for in it; 0 is nobody.
    #[prost(uint64, optional, tag = "2")]
    pub vote: Option<u64>,
    /// The last entry known to be committed.
    #[prost(uint64, optional, tag = "3")]
    pub commit: Option<u64>,
}

/// Who takes part in raft.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ConfState {
    /// Members that vote.
    #[prost(uint64, repeated, packed = "false", tag = "1")]
    pub voters: Vec<u64>,
    /// Members that follow without a vote.
    #[prost(uint64, repeated, packed = "false", tag = "2")]
    pub learners: Vec<u64>,
    /// Members that voted before a joint change.
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    pub voters_outgoing: Vec<u64>,
    /// Members that become learners after a joint change.
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    pub learners_next: Vec<u64>,
    /// Whether a joint change ends by itself.
    #[prost(bool, optional, tag = "5")]
    pub auto_leave: Option<bool>,
}

/// What a snapshot stands for.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SnapshotMetadata {
    /// Who took part in raft.
    #[prost(message, optional, tag = "1")]
    pub conf_state: Option<ConfState>,
    /// The last entry in it.
    #[prost(uint64, optional, tag = "2")]
    pub index: Option<u64>,
    /// Its term.
    #[prost(uint64, optional, tag = "3")]
    pub term: Option<u64>,
}

/// A snapshot of raft.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Snapshot {
    /// The v2 store at the time, as JSON: the members, and v2 keys.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub data: Option<bytes::Bytes>,
    /// What it stands for.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<SnapshotMetadata>,
}

/// Whose log it is.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Metadata {
    /// The member.
    #[prost(uint64, optional, tag = "1")]
    pub member: Option<u64>,
    /// The cluster.
    #[prost(uint64, optional, tag = "2")]
    pub cluster: Option<u64>,
}

/// A snapshot as the log mentions it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SnapshotRecord {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) index: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) term: Option<u64>,
    /// Since etcd 3.5.
    #[prost(message, optional, tag = "3")]
    pub(crate) conf_state: Option<ConfState>,
}

/// A record of the log.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Record {
    #[prost(int64, optional, tag = "1")]
    pub(crate) kind: Option<i64>,
    #[prost(uint32, optional, tag = "2")]
    pub(crate) crc: Option<u32>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(crate) data: Option<bytes::Bytes>,
}

/// A `.snap` file.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SnapFile {
    #[prost(uint32, optional, tag = "1")]
    pub(crate) crc: Option<u32>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(crate) data: Option<bytes::Bytes>,
}
