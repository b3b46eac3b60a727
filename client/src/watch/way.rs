//! The way that watches go: a gRPC stream, or a WebSocket where only HTTP passes.

use cairn_proto::etcdserverpb as pb;

use super::answer::Answer;
#[cfg(feature = "websocket")]
use super::websocket::WebSocket;
use crate::balance::EndpointId;
use crate::client::{Client, StreamPlace};
use crate::error::Error;
use crate::transport::{CallFailure, Replies, Requests};

const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// A stream of watch requests and their answers.
pub(super) enum Way {
    Grpc(Requests, Replies),
    #[cfg(feature = "websocket")]
    WebSocket(Box<WebSocket>),
}

impl Way {
    /// Opens one at an endpoint that takes it, not at those that are avoided if that can be.
    pub(super) async fn open(
        client: &Client,
        avoided: &[EndpointId],
    ) -> Result<(Self, StreamPlace), Error> {
        client.counting().watch_streams.add();
        #[cfg(feature = "websocket")]
        if client.options().watches_over_websocket {
            let (socket, place) = WebSocket::open_anywhere(client, avoided).await?;
            return Ok((Self::WebSocket(Box::new(socket)), place));
        }
        let (requests, replies, place) = client.open_stream(WATCH, avoided).await?;
        Ok((Self::Grpc(requests, replies), place))
    }

    /// Sends a request, or queues it.
    pub(super) async fn send(&mut self, request: &pb::WatchRequest) -> Result<(), CallFailure> {
        match self {
            Self::Grpc(requests, _) => requests.send(request),
            #[cfg(feature = "websocket")]
            Self::WebSocket(socket) => socket.send(request).await,
        }
    }

    /// The next answer, or `None` when the server ended the stream well. Nothing is lost if the
    /// future is dropped.
    pub(super) async fn next(&mut self) -> Result<Option<Answer>, CallFailure> {
        match self {
            Self::Grpc(_, replies) => {
                let Some(message) = replies.next_bytes().await? else {
                    return Ok(None);
                };
                let decoded = Answer::decode(&message);
                let broken = |error: Error| CallFailure::Protocol(error.to_string());
                decoded.map(Some).map_err(broken)
            }
            #[cfg(feature = "websocket")]
            Self::WebSocket(socket) => Ok(socket.next().await?.map(Answer::from)),
        }
    }
}
