//! The tree's rules, one function for each operation: what is checked, in etcd's order, and what is
//! written.
//!
//! Whatever can refuse an operation is checked before the first write, for a transaction has no way
//! back.
//!
//! Invariants of the stored tree:
//! 1. Above every node are directories: namespaces, or stored nodes.
//! 2. Each stored node with an expiration has its deadline's key, and there are no others.
//! 3. Each transaction that changes nodes writes one event.

use bytes::Bytes;
use cairn_mvcc::{KeyRange, Revision, Store, WriteTxn};

use crate::error::{Error, ErrorKind, Failure, StorageError};
use crate::event::{Action, Event, Shown};
use crate::layout;
use crate::node::{Content, Indexes, Node};
use crate::path::NodePath;
use crate::request::{Compare, TtlOption};
use crate::state::{State, children, find, is_read_only, look_up};
use crate::timestamp::Timestamp;

/// Reads a node: in a directory what is not hidden, and below that too if `recursive`.
///
/// # Errors
///
/// [`Failure::Refused`] if there is none.
pub fn get(state: &impl State, path: &NodePath, recursive: bool) -> Result<Shown, Failure> {
    let node = look_up(state, path)?;
    let mut shown = node.shown(path);
    if node.is_dir() {
        shown.nodes = listed(state, path, recursive)?;
    }
    Ok(shown)
}

/// Whether there is a node. What it is made of is not read.
#[must_use]
pub fn exists(store: &Store, path: &NodePath) -> bool {
    is_read_only(path) || store.contains(&layout::node_key(path))
}

fn listed(
    state: &impl State,
    directory: &NodePath,
    recursive: bool,
) -> Result<Vec<Shown>, StorageError> {
    let mut nodes = Vec::new();
    for (path, node) in children(state, directory)? {
        if path.is_hidden() {
            continue;
        }
        let mut shown = node.shown(&path);
        if recursive && node.is_dir() {
            shown.nodes = listed(state, &path, recursive)?;
        }
        nodes.push(shown);
    }
    Ok(nodes)
}

/// A transaction on the tree, made at a time.
pub(crate) struct Tree<'t, 'b, 's> {
    txn: &'t mut WriteTxn<'b, 's>,
    time: Timestamp,
}

/// What a node is made of.
pub(crate) struct NewNode {
    pub(crate) dir: bool,
    pub(crate) value: Bytes,
    pub(crate) expiration: Option<Timestamp>,
}

impl<'t, 'b, 's> Tree<'t, 'b, 's> {
    pub(crate) const fn new(txn: &'t mut WriteTxn<'b, 's>, time: Timestamp) -> Self {
        Self { txn, time }
    }

    /// Makes a node where none is; if `unique`, in the directory `path`, named after the index.
    pub(crate) fn create(
        &mut self,
        path: &NodePath,
        unique: bool,
        new: NewNode,
    ) -> Result<Event, Failure> {
        if !unique {
            return self.create_at(path, new);
        }
        let name = format!("{:020}", self.next().number());
        let child = path.child(name.as_bytes());
        let child = child.map_err(|deep| self.refuse(ErrorKind::InvalidField, deep.to_string()))?;
        self.create_at(&child, new)
    }

    fn create_at(&mut self, path: &NodePath, new: NewNode) -> Result<Event, Failure> {
        self.check_writable(path)?;
        let missing = self.missing_directories(path)?;
        if find(self.txn, path)?.is_some() {
            return Err(self.refuse(ErrorKind::NodeExists, path.shown()).into());
        }
        Ok(self.make(path, new, missing, None, Action::Create, false))
    }

