//! Where in the store the tree lies. Every key begins with [`SYSTEM_PREFIX`], then:
//!
//! ```text
//! 2e                               an event: its history is the history of events
//! 2n  length  path                 a node; length of the parent's path, four bytes big-endian
//! 2t  deadline  path               a node's deadline, eight bytes that order as times do; no value
//! ```
//!
//! The length makes the children of a directory neighbours, and no other nodes are among them.

use bytes::{BufMut, Bytes, BytesMut};
use cairn_mvcc::{KeyRange, SYSTEM_PREFIX};

use crate::path::NodePath;
use crate::timestamp::Timestamp;

const EVENT: &[u8] = b"2e";
const NODE: &[u8] = b"2n";
const DEADLINE: &[u8] = b"2t";

/// The key of the last event.
pub(crate) fn event_key() -> Bytes {
    [SYSTEM_PREFIX, EVENT].concat().into()
}

/// Whether this is the key of the last event.
pub(crate) fn is_event(key: &[u8]) -> bool {
    key.strip_prefix(SYSTEM_PREFIX) == Some(EVENT)
}

/// Whether this is the key of a node.
pub(crate) fn is_node(key: &[u8]) -> bool {
    let rest = key.strip_prefix(SYSTEM_PREFIX);
    rest.is_some_and(|rest| rest.starts_with(NODE))
}

/// The key of a node; the root has none.
pub(crate) fn node_key(path: &NodePath) -> Bytes {
    let parent = path.as_bytes().iter().rposition(|&byte| byte == b'/');
    nodes_in(parent.unwrap_or_default(), path.as_bytes())
}

/// The keys of a directory's children.
pub(crate) fn children(directory: &NodePath) -> KeyRange {
    let mut prefix = BytesMut::from(&*nodes_in(directory.as_bytes().len(), directory.as_bytes()));
    prefix.put_u8(b'/');
    KeyRange::prefix(prefix.freeze())
}

/// The path of a node by its key; `None` if it is no node's.
pub(crate) fn node_path(key: &Bytes) -> Option<NodePath> {
    let rest = key.strip_prefix(SYSTEM_PREFIX)?.strip_prefix(NODE)?;
    let (_, path) = rest.split_first_chunk::<4>()?;
    let path = NodePath::from_stored(path)?;
    (node_key(&path) == *key).then_some(path)
}

/// The key of a node's deadline.
pub(crate) fn deadline_key(deadline: Timestamp, path: &NodePath) -> Bytes {
    let time = deadline.to_ordered();
    [SYSTEM_PREFIX, DEADLINE, &time, path.as_bytes()]
        .concat()
        .into()
}

/// The keys of all deadlines, earliest first.
pub(crate) fn deadlines() -> KeyRange {
    KeyRange::prefix([SYSTEM_PREFIX, DEADLINE].concat().into())
}

/// The deadline and the node by a deadline's key; `None` if it is none's.
pub(crate) fn deadline(key: &Bytes) -> Option<(Timestamp, NodePath)> {
    let rest = key.strip_prefix(SYSTEM_PREFIX)?.strip_prefix(DEADLINE)?;
    let (time, path) = rest.split_first_chunk::<8>()?;
    let path = NodePath::from_stored(path)?;
    Some((Timestamp::from_ordered(*time), path))
}

fn nodes_in(parent_len: usize, path: &[u8]) -> Bytes {
    // Paths come in log entries, which are far shorter than 4 GiB.
    let parent_len = u32::try_from(parent_len).unwrap_or(u32::MAX);
    [SYSTEM_PREFIX, NODE, &parent_len.to_be_bytes(), path]
        .concat()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &[u8]) -> NodePath {
        NodePath::parse(raw).unwrap()
    }

    #[test]
    fn keys_are_these_bytes_and_come_back() {
        let node = path(b"/a/b");
        assert_eq!(node_key(&node), b"\0cairn\x002n\0\0\0\x02/a/b".as_slice());
        assert_eq!(node_path(&node_key(&node)), Some(node.clone()));
        let key = deadline_key(Timestamp::from_nanos(1), &node);
        assert_eq!(key, b"\0cairn\x002t\x80\0\0\0\0\0\0\x01/a/b".as_slice());
        assert_eq!(deadline(&key), Some((Timestamp::from_nanos(1), node)));
        assert_eq!(event_key(), b"\0cairn\x002e".as_slice());
        assert!(is_event(&event_key()) && node_path(&event_key()).is_none());
    }

    #[test]
    fn the_children_of_a_directory_are_neighbours_and_alone() {
        let directory = path(b"/a");
        let range = children(&directory);
        for (other, inside) in [
            (b"/a/b".as_slice(), true),
            (b"/a/\xff", true),
            (b"/a/b/c", false),
            (b"/a", false),
            (b"/a\0/b", false),
            (b"/ab", false),
        ] {
            assert_eq!(range.contains(&node_key(&path(other))), inside, "{other:?}");
        }
        assert!(children(&NodePath::ROOT).contains(&node_key(&path(b"/1"))));
    }

    #[test]
    fn keys_that_are_no_nodes_are_refused() {
        let key = node_key(&path(b"/a/b"));
        for damaged in [
            key.slice(..key.len() - 3),
            Bytes::from_static(b"\0cairn\x002n\0\0\0\x01/a/b"),
            Bytes::from_static(b"\0cairn\x002n\0\0\0\x02/a/"),
            Bytes::from_static(b"\0cairn\x002n\0"),
        ] {
            assert_eq!(node_path(&damaged), None, "{damaged:?}");
        }
    }
}
