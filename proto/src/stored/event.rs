//! An event as watchers receive it, encoded once for all of them.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, int32},
};

use super::fields::{append_field, put_record, record_len};
use crate::mvccpb::{Event, event::EventType};

const TYPE_TAG: u32 = 1;
const KV_TAG: u32 = 2;
const PREV_KV_TAG: u32 = 3;

/// The encoding of an [`Event`], which as a message writes itself as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EncodedEvent(pub Bytes);

impl EncodedEvent {
    /// Splices an event from stored key-values.
    #[must_use]
    pub fn splice(kind: EventType, kv: &[u8], prev_kv: Option<&[u8]>) -> Self {
        let kind = i32::from(kind);
        let kind_len = if kind == 0 {
            0
        } else {
            int32::encoded_len(TYPE_TAG, &kind)
        };
        let prev_len = prev_kv.map_or(0, |prev| record_len(PREV_KV_TAG, prev.len()));
        let mut event = BytesMut::with_capacity(kind_len + record_len(KV_TAG, kv.len()) + prev_len);
        if kind != 0 {
            int32::encode(TYPE_TAG, &kind, &mut event);
        }
        put_record(KV_TAG, kv, &mut event);
        if let Some(prev) = prev_kv {
            put_record(PREV_KV_TAG, prev, &mut event);
        }
        Self(event.freeze())
    }
}

impl From<&Event> for EncodedEvent {
    fn from(decoded: &Event) -> Self {
        Self(decoded.encode_to_vec().into())
    }
}

impl Message for EncodedEvent {
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
