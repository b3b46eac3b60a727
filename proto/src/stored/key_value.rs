//! A key-value as the store holds it.

use bytes::{Buf, BufMut, Bytes};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType},
};

use super::fields::append_field;
use crate::mvccpb::KeyValue;

/// The encoding of a [`KeyValue`], which as a message writes itself as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EncodedKeyValue(pub Bytes);

impl From<&KeyValue> for EncodedKeyValue {
    fn from(decoded: &KeyValue) -> Self {
        Self(decoded.encode_to_vec().into())
    }
}

impl Message for EncodedKeyValue {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        append_field(&mut self.0, tag, wire_type, buf, ctx)
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}
