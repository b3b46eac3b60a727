//! One accepted connection, served until it ends.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;

/// What one connection may ask of the server.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// `--max-concurrent-streams`.
    pub streams_max: u32,
    /// `--grpc-keepalive-interval`: how long a connection may be silent before it is pinged.
    pub keepalive_interval: Duration,
    /// `--grpc-keepalive-timeout`: how long the answer may take before it is closed.
    pub keepalive_timeout: Duration,
}

/// How much of a stream's request may be in flight before the client must wait.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// The same over all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// How much of a stream's answer may wait in memory for a slow client.
const SEND_BUFFER_BYTES_MAX: usize = 1 << 20;
/// Request headers beyond this are refused: no etcd client sends more than a token.
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// A client that takes longer to send its HTTP/1.1 headers is cut off.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves `stream` until either side closes it. Errors end the connection and nothing else.
pub(super) async fn serve(stream: TcpStream, router: Router, limits: ConnectionLimits) {
    // Small answers must not wait for the acknowledgement of the ones before them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection refused TCP_NODELAY");
    }
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout);
    let service = TowerToHyperService::new(infallible(router));
    if let Err(error) = builder
        .serve_connection(TokioIo::new(stream), service)
        .await
    {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

fn infallible(
    router: Router,
) -> impl Clone
+ tower::Service<
    http::Request<hyper::body::Incoming>,
    Response = axum::response::Response,
    Error = Infallible,
    Future: Send,
> {
    router
}
