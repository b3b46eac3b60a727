//! The getters and setters that protobuf 2 would have generated, as far as raft-rs calls them.
//!
//! An optional message that is absent reads as its default, as protobuf 2 has it.

use std::sync::LazyLock;

use bytes::Bytes;

use crate::eraftpb::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
    Entry, EntryType, Message, MessageType, Snapshot, SnapshotMetadata,
};

/// Getters of enumerations, which prost names without `get_`.
macro_rules! enumerations {
    ($($message:ident: $get:ident = $field:ident -> $value:ty;)*) => {$(
        impl $message {
            #[doc = concat!("The `", stringify!($field), "`, read as the default if unknown.")]
            #[must_use]
            pub fn $get(&self) -> $value {
                self.$field()
            }
        }
    )*};
}

enumerations! {
    Entry: get_entry_type = entry_type -> EntryType;
    Message: get_msg_type = msg_type -> MessageType;
    ConfChange: get_change_type = change_type -> ConfChangeType;
    ConfChangeSingle: get_change_type = change_type -> ConfChangeType;
    ConfChangeV2: get_transition = transition -> ConfChangeTransition;
}

/// Getter, setter, taker and mutable reference of an optional message.
macro_rules! optional_messages {
    ($($message:ident: $field:ident: $value:ident, $get:ident, $set:ident, $take:ident, $mut:ident;)*) => {$(
        impl $message {
            #[doc = concat!("The `", stringify!($field), "`, or its default.")]
            #[must_use]
            pub fn $get(&self) -> &$value {
                static ABSENT: LazyLock<$value> = LazyLock::new($value::default);
                self.$field.as_ref().unwrap_or(&ABSENT)
            }

            #[doc = concat!("Sets the `", stringify!($field), "`.")]
            pub fn $set(&mut self, value: $value) {
                self.$field = Some(value);
            }

            #[doc = concat!("Takes the `", stringify!($field), "`, or its default.")]
            pub fn $take(&mut self) -> $value {
                self.$field.take().unwrap_or_default()
            }

            #[doc = concat!("The `", stringify!($field), "`, set to its default if absent.")]
            pub fn $mut(&mut self) -> &mut $value {
                self.$field.get_or_insert_default()
            }
        }
    )*};
}

optional_messages! {
    Message: snapshot: Snapshot, get_snapshot, set_snapshot, take_snapshot, mut_snapshot;
    Snapshot: metadata: SnapshotMetadata, get_metadata, set_metadata, take_metadata, mut_metadata;
    SnapshotMetadata: conf_state: ConfState, get_conf_state, set_conf_state, take_conf_state, mut_conf_state;
}

/// Getters and setters of repeated fields.
macro_rules! repeated {
    ($($message:ident: $field:ident: $item:ty, $get:ident, $set:ident;)*) => {$(
        impl $message {
            #[doc = concat!("The `", stringify!($field), "`.")]
            #[must_use]
            pub fn $get(&self) -> &[$item] {
                &self.$field
            }

            #[doc = concat!("Sets the `", stringify!($field), "`.")]
            pub fn $set(&mut self, value: Vec<$item>) {
                self.$field = value;
            }
        }
    )*};
}

repeated! {
    Message: entries: Entry, get_entries, set_entries;
    ConfState: voters: u64, get_voters, set_voters;
    ConfState: learners: u64, get_learners, set_learners;
    ConfState: voters_outgoing: u64, get_voters_outgoing, set_voters_outgoing;
    ConfState: learners_next: u64, get_learners_next, set_learners_next;
    ConfChangeV2: changes: ConfChangeSingle, get_changes, set_changes;
}

impl Entry {
    /// The entry's place in the log.
    #[must_use]
    pub fn get_index(&self) -> u64 {
        self.index
    }

    /// The entry's term.
    #[must_use]
    pub fn get_term(&self) -> u64 {
        self.term
    }

    /// What is replicated.
    #[must_use]
    pub fn get_data(&self) -> &[u8] {
        &self.data
    }

    /// Takes what is replicated.
    pub fn take_data(&mut self) -> Bytes {
        std::mem::take(&mut self.data)
    }
}

impl Message {
    /// Takes the entries.
    pub fn take_entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    /// The entries, to change.
    pub fn mut_entries(&mut self) -> &mut Vec<Entry> {
        &mut self.entries
    }

    /// Takes the context.
    pub fn take_context(&mut self) -> Bytes {
        std::mem::take(&mut self.context)
    }

    /// The index.
    #[must_use]
    pub fn get_index(&self) -> u64 {
        self.index
    }

    /// Sets the index.
    pub fn set_index(&mut self, index: u64) {
        self.index = index;
    }

    /// Sets the commit index.
    pub fn set_commit(&mut self, commit: u64) {
        self.commit = commit;
    }
}

impl SnapshotMetadata {
    /// The last entry the snapshot contains.
    #[must_use]
    pub fn get_index(&self) -> u64 {
        self.index
    }

    /// That entry's term.
    #[must_use]
    pub fn get_term(&self) -> u64 {
        self.term
    }
}
