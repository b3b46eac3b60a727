//! Events: what clients are told of a change, and what is stored of it.
//!
//! ```text
//! message Event { uint32 action = 1; Shown node = 2; Shown prev = 3; bool refresh = 4; sint64 at = 5; }
//! message Shown { bytes path = 1; optional bytes value = 2; bool dir = 3; optional sint64 expiration = 4;
//!                 uint64 modified = 5; uint64 created = 6; }
//! ```
//!
//! An event is stored whole, with the node before it, so that a compaction never takes a part of it.

use bytes::Bytes;
use prost::Message;

use crate::hub::Watch;
use crate::path::NodePath;
use crate::timestamp::Timestamp;

/// What was done. Numbers are stored and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A read; never stored.
    Get = 0,
    /// A node was made where none was.
    Create = 1,
    /// A node was made, whatever was there.
    Set = 2,
    /// A node was changed.
    Update = 3,
    /// A node, and all below it, was deleted.
    Delete = 4,
    /// A file was changed, as it was what it should be.
    CompareAndSwap = 5,
    /// A file was deleted, as it was what it should be.
    CompareAndDelete = 6,
    /// A node's time was up.
    Expire = 7,
}

impl Action {
    /// Its name in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Create => "create",
            Self::Set => "set",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::CompareAndSwap => "compareAndSwap",
            Self::CompareAndDelete => "compareAndDelete",
            Self::Expire => "expire",
        }
    }

    fn from_stored(number: u32) -> Option<Self> {
        let all = [
            Self::Create,
            Self::Set,
            Self::Update,
            Self::Delete,
            Self::CompareAndSwap,
            Self::CompareAndDelete,
            Self::Expire,
        ];
        all.into_iter().find(|action| *action as u32 == number)
    }
}

/// A node as answers show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Where it is.
    pub path: NodePath,
    /// The value of a file; a deleted one has none.
    pub value: Option<Bytes>,
    /// Whether it is a directory.
    pub dir: bool,
    /// When it ends, if it does.
    pub expiration: Option<Timestamp>,
    /// What is in it, if that was asked for.
    pub nodes: Vec<Self>,
    /// The index of its last change; 0 of what was always there.
    pub modified: u64,
    /// The index of its creation; 0 of what was always there.
    pub created: u64,
}

/// A change, or what a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What was done.
    pub action: Action,
    /// The node after it.
    pub node: Shown,
    /// The node before it, if it was there.
    pub prev: Option<Shown>,
    /// Whether it only lengthened a node's life: watchers are not told.
    pub refresh: bool,
    /// When it was done: times to live are shown as they were then.
    pub at: Timestamp,
}

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(uint32, tag = "1")]
    action: u32,
    #[prost(message, optional, tag = "2")]
    node: Option<ShownRecord>,
    #[prost(message, optional, tag = "3")]
    prev: Option<ShownRecord>,
    #[prost(bool, tag = "4")]
    refresh: bool,
    #[prost(sint64, tag = "5")]
    at: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ShownRecord {
    #[prost(bytes = "bytes", tag = "1")]
    path: Bytes,
    #[prost(bytes = "bytes", optional, tag = "2")]
    value: Option<Bytes>,
    #[prost(bool, tag = "3")]
    dir: bool,
    #[prost(sint64, optional, tag = "4")]
    expiration: Option<i64>,
    #[prost(uint64, tag = "5")]
    modified: u64,
    #[prost(uint64, tag = "6")]
    created: u64,
}

impl Event {
    /// Whether it made a node where none was; the answer then has another status.
    #[must_use]
    pub fn is_created(&self) -> bool {
        match self.action {
            Action::Create => true,
            Action::Set => self.prev.is_none(),
            _ => false,
        }
    }

    /// Whether a directory went with all that was in it.
    fn removed_directory(&self) -> Option<&NodePath> {
        let removed = matches!(self.action, Action::Delete | Action::Expire);
        let dir = self.prev.as_ref().filter(|prev| removed && prev.dir)?;
        Some(&dir.path)
    }

    /// Whether a watcher that looks back finds this event. Looking back is not quite as looking
    /// forward: etcd shows hidden nodes then, and asks of a removed directory only whether its path
    /// begins the watcher's.
    #[must_use]
    pub fn is_found_by(&self, watch: &Watch) -> bool {
        if self.refresh {
            return false;
        }
        let below = watch.recursive && self.node.path.is_below(&watch.path);
        let with_parent = self
            .removed_directory()
            .is_some_and(|dir| watch.path.as_bytes().starts_with(dir.as_bytes()));
        self.node.path == watch.path || below || with_parent
    }

    pub(crate) fn encode(&self) -> Bytes {
        let record = Record {
            action: self.action as u32,
            node: Some(ShownRecord::of(&self.node)),
            prev: self.prev.as_ref().map(ShownRecord::of),
            refresh: self.refresh,
            at: self.at.nanos(),
        };
        record.encode_to_vec().into()
    }

    /// Reads an event back; `None` if it is damaged.
    pub(crate) fn decode(stored: Bytes) -> Option<Self> {
        let record = Record::decode(stored).ok()?;
        let prev = match record.prev {
            Some(prev) => Some(prev.shown()?),
            None => None,
        };
        Some(Self {
            action: Action::from_stored(record.action)?,
            node: record.node?.shown()?,
            prev,
            refresh: record.refresh,
            at: Timestamp::from_nanos(record.at),
        })
    }
}

impl ShownRecord {
    fn of(shown: &Shown) -> Self {
        Self {
            path: shown.path.as_bytes().clone(),
            value: shown.value.clone(),
            dir: shown.dir,
            expiration: shown.expiration.map(Timestamp::nanos),
            modified: shown.modified,
            created: shown.created,
        }
    }

    fn shown(self) -> Option<Shown> {
        Some(Shown {
            path: NodePath::from_stored(&self.path)?,
            value: self.value,
            dir: self.dir,
            expiration: self.expiration.map(Timestamp::from_nanos),
            nodes: Vec::new(),
            modified: self.modified,
            created: self.created,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        let node = Shown {
            path: NodePath::parse(b"/1/a").unwrap(),
            value: Some(Bytes::from_static(b"v")),
            dir: false,
            expiration: Some(Timestamp::from_nanos(-1)),
            nodes: Vec::new(),
            modified: 9,
            created: 8,
        };
        Event {
            action: Action::Update,
            prev: Some(Shown {
                value: Some(Bytes::new()),
                expiration: None,
                ..node.clone()
            }),
            node,
            refresh: true,
            at: Timestamp::from_nanos(2),
        }
    }

    #[test]
    fn an_event_is_these_bytes_and_comes_back() {
        let stored = event().encode();
        assert_eq!(
            stored,
            b"\x08\x03\x12\x0f\x0a\x04/1/a\x12\x01v\x20\x01\x28\x09\x30\x08\
              \x1a\x0c\x0a\x04/1/a\x12\x00\x28\x09\x30\x08\x20\x01\x28\x04"
                .as_slice()
        );
        assert_eq!(Event::decode(stored), Some(event()));
    }

    #[test]
    fn damaged_events_are_refused() {
        let stored = event().encode();
        let unknown_action = [b"\x08\x09".as_slice(), &stored[2..]].concat();
        for damaged in [
            stored.slice(..stored.len() - 1),
            Bytes::new(),
            unknown_action.into(),
        ] {
            assert_eq!(Event::decode(damaged.clone()), None, "{damaged:?}");
        }
    }
}
