//! gRPC's message framing: one flag byte, four bytes of length, the message.
//!
//! Compression is never asked for, so a set flag is an error. HTTP/2 frames are `h2`'s business.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes before each message: the compression flag and the length.
pub const HEADER_LEN: usize = 5;

/// The longest message accepted: no etcd answer is larger than gRPC's own limit of 2 GiB.
const MESSAGE_LEN_MAX: usize = i32::MAX as usize;

/// Encodes a message with its header, ready to be sent as HTTP/2 data.
#[must_use]
pub fn frame(message: &impl prost::Message) -> Bytes {
    let len = message.encoded_len();
    let mut framed = BytesMut::with_capacity(HEADER_LEN + len);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    // `BytesMut` grows, so that encoding cannot run out of room.
    let encoded = message.encode(&mut framed);
    debug_assert!(encoded.is_ok(), "a growing buffer ran out of room");
    framed.freeze()
}

/// Cuts a stream of HTTP/2 data chunks into messages.
///
/// A message that lies within one chunk is a slice of it; others are gathered.
#[derive(Debug, Default)]
pub struct Frames {
    chunk: Bytes,
    gathered: BytesMut,
}

impl Frames {
    /// Adds the next chunk; call [`Frames::next_message`] until it is empty before the next one.
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() && self.gathered.is_empty() {
            self.chunk = chunk;
        } else {
            self.gathered.extend_from_slice(&self.chunk);
            self.chunk = Bytes::new();
            self.gathered.extend_from_slice(&chunk);
        }
    }

    /// The next whole message, or `None` when more data is needed.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if the header announces a compressed or an absurdly long message.
    pub fn next_message(&mut self) -> Result<Option<Bytes>, FrameError> {
        if !self.gathered.is_empty() {
            let Some(len) = message_len(&self.gathered)? else {
                return Ok(None);
            };
            if self.gathered.len() < HEADER_LEN + len {
                return Ok(None);
            }
            let mut framed = self.gathered.split_to(HEADER_LEN + len).freeze();
            return Ok(Some(framed.split_off(HEADER_LEN)));
        }
        let Some(len) = message_len(&self.chunk)? else {
            return Ok(None);
        };
        if self.chunk.len() < HEADER_LEN + len {
            return Ok(None);
        }
        let mut framed = self.chunk.split_to(HEADER_LEN + len);
        Ok(Some(framed.split_off(HEADER_LEN)))
    }

    /// Whether the bytes so far end with a whole message.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.chunk.is_empty() && self.gathered.is_empty()
    }
}

/// A frame header that no etcd server sends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The message is compressed, which was not asked for.
    #[error("message with compression flag {flag}")]
    Compressed {
        /// The flag byte.
        flag: u8,
    },
    /// The message is longer than gRPC allows.
    #[error("message of {len} bytes")]
    TooLong {
        /// The announced length.
        len: usize,
    },
}

fn message_len(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(&[flag, a, b, c, d]) = bytes.first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    if flag != 0 {
        return Err(FrameError::Compressed { flag });
    }
    let len = u32::from_be_bytes([a, b, c, d]) as usize;
    if len > MESSAGE_LEN_MAX {
        return Err(FrameError::TooLong { len });
    }
    Ok(Some(len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.push(0);
            bytes.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(message);
        }
        bytes
    }

    #[test]
    fn a_frame_is_flag_length_and_message() {
        let message = Bytes::from_static(b"abc");
        assert_eq!(&frame(&message)[..], b"\0\0\0\0\x05\x0a\x03abc");
    }

    #[test]
    fn a_compressed_message_is_an_error() {
        let mut frames = Frames::default();
        frames.push(Bytes::from_static(b"\x01\0\0\0\0"));
        assert_eq!(
            frames.next_message(),
            Err(FrameError::Compressed { flag: 1 })
        );
    }

    #[test]
    fn a_length_past_the_limit_is_an_error() {
        let mut frames = Frames::default();
        frames.push(Bytes::from_static(b"\0\xff\xff\xff\xff"));
        assert_eq!(
            frames.next_message(),
            Err(FrameError::TooLong {
                len: u32::MAX as usize
            })
        );
    }

    proptest! {
        #[test]
        fn messages_come_out_whole_however_the_stream_is_cut(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in proptest::collection::vec(1_usize..30, 1..20),
        ) {
            let bytes = framed(&messages);
            let mut rest = &bytes[..];
            let mut frames = Frames::default();
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
}
