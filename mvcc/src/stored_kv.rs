//! The stored value of a change: an encoded `mvccpb.KeyValue`.
//!
//! ```text
//! field  1    2                3             4        5      6
//!        key  create_revision  mod_revision  version  value  lease
//! ```
//!
//! Fields stand in this order and those that are zero or empty are left out, as every Protocol
//! Buffers library writes them, so that stored bytes can be sent as they are and hash alike
//! everywhere. A deletion stores the key alone. It is written and read by hand because a put
//! encodes once, with one allocation, and a reader wants one field without decoding the others.

use bytes::{BufMut, Bytes, BytesMut};
use cairn_index::{KeyVersion, Revision, Version};
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

use crate::lease_id::LeaseId;

const KEY_TAG: u8 = 0x0a;
const CREATED_TAG: u8 = 0x10;
const MODIFIED_TAG: u8 = 0x18;
const VERSION_TAG: u8 = 0x20;
const VALUE_TAG: u8 = 0x2a;
const LEASE_TAG: u8 = 0x30;

/// A key-value pair on its way to a reader.
#[derive(Clone, Copy, Debug)]
pub struct StoredKv<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The encoded `mvccpb.KeyValue`.
    pub encoded: &'a [u8],
    /// The version of the key that was found.
    pub version: KeyVersion,
}

impl<'a> StoredKv<'a> {
    /// The transaction that created the key.
    #[must_use]
    pub const fn create_revision(&self) -> Revision {
        self.version.created
    }

    /// The transaction that wrote this version.
    #[must_use]
    pub const fn mod_revision(&self) -> Revision {
        self.version.modified.main
    }

    /// How many times the key was written since it was created.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version.version
    }

    /// All fields, read from the encoded bytes.
    ///
    /// # Errors
    ///
    /// [`MalformedKv`] if the stored bytes are damaged.
    pub fn fields(&self) -> Result<KvFields<'a>, MalformedKv> {
        KvFields::parse(self.encoded)
    }
}

/// The fields of a `KeyValue`, borrowed, with the wire's numbers: zero is "not there".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvFields<'a> {
    /// The key.
    pub key: &'a [u8],
    /// `create_revision`.
    pub created: i64,
    /// `mod_revision`.
    pub modified: i64,
    /// `version`.
    pub version: i64,
    /// The value.
    pub value: &'a [u8],
    /// The lease that the key is attached to.
    pub lease: Option<LeaseId>,
}

impl<'a> KvFields<'a> {
    /// The key and nothing else.
    pub(crate) fn of_key(key: &'a [u8]) -> Self {
        Self {
            key,
            ..Self::default()
        }
    }

    /// The key and what the index knows of it.
    pub(crate) fn of_version(key: &'a [u8], version: KeyVersion) -> Self {
        Self {
            key,
            created: version.created.to_wire(),
            modified: version.modified.main.to_wire(),
            version: version.version.to_wire(),
            ..Self::default()
        }
    }

    /// Reads an encoded `KeyValue`.
    ///
    /// # Errors
    ///
    /// [`MalformedKv`] if the bytes are not one.
    pub fn parse(encoded: &'a [u8]) -> Result<Self, MalformedKv> {
        let mut fields = Self::default();
        let mut rest = encoded;
        while let Some((&tag, after)) = rest.split_first() {
            rest = after;
            let number = decode_varint(&mut rest).map_err(|_| MalformedKv)?;
            match tag {
                KEY_TAG => fields.key = split_bytes(&mut rest, number)?,
                VALUE_TAG => fields.value = split_bytes(&mut rest, number)?,
                CREATED_TAG => fields.created = number.cast_signed(),
                MODIFIED_TAG => fields.modified = number.cast_signed(),
                VERSION_TAG => fields.version = number.cast_signed(),
                LEASE_TAG => fields.lease = LeaseId::from_wire(number.cast_signed()),
                _ => return Err(MalformedKv),
            }
        }
        Ok(fields)
    }

    fn encoded_len(&self) -> usize {
        let numbers = [self.created, self.modified, self.version, self.lease_wire()];
        len_of_bytes(self.key)
            + len_of_bytes(self.value)
            + numbers.into_iter().map(len_of_number).sum::<usize>()
    }

    fn lease_wire(&self) -> i64 {
        self.lease.map_or(0, LeaseId::to_wire)
    }

