//! Reading and writing protobuf fields without knowing their meaning.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::{
    DecodeError,
    encoding::{
        DecodeContext, WireType, bytes as payload, encode_key, encode_varint, encoded_len_varint,
        fixed32, fixed64, key_len, skip_field, uint64,
    },
};

/// Length of a length-delimited field with its key.
pub(super) fn record_len(tag: u32, content_len: usize) -> usize {
    key_len(tag) + encoded_len_varint(content_len as u64) + content_len
}

/// Writes a length-delimited field with its key.
pub(super) fn put_record(tag: u32, content: &[u8], to: &mut impl BufMut) {
    encode_key(tag, WireType::LengthDelimited, to);
    encode_varint(content.len() as u64, to);
    to.put_slice(content);
}

/// Appends one field, whose key has been read from `from` already, to an encoded message.
///
/// Groups are skipped: no message of the API has one.
pub(super) fn append_field(
    message: &mut Bytes,
    tag: u32,
    wire_type: WireType,
    from: &mut impl Buf,
    context: DecodeContext,
) -> Result<(), DecodeError> {
    // While a message is being decoded it has one owner, so this takes its buffer back uncopied.
    let mut grown = std::mem::take(message)
        .try_into_mut()
        .unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
    let copied = copy_field(&mut grown, tag, wire_type, from, context);
    *message = grown.freeze();
    copied
}

fn copy_field(
    to: &mut BytesMut,
    tag: u32,
    wire_type: WireType,
    from: &mut impl Buf,
    context: DecodeContext,
) -> Result<(), DecodeError> {
    match wire_type {
        WireType::Varint => {
            let mut value = 0;
            uint64::merge(wire_type, &mut value, from, context)?;
            uint64::encode(tag, &value, to);
        }
        WireType::SixtyFourBit => {
            let mut value = 0;
            fixed64::merge(wire_type, &mut value, from, context)?;
            fixed64::encode(tag, &value, to);
        }
        WireType::ThirtyTwoBit => {
            let mut value = 0;
            fixed32::merge(wire_type, &mut value, from, context)?;
            fixed32::encode(tag, &value, to);
        }
        WireType::LengthDelimited => {
            let mut content = Bytes::new();
            payload::merge(wire_type, &mut content, from, context)?;
            put_record(tag, &content, to);
        }
        WireType::StartGroup | WireType::EndGroup => skip_field(wire_type, tag, from, context)?,
    }
    Ok(())
}
