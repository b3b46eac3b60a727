//! The body of an answer that waits: each event as soon as it happens.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use cairn_v2::write_event;
use http_body::{Body, Frame};

use super::key_request::KEYS;
use crate::member::Waiting;

/// A body that ends with the wait. The wait ends with the body, should the client leave.
pub(super) struct WaitBody(Waiting);

impl WaitBody {
    pub(super) const fn new(waiting: Waiting) -> Self {
        Self(waiting)
    }
}

impl Body for WaitBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.events.poll_recv(context).map(|event| {
            let event = event?;
            let mut text = String::new();
            write_event(&mut text, &event, KEYS, true);
            Some(Ok(Frame::data(text.into())))
        })
    }
}
