//! Reading messages as etcd's library does: a known field of another wire type is an unknown field.
//!
//! prost takes such a field for an error. So what it cannot read is looked at once more, without those
//! fields; a message that is well formed never comes here.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};
use prost::{DecodeError, Message, Name};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// Messages in messages that are looked into: as many as prost reads.
const DEPTH_MAX: usize = 100;

/// Reads a message.
///
/// # Errors
///
/// What prost finds wrong with it, but for known fields of another wire type.
pub fn decode<M: Message + Name + Default>(bytes: &Bytes) -> Result<M, DecodeError> {
    M::decode(bytes.clone()).or_else(|error| {
        let fitting = TYPES
            .get(&M::full_name())
            .and_then(|message| fitting_fields(bytes, message, DEPTH_MAX));
        match fitting {
            Some(fitting) if fitting.len() < bytes.len() => M::decode(&*fitting),
            _ => Err(error),
        }
    })
}

/// A message type: its fields by number.
type Fields = HashMap<u32, Field>;

/// What a field may be on the wire.
struct Field {
    wire_type: WireType,
    /// Numbers of a repeated field may be packed.
    is_packable: bool,
    /// The full name of its type, if it is a message.
    message: Option<String>,
}

static TYPES: LazyLock<HashMap<String, Fields>> = LazyLock::new(|| {
    let mut types = HashMap::new();
    // They are ours: a test reads them.
    let files = FileDescriptorSet::decode(crate::DESCRIPTORS).unwrap_or_default();
    for file in files.file {
        for message in &file.message_type {
            add(&mut types, file.package(), message);
        }
    }
    types
});

fn add(types: &mut HashMap<String, Fields>, scope: &str, message: &DescriptorProto) {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        add(types, &name, nested);
    }
    let number = |field: &FieldDescriptorProto| u32::try_from(field.number()).ok();
    let fields = message.field.iter();
    let fields = fields.filter_map(|it| Some((number(it)?, Field::of(it))));
    types.insert(name, fields.collect());
}

impl Field {
    fn of(field: &FieldDescriptorProto) -> Self {
        let wire_type = match field.r#type() {
            Type::Fixed64 | Type::Sfixed64 | Type::Double => WireType::SixtyFourBit,
            Type::Fixed32 | Type::Sfixed32 | Type::Float => WireType::ThirtyTwoBit,
            Type::String | Type::Bytes | Type::Message => WireType::LengthDelimited,
            Type::Group => WireType::StartGroup,
            Type::Int32
            | Type::Int64
            | Type::Uint32
            | Type::Uint64
            | Type::Sint32
            | Type::Sint64
            | Type::Bool
            | Type::Enum => WireType::Varint,
        };
        let is_message = field.r#type() == Type::Message;
        let name = || field.type_name().trim_start_matches('.').to_owned();
        Self {
            wire_type,
            is_packable: field.label() == Label::Repeated,
            message: is_message.then(name),
        }
    }

    fn fits(&self, wire_type: WireType) -> bool {
        wire_type == self.wire_type || (self.is_packable && wire_type == WireType::LengthDelimited)
    }
}

/// The message without known fields of another wire type; `None` if it is no message, or too deep.
fn fitting_fields(mut bytes: &[u8], message: &Fields, depth: usize) -> Option<Vec<u8>> {
    let depth = depth.checked_sub(1)?;
    let mut fitting = Vec::with_capacity(bytes.len());
    while bytes.has_remaining() {
        let whole = bytes;
        let (number, wire_type) = decode_key(&mut bytes).ok()?;
        let field = message.get(&number);
        let inner = field.and_then(|field| TYPES.get(field.message.as_ref()?));
        if let Some(inner) = inner.filter(|_| wire_type == WireType::LengthDelimited) {
            let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
            let (content, rest) = bytes.split_at_checked(length)?;
            bytes = rest;
            let content = fitting_fields(content, inner, depth)?;
            encode_key(number, wire_type, &mut fitting);
            encode_varint(content.len() as u64, &mut fitting);
            fitting.put_slice(&content);
            continue;
        }
        skip_field(wire_type, number, &mut bytes, DecodeContext::default()).ok()?;
        if field.is_none_or(|field| field.fits(wire_type)) {
            let length = whole.len() - bytes.len();
            fitting.put_slice(whole.get(..length)?);
        }
    }
    Some(fitting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcdserverpb::{
        PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest, WatchRequest,
        request_op, watch_request,
    };

    fn read<M: Message + Name + Default>(bytes: &'static [u8]) -> Result<M, DecodeError> {
        decode(&Bytes::from_static(bytes))
    }

    /// What etcd 3.7 does with the same bytes: it writes the key, without a lease, or without a value.
    #[test]
    fn a_field_of_another_wire_type_is_not_there() {
        let put = |value: &'static str| PutRequest {
            key: "k".into(),
            value: value.into(),
            ..PutRequest::default()
        };
        assert_eq!(read(b"\x0a\x01k\x12\x01w\x1a\x02ab"), Ok(put("w")));
        assert_eq!(read(b"\x0a\x01k\x10\x05"), Ok(put("")));
        let range = RangeRequest {
            key: "k".into(),
            ..RangeRequest::default()
        };
        assert_eq!(
            read(b"\x0a\x01k\x19\x01\x01\x01\x01\x01\x01\x01\x01"),
            Ok(range.clone())
        );
        assert_eq!(read(b"\x0a\x01k\x1b\x08\x01\x1c"), Ok(range));
    }

    #[test]
    fn so_it_is_in_messages_in_messages() {
        let put = PutRequest {
            key: "k".into(),
            value: "z".into(),
            ..PutRequest::default()
        };
        let request = Some(request_op::Request::RequestPut(put));
        let txn = |request| TxnRequest {
            success: vec![RequestOp { request }],
            ..TxnRequest::default()
        };
        assert_eq!(
            read(b"\x12\x0c\x12\x0a\x0a\x01k\x12\x01z\x1a\x02ab"),
            Ok(txn(request))
        );
        assert_eq!(read(b"\x12\x02\x10\x05"), Ok(txn(None)));
    }

    #[test]
    fn packed_numbers_stay_and_what_is_no_message_is_refused() {
        let create = WatchCreateRequest {
            filters: vec![0, 1],
            ..WatchCreateRequest::default()
        };
        let union = watch_request::RequestUnion::CreateRequest(create);
        let watch = WatchRequest {
            request_union: Some(union),
        };
        // Packed filters, and a key that is a number.
        assert_eq!(read(b"\x0a\x06\x2a\x02\x00\x01\x08\x07"), Ok(watch));
        for bytes in [
            &b"\x0a\x09k"[..],
            b"\x08\x07\x0a\x09k",
            b"\x00",
            b"\x08\x07\x1c",
        ] {
            assert!(read::<RangeRequest>(bytes).is_err(), "{bytes:?}");
        }
        assert!(!TYPES.is_empty(), "the descriptors are read");
        // 60 transactions, each in an operation of the one around it, and a number where the innermost
        // one's list is.
        let mut deep = vec![0x10, 0x05];
        for tag in [0x22, 0x12].repeat(60) {
            let inner = std::mem::take(&mut deep);
            deep.push(tag);
            encode_varint(inner.len() as u64, &mut deep);
            deep.extend(inner);
        }
        assert!(decode::<TxnRequest>(&deep.into()).is_err());
    }
}
