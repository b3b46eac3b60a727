//! A connection under the eyes of the [`PingPolicy`], which alone may say something on it besides
//! HTTP/2 itself: goodbye.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::opening::PREFACE;
use super::ping_policy::{PingPolicy, Verdict};
use crate::metrics::{Fault, Faults};

/// How long a client that is sent away may take to leave. Were its connection cut while bytes of it
/// are unread, the system would throw the goodbye away.
const LEAVE_TIME: Duration = Duration::from_secs(1);
/// gRPC clients know the reason by this text.
const TOO_MANY_PINGS: &[u8] = b"too_many_pings";
/// GOAWAY, and its error code ENHANCE_YOUR_CALM.
const GOAWAY: u8 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// An HTTP/2 connection whose preface has been read already.
pub(super) struct Watched<S> {
    socket: S,
    /// What HTTP/2 still has to read of the preface.
    preface: &'static [u8],
    policy: PingPolicy,
    faults: Option<Faults>,
    leaving: Option<Leaving>,
}

/// A client that has been sent away.
struct Leaving {
    is_shut: bool,
    deadline: Pin<Box<Sleep>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Watched<S> {
    pub(super) fn new(socket: S, policy: PingPolicy, faults: Option<Faults>) -> Self {
        Self {
            socket,
            preface: PREFACE,
            policy,
            faults,
            leaving: None,
        }
    }

    fn see_sent(&mut self, bytes: &[u8]) {
        let resets = self.policy.send(bytes);
        if let (1.., Some(faults)) = (resets, &self.faults) {
            faults.reset(resets);
        }
    }

    #[cold]
    fn send_away(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        tracing::debug!("a client pings too often and is sent away");
        if let Some(faults) = &self.faults {
            faults.ended(Fault::Pings);
        }
        // In the midst of a frame a client does not take what it is sent, so it gets no goodbye.
        if !self.policy.may_interject() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let goodbye = goaway(self.policy.newest_stream());
        match Pin::new(&mut self.socket).poll_write(context, &goodbye) {
            Poll::Ready(Ok(sent)) if sent == goodbye.len() => {}
            Poll::Ready(Err(error)) => return Err(error),
            _ => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
        self.leaving = Some(Leaving {
            is_shut: false,
            deadline: Box::pin(tokio::time::sleep(LEAVE_TIME)),
        });
        Ok(())
    }

    /// Reads and forgets what the client still sends until it leaves.
    #[cold]
    fn poll_leave(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(leaving) = &mut self.leaving else {
            return Poll::Ready(Ok(()));
        };
        if !leaving.is_shut {
            ready!(Pin::new(&mut self.socket).poll_shutdown(context))?;
            leaving.is_shut = true;
        }
        while leaving.deadline.as_mut().poll(context).is_pending() {
            let mut scrap = [0; 4096];
            let mut buffer = ReadBuf::new(&mut scrap);
            ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

fn goaway(last_stream: u32) -> Vec<u8> {
    let payload = 8 + u8::try_from(TOO_MANY_PINGS.len()).unwrap_or_default();
    let mut frame = vec![0, 0, payload, GOAWAY, 0, 0, 0, 0, 0];
    frame.extend(last_stream.to_be_bytes());
    frame.extend(ENHANCE_YOUR_CALM.to_be_bytes());
    frame.extend(TOO_MANY_PINGS);
    frame
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let watched = self.get_mut();
        if watched.leaving.is_some() {
            return watched.poll_leave(context);
        }
        if !watched.preface.is_empty() {
            let (now, later) = watched
                .preface
                .split_at(watched.preface.len().min(buffer.remaining()));
            buffer.put_slice(now);
            watched.preface = later;
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut watched.socket).poll_read(context, buffer))?;
        let (_, received) = buffer.filled().split_at(before);
        match watched.policy.receive(received, Instant::now) {
            Verdict::Serve => Poll::Ready(Ok(())),
            Verdict::SendAway => {
                buffer.set_filled(before);
                watched.send_away(context)?;
                watched.poll_leave(context)
            }
        }
    }
}

/// To a client that is leaving nothing is written: what HTTP/2 has left to say is dropped.
impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let watched = self.get_mut();
        if watched.leaving.is_some() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = ready!(Pin::new(&mut watched.socket).poll_write(context, bytes))?;
        watched.see_sent(bytes.split_at(written).0);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let watched = self.get_mut();
        if watched.leaving.is_some() {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let written = ready!(Pin::new(&mut watched.socket).poll_write_vectored(context, slices))?;
        let mut left = written;
        for slice in slices {
            let taken = left.min(slice.len());
            watched.see_sent(slice.split_at(taken).0);
            left -= taken;
        }
        Poll::Ready(Ok(written))
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
