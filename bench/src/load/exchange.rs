//! How one client's requests and answers travel: as calls, or on a stream that it holds open.

use bytes::Bytes;

use crate::connection::{CallError, Connection, Method, ReplyStream, RequestStream};
use crate::load::Channel;

/// One client's way to the server.
pub(super) struct Exchange {
    connection: Connection,
    channel: Channel,
    /// Of [`Channel::Stream`], once it was used, until it breaks.
    stream: Option<(RequestStream, ReplyStream)>,
}

impl Exchange {
    pub(super) fn new(connection: Connection, channel: Channel) -> Self {
        Self {
            connection,
            channel,
            stream: None,
        }
    }

    /// Sends a request and waits for its answer; returns the number of bytes in it.
    ///
    /// A stream that broke is opened anew by the next request.
    pub(super) async fn call(&mut self, method: Method, framed: Bytes) -> Result<u64, CallError> {
        match self.channel {
            Channel::Calls => self.connection.call(method, framed).await,
            Channel::Stream => {
                let (requests, mut replies) = match self.stream.take() {
                    Some((mut requests, replies)) => {
                        requests.send(framed)?;
                        (requests, replies)
                    }
                    None => {
                        let (mut requests, pending) = self.connection.stream(method).await?;
                        requests.send(framed)?;
                        // Some servers send the head of the answer with its first message.
                        (requests, pending.begin().await?)
                    }
                };
                let answer = replies.next().await?.ok_or(CallError::CutShort)?;
                self.stream = Some((requests, replies));
                Ok(answer.len() as u64)
            }
        }
    }
}
