//! gRPC's message framing: one flag byte, four bytes of length, the message.

use bytes::{BufMut, Bytes, BytesMut};

use super::failure::CallFailure;

/// Bytes before each message.
const HEADER_LEN: usize = 5;

/// Encodes a message with its header.
pub(crate) fn frame(message: &impl prost::Message) -> Bytes {
    let len = message.encoded_len();
    let mut framed = BytesMut::with_capacity(HEADER_LEN + len);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    message.encode_raw(&mut framed);
    framed.freeze()
}

/// Cuts a stream of data into messages. A message that lies within one chunk is a slice of it.
#[derive(Debug)]
pub(super) struct Frames {
    chunk: Bytes,
    gathered: BytesMut,
    message_bytes_max: usize,
}

impl Frames {
    pub(super) fn new(message_bytes_max: usize) -> Self {
        Self {
            chunk: Bytes::new(),
            gathered: BytesMut::new(),
            message_bytes_max,
        }
    }

    /// Adds the next chunk; all whole messages must have been taken before.
    pub(super) fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() && self.gathered.is_empty() {
            self.chunk = chunk;
        } else {
            self.gathered.extend_from_slice(&self.chunk);
            self.chunk = Bytes::new();
            self.gathered.extend_from_slice(&chunk);
        }
    }

    /// The next whole message, or `None` when more data is needed.
    pub(super) fn next_message(&mut self) -> Result<Option<Bytes>, CallFailure> {
        let is_gathered = !self.gathered.is_empty();
        let ready: &[u8] = if is_gathered {
            &self.gathered
        } else {
            &self.chunk
        };
        let Some(&[flag, a, b, c, d]) = ready.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        if flag != 0 {
            let reason = format!("a message with compression flag {flag}, unasked");
            return Err(CallFailure::Protocol(reason));
        }
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        if len > self.message_bytes_max {
            let max = self.message_bytes_max;
            let reason = format!("a message of {len} bytes, {max} are taken at most");
            return Err(CallFailure::Protocol(reason));
        }
        let whole = HEADER_LEN + len;
        if ready.len() < whole {
            if is_gathered {
                self.gathered.reserve(whole - self.gathered.len());
            }
            return Ok(None);
        }
        let mut framed = if is_gathered {
            self.gathered.split_to(whole).freeze()
        } else {
            self.chunk.split_to(whole)
        };
        Ok(Some(framed.split_off(HEADER_LEN)))
    }

    /// Whether the bytes so far end with a whole message.
    pub(super) fn is_drained(&self) -> bool {
        self.chunk.is_empty() && self.gathered.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_come_out_whole_however_the_stream_is_cut(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in proptest::collection::vec(1_usize..30, 1..20),
        ) {
            let mut bytes = Vec::new();
            for message in &messages {
                bytes.push(0);
                bytes.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
                bytes.extend_from_slice(message);
            }
            let mut rest = &bytes[..];
            let mut frames = Frames::new(40);
            let mut seen = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (head, tail) = rest.split_at((*cut).min(rest.len()));
                frames.push(Bytes::copy_from_slice(head));
                while let Some(message) = frames.next_message().unwrap() {
                    seen.push(message.to_vec());
                }
                rest = tail;
            }
            prop_assert!(frames.is_drained());
            prop_assert_eq!(seen, messages);
        }
    }

    #[test]
    fn compressed_and_overlong_messages_are_errors() {
        for bytes in [b"\x01\0\0\0\0", b"\0\0\0\0\x0b"] {
            let mut frames = Frames::new(10);
            frames.push(Bytes::from_static(bytes));
            assert!(matches!(
                frames.next_message(),
                Err(CallFailure::Protocol(_))
            ));
        }
    }
}
