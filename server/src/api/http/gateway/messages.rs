//! The messages of a gRPC answer, and how it ended.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body as AxumBody;
use bytes::{Buf, Bytes, BytesMut};
use http::Response;
use http_body::Body;
use tokio::time::{Sleep, sleep};
use tonic::{Code, Status};

use crate::api::grpc::{PREFIX_BYTES, deadline_exceeded};
use crate::metrics::Counted;

/// What a call answers, message by message.
pub(super) struct Messages {
    body: Counted<AxumBody>,
    buffer: BytesMut,
    /// Of a message that is taken in parts: what of it is still to be taken.
    parts_bytes: usize,
    end: Option<Result<(), Status>>,
    deadline: Option<Pin<Box<Sleep>>>,
}

/// The message of an answer that has only one.
pub(super) enum One {
    /// It is here.
    Whole(Bytes),
    /// It is long, and comes in parts.
    InParts,
}

impl Messages {
    /// Those of `response`, which end after `time`.
    pub(super) fn new(response: Response<Counted<AxumBody>>, time: Option<Duration>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            body,
            buffer: BytesMut::new(),
            parts_bytes: 0,
            end: Status::from_header_map(&head.headers).map(ended),
            deadline: time.map(|time| Box::pin(sleep(time))),
        }
    }

    /// The next message; none when all have come, or the status that the call ended with.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Self::next`].
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Status>> {
        loop {
            if let Some(message) = self.whole()? {
                return Poll::Ready(Ok(Some(message)));
            }
            if let Some(end) = &self.end {
                return Poll::Ready(end.clone().map(|()| None));
            }
            ready!(self.poll_more(context));
        }
    }

    /// The only message of a call. One that is longer than `whole_bytes_max` is to be taken in parts.
    pub(super) async fn one(&mut self, whole_bytes_max: usize) -> Result<One, Status> {
        loop {
            if let Some(len) = self.message_bytes()?
                && len > whole_bytes_max
            {
                self.buffer.advance(PREFIX_BYTES);
                self.parts_bytes = len;
                return Ok(One::InParts);
            }
            if let Some(message) = self.whole()? {
                // The status comes behind it.
                return self.next().await.map(|_| One::Whole(message));
            }
            if let Some(end) = &self.end {
                end.clone()?;
                return Err(Status::internal("an answer without a message"));
            }
            poll_fn(|context| self.poll_more(context)).await;
        }
    }

    /// The next part of a message that is taken so; none at its end.
    pub(super) fn poll_part(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Status>> {
        while self.parts_bytes > 0 {
            if !self.buffer.is_empty() {
                let now = self.buffer.len().min(self.parts_bytes);
                self.parts_bytes -= now;
                return Poll::Ready(Ok(Some(self.buffer.split_to(now).freeze())));
            }
            if let Some(end) = &self.end {
                end.clone()?;
                return Poll::Ready(Err(Status::internal("the answer's message is torn")));
            }
            ready!(self.poll_more(context));
        }
        Poll::Ready(Ok(None))
    }

    /// Takes what comes next into the buffer, or notes the end.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending => {
                let deadline = self.deadline.as_mut();
                if deadline.is_none_or(|it| it.as_mut().poll(context).is_pending()) {
                    return Poll::Pending;
                }
                self.end = Some(Err(deadline_exceeded()));
            }
            Poll::Ready(None) => {
                let text = "the answer ended without a status";
                self.end = Some(Err(Status::internal(text)));
            }
            Poll::Ready(Some(Err(error))) => {
                self.end = Some(Err(Status::internal(error.to_string())));
            }
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(frame) => {
                    let status = frame.trailers_ref().and_then(Status::from_header_map);
                    self.end = status.map(ended);
                }
            },
        }
        Poll::Ready(())
    }

    /// A message that has come whole.
    fn whole(&mut self) -> Result<Option<Bytes>, Status> {
        match self.message_bytes()? {
            Some(len) if self.buffer.len() - PREFIX_BYTES >= len => {
                self.buffer.advance(PREFIX_BYTES);
                Ok(Some(self.buffer.split_to(len).freeze()))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// How long the message is that begins the buffer, if its prefix is here.
    fn message_bytes(&self) -> Result<Option<usize>, Status> {
        match self.buffer.first_chunk::<PREFIX_BYTES>() {
            None => Ok(None),
            Some([0, a, b, c, d]) => {
                let len = u32::from_be_bytes([*a, *b, *c, *d]);
                Ok(Some(usize::try_from(len).unwrap_or(usize::MAX)))
            }
            Some(_) => Err(Status::internal("a compressed answer")),
        }
    }
}

fn ended(status: Status) -> Result<(), Status> {
    match status.code() {
        Code::Ok => Ok(()),
        _ => Err(status),
    }
}
