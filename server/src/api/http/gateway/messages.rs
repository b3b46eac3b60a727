//! The messages of a gRPC answer, and how it ended.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body as AxumBody;
use bytes::{Buf, Bytes, BytesMut};
use http::Response;
use http_body::Body;
use tonic::{Code, Status};

use crate::api::grpc::PREFIX_BYTES;
use crate::metrics::Counted;

/// What a call answers, message by message.
pub(super) struct Messages {
    body: Counted<AxumBody>,
    buffer: BytesMut,
    end: Option<Result<(), Status>>,
}

impl Messages {
    /// Those of `response`.
    pub(super) fn new(response: Response<Counted<AxumBody>>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            body,
            buffer: BytesMut::new(),
            end: Status::from_header_map(&head.headers).map(ended),
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
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Pending => return Poll::Pending,
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
        }
    }

    /// A message that has come whole.
    fn whole(&mut self) -> Result<Option<Bytes>, Status> {
        let Some([flags, a, b, c, d]) = self.buffer.first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        if *flags != 0 {
            return Err(Status::internal("a compressed answer"));
        }
        let len = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
        if self.buffer.len() - PREFIX_BYTES < len {
            return Ok(None);
        }
        self.buffer.advance(PREFIX_BYTES);
        Ok(Some(self.buffer.split_to(len).freeze()))
    }
}

fn ended(status: Status) -> Result<(), Status> {
    match status.code() {
        Code::Ok => Ok(()),
        _ => Err(status),
    }
}
