//! What the index says of a key at a revision.

use crate::revision::{FullRevision, Revision, Version};

/// One version of a key: which change wrote it, and where it stands in the key's life.
///
/// Stored `KeyValue`s carry the same facts, so an index can be rebuilt from them. They carry no
/// sub-revision of the creation, and none is kept here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyVersion {
    /// The change that wrote this version; its value is stored under this revision.
    pub modified: FullRevision,
    /// The transaction that created the key, after it was last deleted.
    pub created: Revision,
    /// How many times the key was written since it was created.
    pub version: Version,
}

impl KeyVersion {
    /// The first version of a key that `at` creates.
    #[must_use]
    pub const fn created_by(at: FullRevision) -> Self {
        Self {
            modified: at,
            created: at.main,
            version: Version::FIRST,
        }
    }

    /// The version that `at` makes of this one.
    #[must_use]
    pub const fn updated_by(self, at: FullRevision) -> Self {
        Self {
            modified: at,
            created: self.created,
            version: self.version.next(),
        }
    }
}
