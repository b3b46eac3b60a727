//! A stream of the JSON gateway over a WebSocket: a text each way is a message.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::connection::CallError;
use crate::endpoint::Endpoint;
use crate::socket::{self, Socket};

/// An open WebSocket.
pub struct WebSocket(WebSocketStream<Box<dyn Socket>>);

impl WebSocket {
    /// Connects, and asks for a WebSocket at this path.
    ///
    /// # Errors
    ///
    /// [`CallError::Connect`] or [`CallError::WebSocket`].
    pub async fn open(endpoint: Endpoint, path: &str) -> Result<Self, CallError> {
        let failed = |source| CallError::Connect { endpoint, source };
        let socket = socket::connect(endpoint).await.map_err(failed)?;
        let url = format!("ws://{endpoint}{path}");
        let (stream, _) = client_async(url, socket).await.map_err(Box::new)?;
        Ok(Self(stream))
    }

    /// Sends one message.
    ///
    /// # Errors
    ///
    /// [`CallError::WebSocket`].
    pub async fn send(&mut self, json: &str) -> Result<(), CallError> {
        let message = Message::Text(Utf8Bytes::from(json));
        Ok(self.0.send(message).await.map_err(Box::new)?)
    }

    /// The next message, or `None` when the server closed.
    ///
    /// # Errors
    ///
    /// [`CallError::WebSocket`].
    pub async fn next(&mut self) -> Result<Option<Utf8Bytes>, CallError> {
        while let Some(message) = self.0.next().await {
            match message.map_err(Box::new)? {
                Message::Text(text) => return Ok(Some(text)),
                Message::Close(_) => return Ok(None),
                // Pings are answered by the next read.
                _ => {}
            }
        }
        Ok(None)
    }
}

/// Why a WebSocket broke.
pub(crate) type Broken = Box<tungstenite::Error>;
