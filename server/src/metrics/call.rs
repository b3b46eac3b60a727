//! One gRPC call as the metrics see it: counted when it begins, as its messages go by, and once
//! when it ends, in whatever way.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tonic::Code;

use super::GrpcMethodMetrics;
use super::messages::MessageFollower;

/// A call that has begun. Dropped before its status is known, it counts as canceled: the client
/// went away.
pub(crate) struct Call {
    method: Arc<GrpcMethodMetrics>,
    begun: Instant,
    is_counted: bool,
}

impl Call {
    pub(super) fn begin(method: Arc<GrpcMethodMetrics>) -> Self {
        method.started.inc();
        Self {
            method,
            begun: Instant::now(),
            is_counted: false,
        }
    }

    /// How long ago it began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What the client sends, counted.
    pub(crate) fn request<B>(&self, body: B) -> Counted<B> {
        Counted {
            body,
            messages: MessageFollower::default(),
            side: Side::Received(Arc::clone(&self.method)),
        }
    }

    /// What the client is sent, counted; `headers` already tell the status of a call that has
    /// no answer.
    pub(crate) fn response<B>(mut self, headers: &HeaderMap, body: B) -> Counted<B> {
        self.end_if_told(headers);
        Counted {
            body,
            messages: MessageFollower::default(),
            side: Side::Sent(self),
        }
    }

    fn end_if_told(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            self.end(Code::from_bytes(status.as_bytes()));
        }
    }

    fn end(&mut self, code: Code) {
        if !std::mem::replace(&mut self.is_counted, true) {
            self.method.handled(code, self.begun.elapsed());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

/// A body whose messages are counted, or one of no call, which is not.
pub(crate) struct Counted<B> {
    body: B,
    messages: MessageFollower,
    side: Side,
}

enum Side {
    Received(Arc<GrpcMethodMetrics>),
    Sent(Call),
    Uncounted,
}

impl<B> Counted<B> {
    /// A body that is not counted.
    pub(crate) fn uncounted(body: B) -> Self {
        Self {
            body,
            messages: MessageFollower::default(),
            side: Side::Uncounted,
        }
    }

    fn count(&mut self, frame: &Frame<Bytes>) {
        let passed =
            |messages: &mut MessageFollower| frame.data_ref().map(|bytes| messages.follow(bytes));
        match &mut self.side {
            Side::Uncounted => {}
            Side::Received(method) => {
                if let Some(passed) = passed(&mut self.messages) {
                    method.msg_received.inc_by(passed.messages);
                    method.bytes_received.inc_by(passed.bytes);
                }
            }
            Side::Sent(call) => {
                if let Some(passed) = passed(&mut self.messages) {
                    call.method.msg_sent.inc_by(passed.messages);
                    call.method.bytes_sent.inc_by(passed.bytes);
                }
                if let Some(trailers) = frame.trailers_ref() {
                    call.end_if_told(trailers);
                }
            }
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let counted = self.get_mut();
        let frame = ready!(Pin::new(&mut counted.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            counted.count(frame);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
