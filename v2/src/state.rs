//! What operations read: the state that a transaction is changing, or one pinned state.

use bytes::Bytes;
use cairn_mvcc::{KeyRange, RangeQuery, ReadAt, ReadError, Revision, Store, WriteTxn};

use crate::error::{ErrorKind, Failure, StorageError};
use crate::layout;
use crate::node::Node;
use crate::path::NodePath;

/// The namespaces, and the root: directories that are there without a record. `/0` held etcd's
/// members, `/1` has the keys of clients.
const NAMESPACES: [&[u8]; 3] = [b"", b"/0", b"/1"];

/// A consistent state of the store.
pub trait State {
    /// Its newest revision.
    fn revision(&self) -> Revision;

    /// Hands the keys and values of a range to `sink`, in key order, at most `limit` of them.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    fn each(
        &self,
        range: KeyRange,
        limit: Option<std::num::NonZeroUsize>,
        sink: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), ReadError>;
}

fn query(range: KeyRange, limit: Option<std::num::NonZeroUsize>) -> RangeQuery {
    RangeQuery {
        limit,
        ..RangeQuery::new(range)
    }
}

impl State for WriteTxn<'_, '_> {
    fn revision(&self) -> Revision {
        self.now()
    }

    fn each(
        &self,
        range: KeyRange,
        limit: Option<std::num::NonZeroUsize>,
        sink: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), ReadError> {
        let mut malformed = Ok(());
        let mut sink = |kv: cairn_mvcc::StoredKv<'_>| match kv.fields() {
            Ok(fields) => sink(kv.key, fields.value),
            Err(error) => malformed = Err(error),
        };
        self.range(&query(range, limit), &mut sink)?;
        Ok(malformed?)
    }
}

/// The store at one revision.
#[derive(Clone)]
pub struct Snapshot<'a> {
    store: &'a Store,
    at: Revision,
}

impl<'a> Snapshot<'a> {
    /// Pins the current revision. Reads fail once that is compacted.
    #[must_use]
    pub fn new(store: &'a Store) -> Self {
        Self {
            store,
            at: store.current(),
        }
    }
}

impl Snapshot<'_> {
    /// The index that it shows.
    #[must_use]
    pub const fn index(&self) -> Revision {
        self.at
    }
}

impl State for Snapshot<'_> {
    fn revision(&self) -> Revision {
        self.at
    }

    fn each(
        &self,
        range: KeyRange,
        limit: Option<std::num::NonZeroUsize>,
        sink: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), ReadError> {
        let mut malformed = Ok(());
        let mut sink = |kv: cairn_mvcc::StoredKv<'_>| match kv.fields() {
            Ok(fields) => sink(kv.key, fields.value),
            Err(error) => malformed = Err(error),
        };
        let query = RangeQuery {
            at: ReadAt::Revision(self.at),
            ..query(range, limit)
        };
        self.store.range(&query, &mut sink)?;
        Ok(malformed?)
    }
}

/// Whether a path is the root or a namespace, which nobody changes.
pub(crate) fn is_read_only(path: &NodePath) -> bool {
    NAMESPACES.contains(&path.as_bytes().as_ref())
}

/// The node at a path, if there is one.
pub(crate) fn find(state: &impl State, path: &NodePath) -> Result<Option<Node>, StorageError> {
    if is_read_only(path) {
        return Ok(Some(Node::NAMESPACE));
    }
    let key = layout::node_key(path);
    let mut stored = None;
    state.each(KeyRange::One(key.clone()), None, &mut |_, value| {
        stored = Some(Bytes::copy_from_slice(value));
    })?;
    match stored.map(Node::decode) {
        None => Ok(None),
        Some(Some(node)) => Ok(Some(node)),
        Some(None) => Err(StorageError::Damaged(key)),
    }
}

/// The node at a path.
///
/// Everything above a node is a directory, so only where nothing is must the way be looked at: for
/// the first thing that is missing on it, or is no directory.
pub(crate) fn look_up(state: &impl State, path: &NodePath) -> Result<Node, Failure> {
    if let Some(node) = find(state, path)? {
        return Ok(node);
    }
    let index = state.revision().number();
    for above in path.ancestors() {
        match find(state, &above)? {
            None => return Err(ErrorKind::KeyNotFound.about(above.shown(), index).into()),
            Some(node) if !node.is_dir() => {
                return Err(ErrorKind::NotDirectory.about(above.shown(), index).into());
            }
            Some(_) => {}
        }
    }
    Err(ErrorKind::KeyNotFound.about(path.shown(), index).into())
}

/// The nodes in a directory, by name.
pub(crate) fn children(
    state: &impl State,
    directory: &NodePath,
) -> Result<Vec<(NodePath, Node)>, StorageError> {
    let mut found = Vec::new();
    let mut damaged = None;
    let mut take = |key: &[u8], value: &[u8]| {
        let key = Bytes::copy_from_slice(key);
        let node = Node::decode(Bytes::copy_from_slice(value));
        match layout::node_path(&key).zip(node) {
            Some(child) => found.push(child),
            None => damaged = Some(key),
        }
    };
    state.each(layout::children(directory), None, &mut take)?;
    match damaged {
        None => Ok(found),
        Some(key) => Err(StorageError::Damaged(key)),
    }
}