    /// Makes a node, in place of the file that is there, or of nothing.
    pub(crate) fn set(
        &mut self,
        path: &NodePath,
        new: NewNode,
        refresh: bool,
    ) -> Result<Event, Failure> {
        let before = match look_up(self.txn, path) {
            Ok(node) => Some(node),
            Err(Failure::Refused(error)) if error.kind == ErrorKind::KeyNotFound && !refresh => {
                None
            }
            Err(failure) => return Err(failure),
        };
        self.check_writable(path)?;
        let missing = match &before {
            Some(node) if node.is_dir() => {
                return Err(self.refuse(ErrorKind::NotFile, path.shown()).into());
            }
            // Above what is there are directories.
            Some(_) => Vec::new(),
            None => self.missing_directories(path)?,
        };
        let value = match &before {
            Some(before) if refresh => Bytes::copy_from_slice(before.value()),
            _ => new.value,
        };
        let new = NewNode { value, ..new };
        Ok(self.make(path, new, missing, before, Action::Set, refresh))
    }

    /// Makes a node, and the directories above it that are missing, in place of the file `before`.
    fn make(
        &mut self,
        path: &NodePath,
        new: NewNode,
        missing: Vec<NodePath>,
        before: Option<Node>,
        action: Action,
        refresh: bool,
    ) -> Event {
        let indexes = Indexes::at(self.next());
        for directory in missing {
            let node = Node {
                content: Content::Directory,
                expiration: None,
                indexes,
            };
            self.put(&directory, &node, None);
        }
        let node = Node {
            content: if new.dir {
                Content::Directory
            } else {
                Content::File(new.value)
            },
            expiration: new.expiration.filter(|time| *time >= Timestamp::YEAR_2000),
            indexes,
        };
        self.put(path, &node, before.as_ref());
        self.tell(Event {
            action,
            node: node.shown(path),
            prev: before.map(|before| before.shown(path)),
            refresh,
            at: self.time,
        })
    }

    /// Changes a node; of a directory only the time it has left.
    pub(crate) fn update(
        &mut self,
        path: &NodePath,
        value: Bytes,
        ttl: TtlOption,
    ) -> Result<Event, Failure> {
        self.check_writable(path)?;
        let before = look_up(self.txn, path)?;
        if before.is_dir() && !value.is_empty() {
            return Err(self.refuse(ErrorKind::NotFile, path.shown()).into());
        }
        Ok(self.change(path, &before, value, ttl, Action::Update))
    }

    /// Changes a file that is what it should be.
    pub(crate) fn compare_and_swap(
        &mut self,
        path: &NodePath,
        compare: &Compare,
        value: Bytes,
        ttl: TtlOption,
    ) -> Result<Event, Failure> {
        self.check_writable(path)?;
        let before = self.compared(path, compare)?;
        Ok(self.change(path, &before, value, ttl, Action::CompareAndSwap))
    }

    fn change(
        &mut self,
        path: &NodePath,
        before: &Node,
        value: Bytes,
        ttl: TtlOption,
        action: Action,
    ) -> Event {
        let changed = before.indexes.changed_at(self.next());
        let (content, indexes) = match &before.content {
            Content::File(kept) if ttl.refresh => (Content::File(kept.clone()), changed),
            Content::File(_) => (Content::File(value), changed),
            // Only the event has the new index: the directory keeps its own.
            Content::Directory => (Content::Directory, before.indexes),
        };
        let node = Node {
            content,
            expiration: ttl.expiration,
            indexes,
        };
        self.put(path, &node, Some(before));
        self.tell(Event {
            action,
            node: Shown {
                modified: changed.modified(),
                ..node.shown(path)
            },
            prev: Some(before.shown(path)),
            refresh: ttl.refresh,
            at: self.time,
        })
    }

    /// Deletes a node: a directory only if it may be one, with what is in it only if that may be.
    pub(crate) fn delete(
        &mut self,
        path: &NodePath,
        dir: bool,
        recursive: bool,
    ) -> Result<Event, Failure> {
        self.check_writable(path)?;
        let before = look_up(self.txn, path)?;
        if before.is_dir() && !recursive {
            if !dir {
                return Err(self.refuse(ErrorKind::NotFile, path.shown()).into());
            }
            if !children(self.txn, path)?.is_empty() {
                return Err(self
                    .refuse(ErrorKind::DirectoryNotEmpty, path.shown())
                    .into());
            }
        }
        self.remove(path, &before, Action::Delete)
    }

