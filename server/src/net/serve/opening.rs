//! The first bytes of a connection tell what it speaks.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// What every HTTP/2 client sends first, and no other protocol begins with.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A TLS record of a handshake begins with it; no method of HTTP does.
const TLS_HANDSHAKE: u8 = 22;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/2 from the first byte on, as gRPC does.
    Http2,
    /// TLS, with anything in it.
    Tls,
    /// Anything else: HTTP/1.1, or what its parser will refuse.
    Http1,
}

/// A connection's first bytes, which its protocol still has to see.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) protocol: Protocol,
    pub(super) bytes: Vec<u8>,
}

impl Opening {
    /// Reads until the protocol is clear. None: the client left before.
    pub(super) async fn read(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let mut bytes = Vec::with_capacity(PREFACE.len());
        loop {
            let mut piece = [0; PREFACE.len()];
            let room = PREFACE.len() - bytes.len();
            let read = match piece.get_mut(..room) {
                Some(piece) => socket.read(piece).await?,
                None => 0,
            };
            if read == 0 {
                return Ok(None);
            }
            bytes.extend(piece.iter().take(read));
            let protocol = if bytes == PREFACE {
                Protocol::Http2
            } else if PREFACE.starts_with(&bytes) {
                continue;
            } else if bytes.first() == Some(&TLS_HANDSHAKE) {
                Protocol::Tls
            } else {
                Protocol::Http1
            };
            return Ok(Some(Self { protocol, bytes }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> Option<Opening> {
        Opening::read(&mut &*bytes).await.unwrap()
    }

    #[tokio::test]
    async fn http2_is_known_by_its_preface_and_nothing_after_it_is_taken() {
        let mut sent = PREFACE.to_vec();
        sent.extend([0, 0, 0, 4]);
        let mut rest = &*sent;
        let opening = Opening::read(&mut rest).await.unwrap().unwrap();
        assert_eq!(opening.protocol, Protocol::Http2);
        assert_eq!(opening.bytes, PREFACE);
        assert_eq!(rest, [0, 0, 0, 4]);
    }

    #[tokio::test]
    async fn everything_else_goes_to_http1_with_all_that_was_read() {
        for sent in [
            &b"GET /version HTTP/1.1\r\n\r\n"[..],
            b"PRX",
            b"\x17\x03\x01",
            b"P\0",
        ] {
            let opening = read(sent).await.unwrap();
            assert_eq!(opening.protocol, Protocol::Http1);
            assert!(sent.starts_with(&opening.bytes) && !opening.bytes.is_empty());
        }
    }

    #[tokio::test]
    async fn tls_is_known_by_its_first_byte() {
        let opening = read(b"\x16\x03\x01").await.unwrap();
        assert_eq!(opening.protocol, Protocol::Tls);
        assert_eq!(opening.bytes, b"\x16\x03\x01");
    }

    #[tokio::test]
    async fn a_client_that_leaves_before_it_is_clear_said_nothing() {
        for sent in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            assert_eq!(read(sent).await, None);
        }
    }
}
