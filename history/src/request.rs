//! What clients ask for.

use serde::{Deserialize, Serialize};

use crate::{Data, KeyRange, KeyValue, LeaseId, Revision};

/// A request of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Reads a range.
    Range(RangeRequest),
    /// Writes a key.
    Put(PutRequest),
    /// Deletes a range.
    DeleteRange(DeleteRequest),
    /// Compares, then does one of two lists.
    Txn(TxnRequest),
    /// Gives up history below a revision.
    Compact(Revision),
    /// Makes a lease; without an ID the store chooses.
    LeaseGrant {
        /// The ID that the client chose.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<LeaseId>,
        /// Time to live that is asked for, in seconds.
        ttl_secs: i64,
    },
    /// Ends a lease and deletes its keys.
    LeaseRevoke(LeaseId),
    /// Renews a lease: one message of the stream and its answer.
    LeaseKeepAlive(LeaseId),
    /// Asks how long a lease will live, and perhaps for its keys.
    LeaseTimeToLive {
        /// The lease.
        id: LeaseId,
        /// Whether the keys are wanted.
        keys: bool,
    },
    /// Acquires a lock: `v3lockpb.Lock`, waiting for it.
    Lock {
        /// The lock's name.
        name: Data,
        /// The session's lease.
        lease: LeaseId,
    },
    /// Releases a lock: deletes the key that `Lock` answered with.
    Unlock(Data),
    /// A hash of the history up to a revision, or up to the newest.
    HashKv(Option<Revision>),
    /// Anything that changes neither keys nor leases: `Status`, `Defragment`, `MoveLeader` and so on.
    Other(String),
}

/// A read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RangeRequest {
    /// What to read.
    pub range: KeyRange,
    /// A past revision to read at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// At most so many key-values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Any member may answer from what it has.
    #[serde(default, skip_serializing_if = "is_false")]
    pub serializable: bool,
    /// Without values.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keys_only: bool,
    /// Without key-values.
    #[serde(default, skip_serializing_if = "is_false")]
    pub count_only: bool,
    /// The order of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<Sort>,
    /// Bounds of the modification revision, both included.
    #[serde(default, skip_serializing_if = "Bounds::is_open")]
    pub mod_bounds: Bounds,
    /// Bounds of the create revision, both included.
    #[serde(default, skip_serializing_if = "Bounds::is_open")]
    pub create_bounds: Bounds,
}

/// An order other than that of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sort {
    /// What to compare.
    pub by: SortTarget,
    /// Largest first.
    pub descending: bool,
}

/// What an order compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortTarget {
    /// The key.
    Key,
    /// The version.
    Version,
    /// The create revision.
    Create,
    /// The modification revision.
    Mod,
    /// The value.
    Value,
}

/// Bounds of a revision, both included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bounds {
    /// Not below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Revision>,
    /// Not above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Revision>,
}

impl Bounds {
    /// Whether every revision is within.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.min.is_none() && self.max.is_none()
    }

    /// Whether the revision is within.
    #[must_use]
    pub fn contains(&self, revision: Revision) -> bool {
        self.min.is_none_or(|min| min <= revision) && self.max.is_none_or(|max| revision <= max)
    }
}

/// A write of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PutRequest {
    /// The key.
    pub key: Data,
    /// The value; of no account with `ignore_value`.
    #[serde(default, skip_serializing_if = "Data::is_empty")]
    pub value: Data,
    /// The lease to attach the key to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
    /// The version before is wanted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prev_kv: bool,
    /// Keep the value that is there.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignore_value: bool,
    /// Keep the lease that is there.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignore_lease: bool,
}

/// A deletion.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeleteRequest {
    /// What to delete.
    pub range: KeyRange,
    /// What was deleted is wanted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prev_kv: bool,
}

/// A transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TxnRequest {
    /// All must hold for `success` to be done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compares: Vec<Compare>,
    /// Done if all compares hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub success: Vec<TxnOp>,
    /// Done otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure: Vec<TxnOp>,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TxnOp {
    /// Reads a range.
    Range(RangeRequest),
    /// Writes a key.
    Put(PutRequest),
    /// Deletes a range.
    DeleteRange(DeleteRequest),
    /// A transaction within the transaction.
    Txn(TxnRequest),
}

