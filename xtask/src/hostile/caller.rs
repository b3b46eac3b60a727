//! gRPC calls whose bytes may be anything.

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use tokio::task::JoinHandle;

use super::port::Port;

/// A connection for calls; it ends with this.
pub(super) struct Caller {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<()>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) code: String,
    pub(super) message: String,
}

impl Ended {
    pub(super) fn is_ok(&self) -> bool {
        self.code == "0"
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "status {}: {}", self.code, self.message)
    }
}

impl Caller {
    pub(super) async fn connect(port: &Port) -> Result<Self> {
        let socket = port.connect().await?;
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(1 << 20);
        let (requests, connection) = builder.handshake::<_, Bytes>(socket).await?;
        let connection = tokio::spawn(async move {
            // Whoever calls is told.
            drop(connection.await);
        });
        Ok(Self {
            requests,
            connection,
        })
    }

    /// Begins a call whose request can be sent in pieces.
    pub(super) async fn begin(
        &self,
        path: &str,
    ) -> Result<(ResponseFuture, h2::SendStream<Bytes>)> {
        let mut requests = self.requests.clone().ready().await?;
        let request = Request::post(format!("http://hostile{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        Ok(requests.send_request(request, false)?)
    }

    /// A call of one message, given with its prefix.
    pub(super) async fn call(&self, path: &str, message: Bytes) -> Result<Ended> {
        let (response, mut stream) = self.begin(path).await?;
        // A server may refuse before it has taken all.
        drop(stream.send_data(message, true));
        let response = response.await?;
        let status = |headers: &http::HeaderMap| {
            let text = |name| {
                let value: Option<&http::HeaderValue> = headers.get(name);
                value.map(|value| String::from_utf8_lossy(value.as_bytes()).replace("%20", " "))
            };
            Some(Ended {
                code: text("grpc-status")?,
                message: text("grpc-message").unwrap_or_default(),
            })
        };
        if let Some(ended) = status(response.headers()) {
            return Ok(ended);
        }
        let mut body = response.into_body();
        while let Some(data) = body.data().await {
            let length = data?.len();
            body.flow_control().release_capacity(length)?;
        }
        let trailers = body.trailers().await?;
        let ended = trailers.as_ref().and_then(status);
        ended.context("an answer without a status")
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// A gRPC message: its prefix and itself.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut bytes = vec![0];
    bytes.extend(length.to_be_bytes());
    bytes.extend(message);
    bytes.into()
}
