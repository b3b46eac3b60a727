//! An HTTP/1.1 connection, on which one request follows the other.

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;

use crate::connection::CallError;
use crate::endpoint::Endpoint;
use crate::socket::connect;

/// A request without the host, which is the connection's.
pub type HttpRequest = Request<Full<Bytes>>;

/// A connection that is kept alive.
pub struct HttpConnection {
    send: SendRequest<Full<Bytes>>,
    host: HeaderValue,
}

impl HttpConnection {
    /// Connects, and drives the connection in a task until the handle is dropped.
    ///
    /// # Errors
    ///
    /// [`CallError::Connect`] or [`CallError::Http1`].
    pub async fn open(endpoint: Endpoint) -> Result<Self, CallError> {
        let failed = |source| CallError::Connect { endpoint, source };
        let host = HeaderValue::try_from(endpoint.to_string())
            .map_err(|_| failed(std::io::ErrorKind::InvalidInput.into()))?;
        let socket = connect(endpoint).await.map_err(failed)?;
        let (send, driver) = handshake(TokioIo::new(socket)).await?;
        // What ends the connection also ends its calls, which report it.
        tokio::spawn(async move { drop(driver.await) });
        Ok(Self { send, host })
    }

    /// Sends a request and reads its answer to the end; returns the number of bytes in it.
    ///
    /// # Errors
    ///
    /// [`CallError::Http1`], or [`CallError::Http`] where the answer is no success.
    pub async fn call(&mut self, mut request: HttpRequest) -> Result<u64, CallError> {
        self.send.ready().await?;
        request.headers_mut().insert(HOST, self.host.clone());
        let response = self.send.send_request(request).await?;
        let status = response.status();
        let mut body = response.into_body();
        let mut received = 0;
        while let Some(frame) = body.frame().await {
            received += frame?.data_ref().map_or(0, |data| data.len() as u64);
        }
        if status.is_success() {
            Ok(received)
        } else {
            Err(CallError::Http { status })
        }
    }
}