/// A condition on every key of a range; of one key that is absent, on zeros.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Compare {
    /// Which keys.
    pub range: KeyRange,
    /// How what is stored stands to the operand.
    pub is: Comparison,
    /// What is compared, and with what.
    pub operand: Operand,
}

/// How what is stored stands to the operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// The same.
    Equal,
    /// Larger.
    Greater,
    /// Smaller.
    Less,
    /// Not the same.
    NotEqual,
}

/// What a condition compares, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operand {
    /// The version.
    Version(i64),
    /// The create revision.
    Create(i64),
    /// The modification revision.
    Mod(i64),
    /// The value.
    Value(Data),
    /// The lease, 0 for none.
    Lease(i64),
}

impl Request {
    /// A write without options.
    pub fn put(key: impl Into<Data>, value: impl Into<Data>) -> Self {
        Self::Put(PutRequest::new(key, value))
    }

    /// A linearizable read of one key.
    pub fn get(key: impl Into<Data>) -> Self {
        Self::Range(RangeRequest::new(KeyRange::One(key.into())))
    }

    /// A linearizable read of a range.
    #[must_use]
    pub fn range(range: KeyRange) -> Self {
        Self::Range(RangeRequest::new(range))
    }

    /// A deletion of one key.
    pub fn delete(key: impl Into<Data>) -> Self {
        Self::DeleteRange(DeleteRequest::new(KeyRange::One(key.into())))
    }

    /// Whether it may write this value under this key.
    pub(crate) fn puts(&self, kv: &KeyValue) -> bool {
        match self {
            Self::Put(put) => put.puts(kv),
            Self::Txn(txn) => txn.puts(kv),
            _ => false,
        }
    }

    /// Whether it may change keys. A failed one that cannot is of no consequence.
    #[must_use]
    pub fn may_write(&self) -> bool {
        match self {
            Self::Put(_)
            | Self::DeleteRange(_)
            | Self::LeaseRevoke(_)
            | Self::Lock { .. }
            | Self::Unlock(_) => true,
            Self::Txn(txn) => txn.may_write(),
            Self::Range(_)
            | Self::Compact(_)
            | Self::LeaseGrant { .. }
            | Self::LeaseKeepAlive(_)
            | Self::LeaseTimeToLive { .. }
            | Self::HashKv(_)
            | Self::Other(_) => false,
        }
    }
}

impl RangeRequest {
    /// A linearizable read of the newest state, without options.
    #[must_use]
    pub fn new(range: KeyRange) -> Self {
        Self {
            range,
            revision: None,
            limit: None,
            serializable: false,
            keys_only: false,
            count_only: false,
            sort: None,
            mod_bounds: Bounds::default(),
            create_bounds: Bounds::default(),
        }
    }
}

impl PutRequest {
    /// A write without options.
    pub fn new(key: impl Into<Data>, value: impl Into<Data>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            lease: None,
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        }
    }
}

impl PutRequest {
    fn puts(&self, kv: &KeyValue) -> bool {
        self.key == kv.key && (self.ignore_value || self.value == kv.value)
    }
}

impl DeleteRequest {
    /// A deletion without options.
    #[must_use]
    pub fn new(range: KeyRange) -> Self {
        Self {
            range,
            prev_kv: false,
        }
    }
}

impl TxnRequest {
    /// Whether one of its lists, or of theirs, holds a write.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.ops().any(|op| match op {
            TxnOp::Range(_) => false,
            TxnOp::Put(_) | TxnOp::DeleteRange(_) => true,
            TxnOp::Txn(txn) => txn.may_write(),
        })
    }

    /// Whether any member may answer from what it has. So it is when there is nothing but reads
    /// that say so; a transaction within always goes through the log.
    #[must_use]
    pub fn is_serializable(&self) -> bool {
        self.ops()
            .all(|op| matches!(op, TxnOp::Range(range) if range.serializable))
    }

    fn puts(&self, kv: &KeyValue) -> bool {
        self.ops().any(|op| match op {
            TxnOp::Put(put) => put.puts(kv),
            TxnOp::Txn(txn) => txn.puts(kv),
            TxnOp::Range(_) | TxnOp::DeleteRange(_) => false,
        })
    }

    fn ops(&self) -> impl Iterator<Item = &TxnOp> {
        self.success.iter().chain(&self.failure)
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}
