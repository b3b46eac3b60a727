//! How one client's requests and answers travel: as calls, on a stream that it holds open, or over
//! HTTP/1.1.

use bytes::Bytes;

use crate::connection::{CallError, Connection, Method, ReplyStream, RequestStream};
use crate::http1::HttpConnection;
use crate::load::Payload;

/// One client's way to the server.
pub(super) enum Exchange {
    Calls(Connection),
    Stream {
        connection: Connection,
        /// Once it was used, until it breaks.
        open: Option<(RequestStream, ReplyStream)>,
    },
    Http(HttpConnection),
}

impl Exchange {
    pub(super) fn stream(connection: Connection) -> Self {
        Self::Stream {
            connection,
            open: None,
        }
    }

    /// Another client's way over the same connection, where that can be shared.
    pub(super) fn another(&self) -> Option<Self> {
        match self {
            Self::Calls(connection) => Some(Self::Calls(connection.clone())),
            Self::Stream { connection, .. } => Some(Self::stream(connection.clone())),
            Self::Http(_) => None,
        }
    }

    /// Sends a request and waits for its answer; returns the number of bytes in it.
    ///
    /// A stream that broke is opened anew by the next request.
    pub(super) async fn call(&mut self, payload: Payload) -> Result<u64, CallError> {
        match (self, payload) {
            (Self::Calls(connection), Payload::Grpc { method, framed }) => {
                connection.call(method, framed).await
            }
            (Self::Stream { connection, open }, Payload::Grpc { method, framed }) => {
                let (requests, mut replies) = match open.take() {
                    Some((mut requests, replies)) => {
                        requests.send(framed)?;
                        (requests, replies)
                    }
                    None => begin(connection, method, framed).await?,
                };
                let answer = replies.next().await?.ok_or(CallError::CutShort)?;
                *open = Some((requests, replies));
                Ok(answer.len() as u64)
            }
            (Self::Http(connection), Payload::Http(request)) => connection.call(*request).await,
            _ => Err(CallError::Channel),
        }
    }
}

/// Opens a stream with its first message.
async fn begin(
    connection: &mut Connection,
    method: Method,
    framed: Bytes,
) -> Result<(RequestStream, ReplyStream), CallError> {
    let (mut requests, pending) = connection.stream(method).await?;
    requests.send(framed)?;
    // Some servers send the head of the answer with its first message.
    Ok((requests, pending.begin().await?))
}