    pub(crate) fn encode_into(&self, buffer: &mut impl BufMut) {
        put_bytes(buffer, KEY_TAG, self.key);
        put_number(buffer, CREATED_TAG, self.created);
        put_number(buffer, MODIFIED_TAG, self.modified);
        put_number(buffer, VERSION_TAG, self.version);
        put_bytes(buffer, VALUE_TAG, self.value);
        put_number(buffer, LEASE_TAG, self.lease_wire());
    }
}

/// Bytes that should be an encoded `KeyValue` and are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored value is not a KeyValue")]
pub struct MalformedKv;

/// Encodes a `KeyValue` into a buffer of exactly its length.
pub(crate) fn encode(fields: &KvFields<'_>) -> Bytes {
    let len = fields.encoded_len();
    let mut buffer = BytesMut::with_capacity(len);
    fields.encode_into(&mut buffer);
    assert_eq!(buffer.len(), len, "the length was foretold");
    buffer.freeze()
}

/// The key within an encoded `KeyValue`, shared and not copied.
pub(crate) fn key_of(encoded: &Bytes, key_len: usize) -> Bytes {
    if key_len == 0 {
        return Bytes::new();
    }
    let start = 1 + encoded_len_varint(key_len as u64);
    encoded.slice(start..start + key_len)
}

fn split_bytes<'a>(rest: &mut &'a [u8], len: u64) -> Result<&'a [u8], MalformedKv> {
    let len = usize::try_from(len).map_err(|_| MalformedKv)?;
    let (bytes, after) = rest.split_at_checked(len).ok_or(MalformedKv)?;
    *rest = after;
    Ok(bytes)
}

fn len_of_bytes(bytes: &[u8]) -> usize {
    match bytes.len() {
        0 => 0,
        len => 1 + encoded_len_varint(len as u64) + len,
    }
}

fn len_of_number(number: i64) -> usize {
    match number {
        0 => 0,
        _ => 1 + encoded_len_varint(number.cast_unsigned()),
    }
}

fn put_bytes(buffer: &mut impl BufMut, tag: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        buffer.put_u8(tag);
        encode_varint(bytes.len() as u64, buffer);
        buffer.put_slice(bytes);
    }
}

fn put_number(buffer: &mut impl BufMut, tag: u8, number: i64) {
    if number != 0 {
        buffer.put_u8(tag);
        encode_varint(number.cast_unsigned(), buffer);
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::mvccpb::KeyValue;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn fields_of(kv: &KeyValue) -> KvFields<'_> {
        KvFields {
            key: &kv.key,
            created: kv.create_revision,
            modified: kv.mod_revision,
            version: kv.version,
            value: &kv.value,
            lease: LeaseId::from_wire(kv.lease),
        }
    }

    fn key_value() -> impl Strategy<Value = KeyValue> {
        let bytes = || vec(any::<u8>(), 0..200);
        let number = || prop_oneof![Just(0), Just(1), Just(-1), any::<i64>()];
        (bytes(), number(), number(), number(), bytes(), number()).prop_map(
            |(key, create_revision, mod_revision, version, value, lease)| KeyValue {
                key: key.into(),
                create_revision,
                mod_revision,
                version,
                value: value.into(),
                lease,
            },
        )
    }

    proptest! {
        #[test]
        fn bytes_written_by_hand_are_those_that_prost_writes(kv in key_value()) {
            let by_hand = encode(&fields_of(&kv));
            prop_assert_eq!(&by_hand, &kv.encode_to_vec());
            prop_assert_eq!(KvFields::parse(&by_hand), Ok(fields_of(&kv)));
            prop_assert_eq!(key_of(&by_hand, kv.key.len()), &kv.key);
        }

        #[test]
        fn damaged_bytes_are_refused_or_read_but_never_panic(bytes in vec(any::<u8>(), 0..40)) {
            if let Ok(fields) = KvFields::parse(&bytes) {
                prop_assert!(fields.key.len() + fields.value.len() <= bytes.len());
            }
        }
    }

    #[test]
    fn a_truncated_value_is_refused() {
        let whole = encode(&KvFields {
            key: b"key",
            value: b"value",
            ..KvFields::default()
        });
        let field_ends = [0, 5, whole.len()];
        for end in (0..whole.len()).filter(|end| !field_ends.contains(end)) {
            assert_eq!(KvFields::parse(&whole[..end]), Err(MalformedKv), "{end}");
        }
    }
}
