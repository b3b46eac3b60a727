//! The in-memory revision index: which change of which key a read at a revision finds.
//!
//! [`TreeIndex`] maps every key to its [`KeyIndex`], the key's changes since the last compaction.
//! It is a persistent map: a clone is an O(1) snapshot, and readers work on one while the writer
//! goes on. The index holds no values, does no I/O, starts no thread and takes no lock.
#![forbid(unsafe_code)]

mod compaction;
mod history;
mod keep_set;
mod key;
mod key_index;
mod key_range;
mod leaf;
mod leaves;
mod restore;
mod revision;
mod system_keys;
mod tree_index;
mod version;

pub use compaction::CompactionChunk;
pub use history::KeyChange;
pub use keep_set::KeepSet;
pub use key::Key;
pub use key_index::KeyIndex;
pub use key_range::KeyRange;
pub use restore::Restore;
pub use revision::{FullRevision, InvalidRevision, Revision, SubRevision, Version};
pub use system_keys::{SYSTEM_PREFIX, is_system_key};
pub use tree_index::{PutPlace, TreeIndex};
pub use version::KeyVersion;
