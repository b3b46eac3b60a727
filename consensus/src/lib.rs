//! The replicated log: raft-rs driven as a state machine, and the write-ahead log under it.
//!
//! A member is a [`Node`]: a [`Driver`] (raft behind our own types: no disk, no clock, no chance)
//! and a [`wal::Wal`] on a [`disk::Disk`]. Its owner proposes, passes messages on and lets time
//! pass, then takes a [`Output`]: what was committed, what to send, which reads may go on. The two
//! may also run in different threads: [`LogWork`] goes from the driver to the log, [`LogDone`]
//! comes back, and ticks never wait for the disk.
//!
//! What an entry means, how members reach one another and when time passes is not known here.
#![forbid(unsafe_code)]

mod adopt;
mod compaction;
mod conf_change;
pub mod disk;
mod driver;
mod entry;
mod force_new_cluster;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod incarnation;
mod incarnations;
mod known_incarnations;
mod log_copy;
mod log_index;
mod log_measure;
mod log_store;
mod log_work;
mod member_id;
mod node;
mod node_options;
mod output;
mod seeded;
mod shared_log;
mod status;
mod term;
pub mod wal;
mod wire;

pub use adopt::{AdoptError, Fit, adopt_state, fit_state};
pub use compaction::{CompactionPolicy, LogExtent};
pub use conf_change::{ConfChange, ConfChangeKind, ConfState, UnreadableConfChange};
pub use driver::{
    ConfChangeError, Contradiction, Driver, DriverError, PeerProgress, ProposeError,
    ReadIndexError, StepError,
};
pub use entry::{Entry, EntryKind, UnreadableEntry};
pub use incarnation::{Incarnation, Lineage, LineageError};
pub use incarnations::{Incarnations, IncarnationsError};
pub use known_incarnations::{Expected, Forgotten, KnownIncarnations};
pub use log_copy::{LogCopy, LogHead, RawEntry, RawKind, begin_log};
pub use log_index::LogIndex;
pub use log_work::{LogDone, LogWork};
pub use member_id::{ClusterId, Identity, MemberId};
pub use node::{FirstMember, Node, NodeError};
pub use node_options::NodeOptions;
pub use output::{Output, ReadContext, ReadReady, SnapshotPoint};
pub use shared_log::SharedLog;
pub use status::{Leadership, Role, Status};
pub use term::Term;
pub use wire::UnreadableMessage;
