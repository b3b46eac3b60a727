//! What clients are told.

use serde::{Deserialize, Serialize};

use crate::{Data, KeyValue, LeaseId, Revision, Term, Time};

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Ok(Answer),
    /// It was surely not done, and never will be.
    Refused {
        /// When the client was told.
        at: Time,
        /// Why not.
        why: Refusal,
    },
    /// Nobody knows: it was done, or will be at any later time, or never.
    Unknown {
        /// When the client gave up; absent if it never did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Time>,
        /// What the client saw.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        error: String,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// When the client had it.
    pub at: Time,
    /// The header's revision; absent if 0, as answers are that are not about keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// The header's term; absent if 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<Term>,
    /// What it says.
    pub body: Response,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::Range`](crate::Request::Range).
    Range(RangeResponse),
    /// To [`Request::Put`](crate::Request::Put): the version before.
    Put(Option<KeyValue>),
    /// To [`Request::DeleteRange`](crate::Request::DeleteRange).
    DeleteRange(DeleteResponse),
    /// To [`Request::Txn`](crate::Request::Txn).
    Txn(TxnResponse),
    /// To [`Request::LeaseGrant`](crate::Request::LeaseGrant).
    LeaseGrant {
        /// The new lease.
        id: LeaseId,
        /// Time to live that was granted, in seconds.
        ttl_secs: i64,
    },
    /// To [`Request::LeaseKeepAlive`](crate::Request::LeaseKeepAlive): the time to live from now on
    /// in seconds; 0 or less says that there is no such lease.
    LeaseKeepAlive(i64),
    /// To [`Request::LeaseTimeToLive`](crate::Request::LeaseTimeToLive).
    LeaseTimeToLive {
        /// Seconds left; -1 says that there is no such lease.
        ttl_secs: i64,
        /// Seconds at the grant.
        granted_secs: i64,
        /// The attached keys, if they were asked for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<Data>,
    },
    /// To [`Request::Lock`](crate::Request::Lock): the key that is held.
    Lock(Data),
    /// To [`Request::HashKv`](crate::Request::HashKv).
    HashKv(HashKv),
    /// To everything that answers with a header alone.
    Done,
}

/// An answer to a read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RangeResponse {
    /// The key-values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kvs: Vec<KeyValue>,
    /// The limit left some out.
    #[serde(default)]
    pub more: bool,
    /// Keys in the range, whatever the limit.
    pub count: i64,
}

/// An answer to a deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeleteResponse {
    /// How many keys there were.
    pub deleted: i64,
    /// They, if asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prev_kvs: Vec<KeyValue>,
}

/// An answer to a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TxnResponse {
    /// All compares held.
    pub succeeded: bool,
    /// To each operation of the list that was done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub responses: Vec<TxnOpResponse>,
}

/// An answer to one operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TxnOpResponse {
    /// To a read.
    Range(RangeResponse),
    /// To a write: the version before.
    Put(Option<KeyValue>),
    /// To a deletion.
    DeleteRange(DeleteResponse),
    /// To a transaction within.
    Txn(TxnResponse),
}

/// A hash of what a member stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HashKv {
    /// The hash.
    pub hash: u32,
    /// The newest revision in it; absent where a server does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash_revision: Option<Revision>,
    /// History below is gone; absent if nothing was compacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compact_revision: Option<Revision>,
}

/// Why something was surely not done.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The revision is compacted.
    Compacted,
    /// The revision is not there yet.
    FutureRevision,
    /// A write that keeps the value or lease of a key that is absent.
    KeyNotFound,
    /// There is no such lease.
    LeaseNotFound,
    /// A lease of this ID is there already.
    LeaseExists,
    /// Anything else.
    Other(String),
}

impl Outcome {
    /// The answer, if there is one.
    #[must_use]
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Ok(answer) => Some(answer),
            Self::Refused { .. } | Self::Unknown { .. } => None,
        }
    }

    /// When the client knew, or gave up; what never ended, never.
    #[must_use]
    pub fn at(&self) -> Time {
        match self {
            Self::Ok(answer) => answer.at,
            Self::Refused { at, .. } => *at,
            Self::Unknown { at, .. } => at.unwrap_or(Time::NEVER),
        }
    }
}
