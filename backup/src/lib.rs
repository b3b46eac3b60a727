//! Continuous backup: what members apply, kept elsewhere, and any revision of it back.
//!
//! A backup is one sequence of small objects that hold the log's committed entries, and beside it
//! now and then a whole database ([`Base`]): etcd's file, as a snapshot is. What a store holds at a
//! revision is a base and the entries after it, applied by the code that members apply them with.
//!
//! - `name`, `sealed`, `record`, `base`: the format, object by object.
//! - [`Tail`]: the last entries that a member applied, in bounded memory; nobody waits for it.
//! - [`Writer`]: one member's side, a step at a time.
//! - [`Catalog`], [`replay()`], [`verify()`]: what a backup holds, and getting it back.
//!
//! Objects are written once and never changed, each under a name that follows from the one before.
//! So a store needs no consistent listing, and two writers cannot undo each other: whoever finds a name
//! taken reads what is there, and goes on behind it. Committed entries are the same whoever writes them.
//!
//! Time, chance and the store are arguments ([`Around`]).
#![forbid(unsafe_code)]

mod base;
mod catalog;
mod error;
mod name;
mod record;
mod replay;
mod retention;
mod sealed;
mod store;
mod tail;
mod verify;
mod walk;
mod writer;

pub use base::Base;
pub use catalog::{Catalog, Reach, clusters};
pub use error::Error;
pub use record::Anchor;
pub use replay::{Replayed, Stop, Target, replay, replay_any};
pub use sealed::{Key, Nonce};
pub use store::{Put, Store, StoreError, check_store};
pub use tail::{Lag, Start, Tail};
pub use verify::{Verified, verify};
pub use writer::{Around, Environment, Event, Step, Writer, WriterOptions};

#[cfg(test)]
mod tests;
