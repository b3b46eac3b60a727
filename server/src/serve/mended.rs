//! A client's bytes with their authorities mended.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::authority::AuthorityMender;

/// Bytes read at once while the connection's authorities are looked at.
const READ_BYTES: usize = 8 << 10;

/// An HTTP/2 connection behind its preface.
pub(super) struct Mended<S> {
    socket: S,
    mender: AuthorityMender,
    /// What has been looked at and not read.
    ready: BytesMut,
}

impl<S> Mended<S> {
    pub(super) fn new(socket: S) -> Self {
        Self {
            socket,
            mender: AuthorityMender::new(),
            ready: BytesMut::new(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Mended<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mended = self.get_mut();
        while mended.ready.is_empty() {
            if mended.mender.is_done() {
                return Pin::new(&mut mended.socket).poll_read(context, buffer);
            }
            let mut scratch = [0; READ_BYTES];
            let mut received = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut mended.socket).poll_read(context, &mut received))?;
            if received.filled().is_empty() {
                mended.ready = mended.mender.rest();
                if mended.ready.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            } else {
                mended.mender.pass(received.filled(), &mut mended.ready);
            }
        }
        let now = mended.ready.len().min(buffer.remaining());
        buffer.put_slice(mended.ready.get(..now).unwrap_or_default());
        mended.ready.advance(now);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Mended<S> {
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
