//! A connection with something in front of what is still to come through it: bytes that have been
//! read already and are read again, or bytes that are rewritten before they are read. What is written
//! passes through.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::authority::AuthorityRewriter;

/// Bytes read at once while the connection's authorities are looked at.
const READ_BYTES: usize = 8 << 10;

/// First `ready`, then what comes through `socket`, which `rewriter` sees before.
#[derive(Debug)]
pub(super) struct Rewound<S> {
    ready: Bytes,
    rewriter: Option<AuthorityRewriter>,
    socket: S,
}

impl<S> Rewound<S> {
    /// A connection of which `read` has been read.
    pub(super) fn new(read: Vec<u8>, socket: S) -> Self {
        Self {
            ready: read.into(),
            rewriter: None,
            socket,
        }
    }

    /// An HTTP/2 connection behind its preface, whose authorities may need rewriting.
    pub(super) fn rewritten(socket: S) -> Self {
        Self {
            ready: Bytes::new(),
            rewriter: Some(AuthorityRewriter::new()),
            socket,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rewound = self.get_mut();
        while rewound.ready.is_empty() {
            let Some(rewriter) = rewound
                .rewriter
                .as_mut()
                .filter(|rewriter| !rewriter.is_done())
            else {
                return Pin::new(&mut rewound.socket).poll_read(context, buffer);
            };
            let mut scratch = [0; READ_BYTES];
            let mut received = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut rewound.socket).poll_read(context, &mut received))?;
            let mut rewritten = BytesMut::new();
            if received.filled().is_empty() {
                rewritten = rewriter.rest();
                if rewritten.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            } else {
                rewriter.pass(received.filled(), &mut rewritten);
            }
            rewound.ready = rewritten.freeze();
        }
        let now = rewound.ready.len().min(buffer.remaining());
        buffer.put_slice(&rewound.ready.split_to(now));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_was_read_is_read_again_before_the_rest() {
        let mut rewound = Rewound::new(b"abc".to_vec(), &b"def"[..]);
        let mut first = [0; 2];
        rewound.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"ab");
        let mut rest = Vec::new();
        rewound.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"cdef");
    }

    #[tokio::test]
    async fn bytes_that_the_rewriter_holds_back_are_read_when_nothing_more_comes() {
        let torn = b"\0\0\x20\x01\x04\0\0";
        let mut read = Vec::new();
        Rewound::rewritten(&torn[..])
            .read_to_end(&mut read)
            .await
            .unwrap();
        assert_eq!(read, torn);
    }
}
