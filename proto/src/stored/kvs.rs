//! The key-values of a range answer, as one buffer that is ready for the wire.

use bytes::{Buf, Bytes, BytesMut};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, encode_key, encode_varint},
};

use super::fields::{append_field, put_record, record_len};
use crate::mvccpb::KeyValue;

/// Number of the field `kvs` in `etcdserverpb.RangeResponse`.
pub(super) const KVS_TAG: u32 = 2;

/// Encoded key-values, each framed as a record of `RangeResponse.kvs`.
///
/// Invariants:
/// 1. `framed` is a sequence of whole records: key of field 2, length, encoded `KeyValue`.
/// 2. `len` is their number.
///
/// Only [`EncodedKvsBuilder`] and decoding make one, and both add whole records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EncodedKvs {
    framed: Bytes,
    len: usize,
}

impl EncodedKvs {
    /// How many key-values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The records as they go onto the wire.
    #[must_use]
    pub fn framed(&self) -> &Bytes {
        &self.framed
    }

    /// The encoded key-values one by one, sharing this buffer.
    ///
    /// # Panics
    ///
    /// If invariant 1 is broken: a record that is passed over would be a pair that nobody misses.
    pub fn iter(&self) -> impl Iterator<Item = Bytes> + use<> {
        let mut rest = self.framed.clone();
        std::iter::from_fn(move || {
            if !rest.has_remaining() {
                return None;
            }
            rest.advance(1); // The key of field 2.
            let len = prost::encoding::decode_varint(&mut rest).ok();
            let len = len.and_then(|len| usize::try_from(len).ok());
            let len = len.filter(|len| *len <= rest.len());
            assert!(len.is_some(), "invariant 1: records are whole");
            len.map(|len| rest.split_to(len))
        })
    }

    /// Reads one more record of the field, whose key has been read already.
    pub(super) fn merge(
        &mut self,
        wire_type: WireType,
        from: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        prost::encoding::check_wire_type(WireType::LengthDelimited, wire_type)?;
        append_field(&mut self.framed, KVS_TAG, wire_type, from, context)?;
        self.len += 1;
        Ok(())
    }
}

impl FromIterator<Bytes> for EncodedKvs {
    fn from_iter<I: IntoIterator<Item = Bytes>>(encoded: I) -> Self {
        let mut builder = EncodedKvsBuilder::new();
        encoded.into_iter().for_each(|kv| builder.push(&kv));
        builder.finish()
    }
}

/// Builds [`EncodedKvs`]: one copy of each key-value into one growing buffer.
#[derive(Debug, Default)]
pub struct EncodedKvsBuilder {
    framed: BytesMut,
    len: usize,
}

impl EncodedKvsBuilder {
    /// An empty builder, which allocates with the first key-value.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty builder with room for `bytes` of framed records.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            framed: BytesMut::with_capacity(bytes),
            len: 0,
        }
    }

    /// Adds a key-value as the store holds it.
    pub fn push(&mut self, encoded_kv: &[u8]) {
        self.framed.reserve(record_len(KVS_TAG, encoded_kv.len()));
        put_record(KVS_TAG, encoded_kv, &mut self.framed);
        self.len += 1;
    }

    /// Adds a key-value that is not stored in this form, as where values are left out.
    pub fn push_decoded(&mut self, kv: &KeyValue) {
        let len = kv.encoded_len();
        self.framed.reserve(record_len(KVS_TAG, len));
        encode_key(KVS_TAG, WireType::LengthDelimited, &mut self.framed);
        encode_varint(len as u64, &mut self.framed);
        kv.encode_raw(&mut self.framed);
        self.len += 1;
    }

    /// How many key-values were added.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that the key-values added so far take on the wire.
    #[must_use]
    pub fn framed_len(&self) -> usize {
        self.framed.len()
    }

    /// The finished field.
    #[must_use]
    pub fn finish(self) -> EncodedKvs {
        EncodedKvs {
            framed: self.framed.freeze(),
            len: self.len,
        }
    }
}
