//! etcd's second API: a tree of files and directories with times to live, compare-and-swap and
//! watches that wait.
//!
//! The tree lies in the store's reserved part ([`cairn_mvcc::SYSTEM_PREFIX`]), so it is replicated,
//! compacted, sent to other members and restored as everything else is. Three kinds of stored keys
//! carry it (`layout`): a node under its path, a deadline under its time, and one key whose history is
//! the history of events. The index that clients see is the revision.
//!
//! A [`Request`] is applied by [`apply`], in one transaction of the store; an expiry, for each node in
//! one of its own, by [`expire`]. [`get`] reads a [`Snapshot`]. [`Hub`] knows who waits for what, and
//! [`past`] finds in the history what a watcher missed.
//!
//! Here is no clock (requests carry the time), no thread and no HTTP; `json` alone knows how answers
//! are spelled, as etcd 3.4 spells them.
#![forbid(unsafe_code)]

mod apply;
mod error;
mod event;
mod expiry;
mod hub;
mod json;
mod layout;
mod node;
mod past;
mod path;
mod request;
mod state;
mod stats;
mod timestamp;
mod tree;

pub use apply::{Done, apply};
pub use error::{Error, ErrorKind, Failure, StorageError};
pub use event::{Action, Event, Shown};
pub use expiry::{EXPIRED_MAX, due, expire};
pub use hub::{Behind, Full, Hub, Sink, Watch, WatchId};
pub use json::{write_error, write_event, write_string};
pub use past::{Past, catch_up, past};
pub use path::{NodePath, TooDeep};
pub use request::{Compare, Method, Operation, Request, TtlOption, UnknownMethod};
pub use state::{Snapshot, State};
pub use stats::{Counter, Stats};
pub use timestamp::Timestamp;
pub use tree::{exists, get};
