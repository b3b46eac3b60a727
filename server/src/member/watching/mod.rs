//! The watch dispatcher: one thread that owns the hub, between the apply thread and the clients'
//! streams.
//!
//! ```text
//! apply thread ── changes ──►  dispatcher (Hub)  ── replies ──► stream tasks ──► clients
//!                  (bounded)         ▲                (bounded)
//! stream tasks ──── requests ────────┘
//! ```
//!
//! Applying never waits for watchers: if the dispatcher's queue is full, changes are dropped there and
//! the hub is told to skip; its watchers then read them from the store.

mod dispatcher;
mod sink;
mod stream;
mod waking;

pub(crate) use dispatcher::{Dispatcher, WatchHandle};
pub(crate) use stream::{WatchAsks, WatchReplies};
