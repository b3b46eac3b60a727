//! The answer to a range, around a buffer of framed key-values.

use bytes::{Buf, BufMut};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, bool, int64, message, skip_field},
};

use super::kvs::{EncodedKvs, KVS_TAG};
use crate::etcdserverpb::ResponseHeader;

const HEADER_TAG: u32 = 1;
const MORE_TAG: u32 = 3;
const COUNT_TAG: u32 = 4;

/// [`crate::etcdserverpb::RangeResponse`] with its key-values as the store holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RangeResponse {
    /// Identity of the answering member, and the store's revision.
    pub header: Option<ResponseHeader>,
    /// The key-values, in the order asked for.
    pub kvs: EncodedKvs,
    /// Whether the limit cut the answer short.
    pub more: bool,
    /// Number of keys in the range, whatever the limit.
    pub count: i64,
}

impl Message for RangeResponse {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        if let Some(header) = &self.header {
            message::encode(HEADER_TAG, header, buf);
        }
        buf.put_slice(self.kvs.framed());
        if self.more {
            bool::encode(MORE_TAG, &self.more, buf);
        }
        if self.count != 0 {
            int64::encode(COUNT_TAG, &self.count, buf);
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            HEADER_TAG => message::merge(wire_type, self.header.get_or_insert_default(), buf, ctx),
            KVS_TAG => self.kvs.merge(wire_type, buf, ctx),
            MORE_TAG => bool::merge(wire_type, &mut self.more, buf, ctx),
            COUNT_TAG => int64::merge(wire_type, &mut self.count, buf, ctx),
            _ => skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        let header = self
            .header
            .as_ref()
            .map_or(0, |it| message::encoded_len(HEADER_TAG, it));
        let more = if self.more {
            bool::encoded_len(MORE_TAG, &self.more)
        } else {
            0
        };
        let count = if self.count == 0 {
            0
        } else {
            int64::encoded_len(COUNT_TAG, &self.count)
        };
        header + self.kvs.framed().len() + more + count
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}
