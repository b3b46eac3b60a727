//! As much of protobuf 2's `Message` as raft-rs calls: sizes, and bytes in and out, all by prost.
//!
//! raft-rs bounds its generic code by that trait, so every method must exist. The ones that only
//! reflection or unknown fields would reach have no answer here; nothing in this workspace calls
//! them, and protobuf 2's own parser is never entered.

use std::any::Any;
use std::sync::LazyLock;

use protobuf::error::WireError;
use protobuf::reflect::MessageDescriptor;
use protobuf::{CodedInputStream, CodedOutputStream, ProtobufError, ProtobufResult, UnknownFields};

use crate::eraftpb::{
    ConfChange, ConfChangeSingle, ConfChangeV2, ConfState, Entry, HardState, Message, Snapshot,
    SnapshotMetadata,
};

static NO_UNKNOWN_FIELDS: LazyLock<UnknownFields> = LazyLock::new(UnknownFields::default);

/// The length of an encoded message as protobuf 2 counts: saturated, since raft-rs only compares
/// it with limits.
fn size_of(message: &impl prost::Message) -> u32 {
    u32::try_from(message.encoded_len()).unwrap_or(u32::MAX)
}

fn merge<M: prost::Message>(message: &mut M, bytes: &[u8]) -> ProtobufResult<()> {
    message
        .merge(bytes)
        .map_err(|_| ProtobufError::WireError(WireError::Other))
}

macro_rules! protobuf_message {
    ($($message:ty),* $(,)?) => {$(
        impl protobuf::Clear for $message {
            fn clear(&mut self) {
                prost::Message::clear(self);
            }
        }

        impl protobuf::Message for $message {
            // Only reflection asks, and raft-rs uses none.
            fn descriptor(&self) -> &'static MessageDescriptor {
                unreachable!("messages on prost have no protobuf 2 descriptor")
            }

            fn is_initialized(&self) -> bool {
                true
            }

            fn merge_from(&mut self, input: &mut CodedInputStream<'_>) -> ProtobufResult<()> {
                let mut bytes = Vec::new();
                while !input.eof()? {
                    bytes.push(input.read_raw_byte()?);
                }
                merge(self, &bytes)
            }

            fn merge_from_bytes(&mut self, bytes: &[u8]) -> ProtobufResult<()> {
                merge(self, bytes)
            }

            fn write_to_with_cached_sizes(
                &self,
                output: &mut CodedOutputStream<'_>,
            ) -> ProtobufResult<()> {
                output.write_raw_bytes(&prost::Message::encode_to_vec(self))
            }

            fn write_to_bytes(&self) -> ProtobufResult<Vec<u8>> {
                Ok(prost::Message::encode_to_vec(self))
            }

            fn compute_size(&self) -> u32 {
                size_of(self)
            }

            fn get_cached_size(&self) -> u32 {
                size_of(self)
            }

            fn get_unknown_fields(&self) -> &UnknownFields {
                &NO_UNKNOWN_FIELDS
            }

            // Only protobuf 2's parser asks; prost reads.
            fn mut_unknown_fields(&mut self) -> &mut UnknownFields {
                unreachable!("messages on prost keep no unknown fields")
            }

            fn as_any(&self) -> &dyn Any {
                self
            }

            fn new() -> Self {
                Self::default()
            }

            fn default_instance() -> &'static Self {
                static DEFAULT: LazyLock<$message> = LazyLock::new(Default::default);
                &DEFAULT
            }
        }
    )*};
}

protobuf_message!(
    ConfChange,
    ConfChangeSingle,
    ConfChangeV2,
    ConfState,
    Entry,
    HardState,
    Message,
    Snapshot,
    SnapshotMetadata,
);

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use protobuf::Message as _;

    use super::*;

    #[test]
    fn bytes_and_sizes_are_those_of_prost() {
        let entry = Entry {
            index: 7,
            term: 3,
            data: Bytes::from_static(b"put"),
            ..Entry::default()
        };
        let encoded = prost::Message::encode_to_vec(&entry);
        // Type is left out when normal; Term 2, Index 3, Data 4, as etcd's raftpb numbers them.
        assert_eq!(encoded, [0x10, 3, 0x18, 7, 0x22, 3, b'p', b'u', b't']);
        assert_eq!(entry.write_to_bytes().unwrap(), encoded);
        assert_eq!(entry.compute_size() as usize, encoded.len());
        let mut streamed = Vec::new();
        entry.write_to_vec(&mut streamed).unwrap();
        assert_eq!(streamed, encoded);

        let mut read = Entry::default();
        read.merge_from_bytes(&encoded).unwrap();
        assert_eq!(read, entry);
        let mut parsed = Entry::default();
        parsed
            .merge_from(&mut CodedInputStream::from_bytes(&encoded))
            .unwrap();
        assert_eq!(parsed, entry);
    }

    #[test]
    fn broken_bytes_are_an_error() {
        assert!(Entry::default().merge_from_bytes(&[0x22, 200, 1]).is_err());
    }
}
