//! A stored node: the value under its key.
//!
//! ```text
//! message { bool dir = 1; bytes value = 2; int64 expiration = 3; uint64 created = 4; uint64 modified = 5; }
//! ```
//!
//! The indexes are stored because they are not the store's: a set creates anew what was there, and a
//! directory keeps its index when its time to live changes.

use bytes::Bytes;
use cairn_mvcc::Revision;
use prost::Message;

use crate::event::Shown;
use crate::path::NodePath;
use crate::timestamp::Timestamp;

/// A file or a directory.
///
/// Invariant: it was created before it was modified, or then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) content: Content,
    /// When it ends, if it does.
    pub(crate) expiration: Option<Timestamp>,
    pub(crate) indexes: Indexes,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    File(Bytes),
    Directory,
}

/// When a node was created, and changed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Indexes {
    /// It was always there: a namespace.
    None,
    /// Since it was made.
    Made {
        created: Revision,
        modified: Revision,
    },
}

impl Indexes {
    pub(crate) const fn at(revision: Revision) -> Self {
        Self::Made {
            created: revision,
            modified: revision,
        }
    }

    pub(crate) fn created(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Made { created, .. } => created.number(),
        }
    }

    pub(crate) fn modified(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Made { modified, .. } => modified.number(),
        }
    }

    /// The same node, changed at `revision`.
    pub(crate) fn changed_at(self, revision: Revision) -> Self {
        match self {
            Self::None => Self::at(revision),
            Self::Made { created, .. } => Self::Made {
                created,
                modified: revision,
            },
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(bool, tag = "1")]
    dir: bool,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
    #[prost(sint64, optional, tag = "3")]
    expiration: Option<i64>,
    #[prost(uint64, tag = "4")]
    created: u64,
    #[prost(uint64, tag = "5")]
    modified: u64,
}

impl Node {
    /// A namespace: a directory that was always there.
    pub(crate) const NAMESPACE: Self = Self {
        content: Content::Directory,
        expiration: None,
        indexes: Indexes::None,
    };

    pub(crate) fn is_dir(&self) -> bool {
        self.content == Content::Directory
    }

    /// Its value; a directory's is empty.
    pub(crate) fn value(&self) -> &[u8] {
        match &self.content {
            Content::File(value) => value,
            Content::Directory => b"",
        }
    }

    /// As an answer shows it, without children.
    pub(crate) fn shown(&self, path: &NodePath) -> Shown {
        let value = match &self.content {
            Content::File(value) => Some(value.clone()),
            Content::Directory => None,
        };
        Shown {
            path: path.clone(),
            value,
            dir: self.is_dir(),
            expiration: self.expiration,
            nodes: Vec::new(),
            modified: self.indexes.modified(),
            created: self.indexes.created(),
        }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let record = Record {
            dir: self.is_dir(),
            value: match &self.content {
                Content::File(value) => value.clone(),
                Content::Directory => Bytes::new(),
            },
            expiration: self.expiration.map(Timestamp::nanos),
            created: self.indexes.created(),
            modified: self.indexes.modified(),
        };
        record.encode_to_vec().into()
    }

    /// Reads a node back; `None` if it is damaged.
    pub(crate) fn decode(stored: Bytes) -> Option<Self> {
        let record = Record::decode(stored).ok()?;
        let indexes = Indexes::Made {
            created: Revision::new(record.created)?,
            modified: Revision::new(record.modified)?,
        };
        let sound = record.created <= record.modified && (!record.dir || record.value.is_empty());
        sound.then_some(Self {
            content: if record.dir {
                Content::Directory
            } else {
                Content::File(record.value)
            },
            expiration: record.expiration.map(Timestamp::from_nanos),
            indexes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Node {
        Node {
            content: Content::File(Bytes::from_static(b"v")),
            expiration: Some(Timestamp::from_nanos(3)),
            indexes: Indexes::at(Revision::new(7).unwrap()),
        }
    }

    #[test]
    fn a_node_is_these_bytes_and_comes_back() {
        let file = file();
        let stored = file.encode();
        assert_eq!(stored, b"\x12\x01v\x18\x06\x20\x07\x28\x07".as_slice());
        assert_eq!(Node::decode(stored), Some(file.clone()));
        let directory = Node {
            content: Content::Directory,
            expiration: None,
            ..file
        };
        let stored = directory.encode();
        assert_eq!(stored, b"\x08\x01\x20\x07\x28\x07".as_slice());
        assert_eq!(Node::decode(stored), Some(directory));
    }

    #[test]
    fn damaged_nodes_are_refused() {
        let stored = file().encode();
        for damaged in [
            stored.slice(..stored.len() - 1),
            Bytes::new(),
            Bytes::from_static(b"\x12\x01v\x20\x07\x28\x06"),
            Bytes::from_static(b"\x08\x01\x12\x01v\x20\x07\x28\x07"),
        ] {
            assert_eq!(Node::decode(damaged.clone()), None, "{damaged:?}");
        }
    }
}
