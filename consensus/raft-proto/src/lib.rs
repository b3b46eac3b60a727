//! raft-rs's message types on prost 0.14, in place of its own crate of this name.
//!
//! The messages are in [`eraftpb`]; [`accessors`](mod@accessors) are the getters and setters that
//! raft-rs calls, [`protobuf_trait`](mod@protobuf_trait) is as much of protobuf 2's `Message` as
//! it needs, [`ConfChangeI`] its view of a configuration change. There is no logic of consensus
//! here, and nothing that only the published crate's own tests used.

#![forbid(unsafe_code)]

mod accessors;
mod confchange;
mod confstate;
pub mod eraftpb;
mod protobuf_trait;

pub use confchange::{ConfChangeI, new_conf_change_single};
pub use confstate::conf_state_eq;

/// What raft-rs re-exports from its own prelude.
pub mod prelude {
    pub use crate::eraftpb::{
        ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2,
        ConfState, Entry, EntryType, HardState, Message, MessageType, Snapshot, SnapshotMetadata,
    };
}
