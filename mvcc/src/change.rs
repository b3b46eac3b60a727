//! What a write changed, as watchers get to see it.

use bytes::Bytes;
use cairn_index::{FullRevision, Version};

use crate::stored_kv::{self, KvFields};

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whether the key was written or deleted.
    pub kind: ChangeKind,
    /// The key.
    pub key: Bytes,
    /// The encoded `mvccpb.KeyValue`: as stored for a put, key and mod revision for a deletion.
    pub kv: Bytes,
    /// When the key changed.
    pub at: FullRevision,
    /// Whether the change created the key.
    pub created: bool,
    /// The change that this one replaced, if the key was live and history reaches back to it.
    pub previous: Option<FullRevision>,
}

/// Whether a key was written or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The key was written.
    Put,
    /// The key was deleted.
    Delete,
}

impl Change {
    /// A put, by its encoded bytes and what is known of it.
    pub(crate) fn put(
        kv: Bytes,
        key_len: usize,
        version: Version,
        at: FullRevision,
        previous: Option<FullRevision>,
    ) -> Self {
        Self {
            kind: ChangeKind::Put,
            key: stored_kv::key_of(&kv, key_len),
            kv,
            at,
            created: version == Version::FIRST,
            previous,
        }
    }

    pub(crate) fn delete(key: &[u8], at: FullRevision, previous: Option<FullRevision>) -> Self {
        let kv = stored_kv::encode(&KvFields {
            modified: at.main.to_wire(),
            ..KvFields::of_key(key)
        });
        Self {
            kind: ChangeKind::Delete,
            key: stored_kv::key_of(&kv, key.len()),
            kv,
            at,
            created: false,
            previous,
        }
    }
}
