//! Cairn's data as etcd's files, and back.
//!
//! This is the one place that knows both formats. `mapping.rs` says for every table what becomes of
//! its rows in either direction; all else carries rows over by it:
//!
//! - [`SnapshotPlan`]: a member's state as a database file of etcd's, while writes go on. It is what
//!   `Maintenance.Snapshot` sends.
//! - [`restore()`]: such a file, etcd's or ours, as the data directory of a member of a new cluster.
//! - [`rebuild()`]: such a file as the database of a member of the same cluster, which has lost its own.
//! - [`move_in()`]: a stopped etcd member's data directory as Cairn's; [`go_back()`]: the reverse.
//! - [`snapshot_status`], [`hash_kv`], [`check()`]: what is in a file or directory, and whether it is whole.
//!
//! Nothing here runs while a member does, but the plan of a snapshot.
#![forbid(unsafe_code)]

mod check;
mod data_dir;
mod entries;
mod error;
mod etcd_database;
mod go_back;
mod hash_kv;
mod load;
mod mapping;
mod move_in;
mod place;
mod progress;
mod rebuild;
mod restore;
mod snapshot;
mod status;
mod v2_store;

pub use check::{Finding, check};
pub use data_dir::{DataDir, Kind};
pub use error::{Error, with_causes};
pub use go_back::{GoBack, WentBack, go_back};
pub use hash_kv::{FileHash, hash_kv};
pub use load::load;
pub use mapping::StorageVersion;
pub use move_in::{MoveIn, Moved, move_in};
pub use place::Room;
pub use progress::{NoProgress, Progress};
pub use rebuild::{Rebuilt, rebuild};
pub use restore::{BumpRevision, NewMember, Restored, restore};
pub use snapshot::{SnapshotPlan, Stopped};
pub use status::{SnapshotStatus, snapshot_status};
