//! The watchable store: who watches which keys, and how each watcher gets every event once, in
//! order, whole revisions at a time, however slow its client is.
//!
//! [`Hub`] is a state machine that one dispatcher owns. It is told of applied revisions, reads the
//! past through [`History`] and speaks to each client through the [`Sink`] of its stream.
//!
//! Here is no thread, no clock and no runtime, and no permission check: the server brings them. The
//! apply path hands a revision's changes over and goes on; how many watchers there are is nothing
//! to it.
#![forbid(unsafe_code)]

mod event;
mod history;
mod hub;
mod interval_tree;
mod reply;
mod request;
mod sink;
mod stream;
mod watcher;
mod watcher_group;

pub use event::EventList;
pub use history::History;
pub use hub::{CatchUp, Hub, HubCounts};
pub use reply::{ReplyKind, WatchReply};
pub use request::{ProgressNotify, WatchRefusal, WatchRequest, WatchStart};
pub use sink::{Full, REPLY_OVERHEAD_BYTES, SINK_BYTES_MAX, SINK_REPLIES_MAX, Sink, SinkBudget};
pub use stream::StreamId;
pub use watcher::{Filters, Fragments, PrevKv, WatchId};
