//! What a cache holds for a key, and how that changes.

use std::sync::Arc;

use bytes::Bytes;

use crate::kv::KeyValue;
use crate::revision::Revision;

/// A key in a cache: the key-value as the server has it, and what its value means.
#[derive(Debug)]
pub struct Entry<V> {
    kv: KeyValue,
    value: Result<V, String>,
}

impl<V> Entry<V> {
    pub(super) fn new(kv: KeyValue, value: Result<V, String>) -> Self {
        Self { kv, value }
    }

    /// The key-value as the server has it.
    #[must_use]
    pub fn kv(&self) -> &KeyValue {
        &self.kv
    }

    /// The value, if it could be decoded.
    #[must_use]
    pub fn value(&self) -> Option<&V> {
        self.value.as_ref().ok()
    }

    /// Why the value could not be decoded.
    #[must_use]
    pub fn decode_error(&self) -> Option<&str> {
        self.value.as_ref().err().map(String::as_str)
    }
}

/// Two entries are the same version of the same key.
impl<V> PartialEq for Entry<V> {
    fn eq(&self, other: &Self) -> bool {
        self.kv.mod_revision == other.kv.mod_revision && self.kv.key == other.kv.key
    }
}

impl<V> Eq for Entry<V> {}

/// One change of one key of a cache.
#[derive(Debug)]
pub enum Change<V> {
    /// The key was not there.
    Insert {
        /// What is there now.
        new: Arc<Entry<V>>,
    },
    /// The key was there with another version.
    Update {
        /// What was there.
        old: Arc<Entry<V>>,
        /// What is there now.
        new: Arc<Entry<V>>,
    },
    /// The key is gone.
    Delete {
        /// What was there.
        old: Arc<Entry<V>>,
        /// The revision that deleted it; unknown if it went unseen, while the server could not be
        /// reached and its history was compacted.
        revision: Option<Revision>,
    },
}

impl<V> Clone for Change<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Insert { new } => Self::Insert {
                new: Arc::clone(new),
            },
            Self::Update { old, new } => Self::Update {
                old: Arc::clone(old),
                new: Arc::clone(new),
            },
            Self::Delete { old, revision } => Self::Delete {
                old: Arc::clone(old),
                revision: *revision,
            },
        }
    }
}

impl<V> Change<V> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        &self.entry().kv.key
    }

    /// What was there before.
    #[must_use]
    pub fn old_entry(&self) -> Option<&Arc<Entry<V>>> {
        match self {
            Self::Insert { .. } => None,
            Self::Update { old, .. } | Self::Delete { old, .. } => Some(old),
        }
    }

    /// What is there now.
    #[must_use]
    pub fn new_entry(&self) -> Option<&Arc<Entry<V>>> {
        match self {
            Self::Insert { new } | Self::Update { new, .. } => Some(new),
            Self::Delete { .. } => None,
        }
    }

    /// What is there now, or what was there if the key is gone.
    #[must_use]
    pub fn entry(&self) -> &Arc<Entry<V>> {
        match self {
            Self::Insert { new } | Self::Update { new, .. } => new,
            Self::Delete { old, .. } => old,
        }
    }
}
