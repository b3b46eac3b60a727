//! One accepted connection, served until it ends.

use std::convert::Infallible;
use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::late_end::LateEnd;
use super::listen_endpoint::{Guard, ListenEndpoint, Seal};
use super::opening::{Opening, Protocol};
use super::ping_policy::PingPolicy;
use super::rewound::Rewound;
use super::socket::Socket;
use super::watched::Watched;
use crate::metrics::{Fault, Faults};
use crate::net::tls::ServerTls;

/// What one connection may ask of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    /// `--max-concurrent-streams`.
    pub streams_max: u32,
    /// `--grpc-keepalive-min-time`: a client that pings more often is sent away.
    pub client_ping_interval_min: Duration,
    /// `--grpc-keepalive-interval`: how long a connection may be silent before it is pinged.
    pub keepalive_interval: Duration,
    /// `--grpc-keepalive-timeout`: how long the answer may take before it is closed.
    pub keepalive_timeout: Duration,
    /// How much of a stream's request may be in flight before the client must wait.
    pub stream_window_bytes: u32,
    /// The same over all streams of a connection.
    pub connection_window_bytes: u32,
}

impl ConnectionLimits {
    /// What a client's stream may have in flight.
    pub(crate) const CLIENT_STREAM_WINDOW_BYTES: u32 = 1 << 20;
    /// What a client's connection may have in flight.
    ///
    /// HTTP/2 counts a small frame that nobody has read yet as 256 bytes, and ends a connection for which
    /// these make half of this (h2's budget of DATA frames, which hyper does not let us set). Clients send
    /// renewals and cancellations in bursts, one frame each: 30,000 are to be no reason.
    pub(crate) const CLIENT_CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
}

/// A client that has not said by then what it speaks, or whose HTTP/1.1 headers take longer, is cut
/// off.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a stream's answer may wait in memory for a slow client.
const SEND_BUFFER_BYTES_MAX: usize = 1 << 20;
/// Request headers beyond this are refused: no etcd client sends more than a token.
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// The same for HTTP/1.1, where it is also the size of the buffer.
const HTTP1_BUFFER_BYTES_MAX: usize = 64 << 10;
/// Streams of one connection, whatever the settings say. etcd's default is no limit at all; a client
/// beyond this waits for its other calls. An open stream that does nothing costs about 5 KiB.
const STREAMS_MAX: u32 = 1 << 16;
/// Streams that a client may open and reset before they are seen ("rapid reset"): past that the
/// connection is closed, as everything it costs would be wasted.
const UNSEEN_RESETS_MAX: usize = 64;
/// Streams that may fail by a client's faults before its connection is closed.
const FAULTY_STREAMS_MAX: usize = 1024;

/// A connection of which it is known what it speaks.
struct Opened {
    socket: Socket,
    opening: Opening,
    /// Where the client is, if it came over TCP.
    remote: Option<SocketAddr>,
    seal: Option<Seal>,
}

/// Serves `socket` until either side closes it. Errors end the connection and nothing else.
pub(super) async fn serve(socket: Socket, endpoint: Arc<ListenEndpoint>, limits: ConnectionLimits) {
    socket.send_at_once();
    let faults = endpoint.faults.clone();
    let opened = match open(socket, &endpoint.guard).await {
        Ok(Some(opened)) => opened,
        Ok(None) => return,
        Err(fault) => return count(faults.as_ref(), fault),
    };
    let (remote, seal) = (opened.remote, opened.seal);
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(seal) = &seal {
            seal.put_on(&mut request);
        }
        let endpoint = Arc::clone(&endpoint);
        async move { Ok::<_, Infallible>(endpoint.api.answer(request, remote).await) }
    });
    let (opening, socket) = (opened.opening, opened.socket);
    let ended = match opening.protocol {
        Protocol::Http2 => {
            let policy = PingPolicy::new(limits.client_ping_interval_min);
            let io = TokioIo::new(Watched::new(
                Rewound::rewritten(socket),
                policy,
                faults.clone(),
            ));
            http2_builder(limits).serve_connection(io, service).await
        }
        // TLS where there is none is what HTTP/1.1's parser will refuse.
        Protocol::Http1 | Protocol::Tls => {
            let io = TokioIo::new(LateEnd::new(Rewound::new(opening.bytes, socket)));
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_READ_TIMEOUT)
                .max_buf_size(HTTP1_BUFFER_BYTES_MAX)
                .serve_connection(io, service)
                .with_upgrades()
                .await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
        if let Some(fault) = fault(&error) {
            count(faults.as_ref(), fault);
        }
    }
}

fn count(faults: Option<&Faults>, fault: Fault) {
    if let Some(faults) = faults {
        faults.ended(fault);
    }
}

/// What the client did if a connection ended with `error`; none if it has only gone.
fn fault(error: &hyper::Error) -> Option<Fault> {
    if error.is_parse() || error.is_timeout() {
        return Some(Fault::Http1);
    }
    let http2: Option<&h2::Error> = error.source().and_then(|it| it.downcast_ref());
    http2.filter(|it| !it.is_io()).map(|_| Fault::Http2)
}

/// Finds out what a connection speaks, within TLS if there is TLS. None: it has ended.
async fn open(mut socket: Socket, guard: &Guard) -> Result<Option<Opened>, Fault> {
    match guard {
        Guard::Tls(tls) => secure(tls, Vec::new(), socket).await,
        Guard::Plain | Guard::Either(_) => {
            let Some(opening) = read_opening(&mut socket).await? else {
                return Ok(None);
            };
            match guard {
                Guard::Either(tls) if opening.protocol == Protocol::Tls => {
                    secure(tls, opening.bytes, socket).await
                }
                _ => Ok(Some(Opened {
                    remote: socket.remote(),
                    socket,
                    opening,
                    seal: None,
                })),
            }
        }
    }
}

/// Shakes hands with a client of whom `read` has been read.
async fn secure(tls: &ServerTls, read: Vec<u8>, socket: Socket) -> Result<Option<Opened>, Fault> {
    let remote = socket.remote();
    let secured = tls.accept(Rewound::new(read, socket), remote).await;
    let secured = secured.ok_or(Fault::Handshake)?;
    let mut socket = Socket::Tls(Box::new(secured.stream));
    let Some(opening) = read_opening(&mut socket).await? else {
        return Ok(None);
    };
    let seal = Seal {
        certificate: secured.certificate,
    };
    Ok(Some(Opened {
        socket,
        opening,
        remote,
        seal: Some(seal),
    }))
}

async fn read_opening(socket: &mut Socket) -> Result<Option<Opening>, Fault> {
    let opening = tokio::time::timeout(HEADER_READ_TIMEOUT, Opening::read(socket)).await;
    // A socket that fails has ended.
    opening.map_or(Err(Fault::SlowOpening), |read| Ok(read.unwrap_or_default()))
}

fn http2_builder(limits: ConnectionLimits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max.min(STREAMS_MAX))
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_pending_accept_reset_streams(UNSEEN_RESETS_MAX)
        .max_local_error_reset_streams(FAULTY_STREAMS_MAX)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout);
    builder
}
