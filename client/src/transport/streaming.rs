//! Calls whose requests or answers are streams.

use std::sync::Arc;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};

use super::connection::{check_head, end_of};
use super::failure::CallFailure;
use super::framing::{Frames, frame};
use super::vital::Open;

/// The sending half of a call. The server sees its end when it is dropped.
pub(crate) struct Requests {
    pub(super) stream: SendStream<Bytes>,
}

impl Requests {
    /// Queues a message.
    pub(crate) fn send(&mut self, message: &impl prost::Message) -> Result<(), CallFailure> {
        let sent = self.stream.send_data(frame(message), false);
        sent.map_err(|error| CallFailure::of_stream(&error))
    }
}

/// The receiving half of a call.
pub(crate) struct Replies {
    state: State,
    frames: Frames,
    _open: Open,
}

enum State {
    /// etcd sends the head of an answer with its first message.
    Head(ResponseFuture),
    Body(RecvStream),
    Ended,
}

impl Replies {
    pub(super) fn new(response: ResponseFuture, message_bytes_max: usize, open: Open) -> Self {
        Self {
            state: State::Head(response),
            frames: Frames::new(message_bytes_max),
            _open: open,
        }
    }

    /// The next message, or `None` when the server ended the call well. Nothing is lost if the
    /// future is dropped.
    pub(crate) async fn next<M>(&mut self) -> Result<Option<M>, CallFailure>
    where
        M: prost::Message + Default,
    {
        let Some(bytes) = self.next_bytes().await? else {
            return Ok(None);
        };
        let decoded = M::decode(bytes);
        decoded
            .map(Some)
            .map_err(|error| CallFailure::Protocol(error.to_string()))
    }

    /// The same before it is decoded.
    pub(crate) async fn next_bytes(&mut self) -> Result<Option<Bytes>, CallFailure> {
        loop {
            if let Some(message) = self.frames.next_message()? {
                return Ok(Some(message));
            }
            match &mut self.state {
                State::Head(response) => {
                    let head = response.await;
                    let head = head.map_err(|error| CallFailure::of_stream(&error))?;
                    let (parts, body) = head.into_parts();
                    check_head(&parts)?;
                    self.state = State::Body(body);
                }
                State::Body(body) => match body.data().await {
                    Some(Ok(chunk)) => {
                        // The stream may be gone already; then there is nothing to release.
                        let _ = body.flow_control().release_capacity(chunk.len());
                        self.frames.push(chunk);
                    }
                    Some(Err(error)) => return Err(CallFailure::of_stream(&error)),
                    None => {
                        let ended = end_of(body).await;
                        self.state = State::Ended;
                        ended?;
                        if !self.frames.is_drained() {
                            let reason = "the answer ended within a message".to_owned();
                            return Err(CallFailure::Lost(reason));
                        }
                    }
                },
                State::Ended => return Ok(None),
            }
        }
    }
}

/// What [`super::Connection::open_stream`] returns.
pub(super) fn halves(
    response: ResponseFuture,
    stream: SendStream<Bytes>,
    message_bytes_max: usize,
    vital: &Arc<super::vital::Vital>,
) -> (Requests, Replies) {
    let replies = Replies::new(response, message_bytes_max, vital.open());
    (Requests { stream }, replies)
}
