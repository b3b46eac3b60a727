//! What the v2 API answers.

use serde::Deserialize;

use crate::error::Error;

/// A key or a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// Its path; empty for the root.
    pub key: String,
    /// Its value; a directory has none.
    pub value: Option<String>,
    /// Whether it is a directory.
    pub dir: bool,
    /// What is in the directory.
    pub nodes: Vec<Self>,
    /// The index that created it.
    pub created_index: u64,
    /// The index that changed it last.
    pub modified_index: u64,
    /// When it ends, as RFC 3339 writes it.
    pub expiration: Option<String>,
    /// How many seconds it lives on.
    pub ttl: Option<i64>,
}

/// What a call did.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct V2Response {
    /// `get`, `set`, `create`, `update`, `delete`, `compareAndSwap`, `compareAndDelete`, `expire`.
    pub action: String,
    /// What is there now.
    #[serde(default)]
    pub node: Node,
    /// What was there before.
    #[serde(default)]
    pub prev_node: Option<Node>,
    /// The index of the store when it answered.
    #[serde(skip)]
    pub index: u64,
}

/// Why a v2 call failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum V2Error {
    /// The server's answer.
    #[error("{message} ({cause}), code {code}")]
    Etcd {
        /// etcd's number: 100 is a key that is not there, 101 a comparison that failed, 105 a key
        /// that is there, 401 a history that no longer has the index.
        code: u32,
        /// Its text.
        message: String,
        /// What it is about.
        cause: String,
        /// The index of the store.
        index: u64,
    },
    /// It did not come to an answer.
    #[error(transparent)]
    Client(Error),
}

impl V2Error {
    /// etcd's number of the error.
    #[must_use]
    pub fn etcd_code(&self) -> Option<u32> {
        match self {
            Self::Etcd { code, .. } => Some(*code),
            Self::Client(_) => None,
        }
    }
}

/// An error as it is on the wire.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireError {
    error_code: u32,
    message: String,
    #[serde(default)]
    cause: String,
    #[serde(default)]
    index: u64,
}

impl From<WireError> for V2Error {
    fn from(error: WireError) -> Self {
        Self::Etcd {
            code: error.error_code,
            message: error.message,
            cause: error.cause,
            index: error.index,
        }
    }
}