    /// Deletes a file that is what it should be.
    pub(crate) fn compare_and_delete(
        &mut self,
        path: &NodePath,
        compare: &Compare,
    ) -> Result<Event, Failure> {
        let before = self.compared(path, compare)?;
        self.remove(path, &before, Action::CompareAndDelete)
    }

    /// Removes a node and all that is below it, as `action`.
    pub(crate) fn remove(
        &mut self,
        path: &NodePath,
        before: &Node,
        action: Action,
    ) -> Result<Event, Failure> {
        let mut open = vec![(path.clone(), before.clone())];
        while let Some((path, node)) = open.pop() {
            if node.is_dir() {
                open.extend(children(self.txn, &path)?);
            }
            if let Some(deadline) = node.expiration {
                self.delete_key(layout::deadline_key(deadline, &path));
            }
            self.delete_key(layout::node_key(&path));
        }
        Ok(self.tell(Event {
            action,
            node: Shown {
                value: None,
                expiration: None,
                modified: self.next().number(),
                ..before.shown(path)
            },
            prev: Some(before.shown(path)),
            refresh: false,
            at: self.time,
        }))
    }

    /// The file at a path, if it is what it should be.
    fn compared(&self, path: &NodePath, compare: &Compare) -> Result<Node, Failure> {
        let node = look_up(self.txn, path)?;
        let Content::File(value) = &node.content else {
            return Err(self.refuse(ErrorKind::NotFile, path.shown()).into());
        };
        let wrong_value = compare.value.as_ref().filter(|wanted| *wanted != value);
        let modified = node.indexes.modified();
        let wrong_index = compare.index.filter(|wanted| *wanted != modified);
        let of_value = wrong_value
            .map(|wanted| [b"[", wanted.as_ref(), b" != ", value.as_ref(), b"]"].concat());
        let of_index = wrong_index.map(|wanted| format!("[{wanted} != {modified}]").into_bytes());
        let causes: Vec<Vec<u8>> = of_value.into_iter().chain(of_index).collect();
        if causes.is_empty() {
            return Ok(node);
        }
        let cause = causes.join(b" ".as_slice());
        Err(self.refuse(ErrorKind::CompareFailed, cause).into())
    }

    /// The directories above a node that are not there yet, from the top.
    fn missing_directories(&self, path: &NodePath) -> Result<Vec<NodePath>, Failure> {
        let parent = path.parent().unwrap_or(NodePath::ROOT);
        if find(self.txn, &parent)?.is_some_and(|parent| parent.is_dir()) {
            return Ok(Vec::new());
        }
        let mut missing = Vec::new();
        for above in path.ancestors() {
            match find(self.txn, &above)? {
                Some(node) if node.is_dir() => {}
                Some(_) => return Err(self.refuse(ErrorKind::NotDirectory, above.shown()).into()),
                None => missing.push(above),
            }
        }
        Ok(missing)
    }

    fn check_writable(&self, path: &NodePath) -> Result<(), Error> {
        if is_read_only(path) {
            return Err(self.refuse(ErrorKind::RootReadOnly, "/"));
        }
        Ok(())
    }

    /// The index of this transaction.
    const fn next(&self) -> Revision {
        self.txn.revision()
    }

    fn refuse(&self, kind: ErrorKind, cause: impl Into<Bytes>) -> Error {
        kind.about(cause, self.txn.now().number())
    }

    /// Writes a node in place of `before`, and its deadline.
    fn put(&mut self, path: &NodePath, node: &Node, before: Option<&Node>) {
        let old = before.and_then(|before| before.expiration);
        if old != node.expiration {
            if let Some(deadline) = old {
                self.delete_key(layout::deadline_key(deadline, path));
            }
            if let Some(deadline) = node.expiration {
                let key = layout::deadline_key(deadline, path);
                self.txn.put(&key, b"", None);
            }
        }
        self.txn.put(&layout::node_key(path), &node.encode(), None);
    }

    fn delete_key(&mut self, key: Bytes) {
        self.txn.delete_range(&KeyRange::One(key));
    }

    fn tell(&mut self, event: Event) -> Event {
        self.txn.put(&layout::event_key(), &event.encode(), None);
        event
    }
}
