//! `/metrics` of a member, `/proxy/metrics` of the proxy, `/health`: whether the cluster answers it.

use std::io;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::routing::get;
use axum::{Router, response::IntoResponse};
use cairn_client::{Endpoint, Socket};
use cairn_proto::etcdserverpb::RangeRequest;
use cairn_proto::etcdserverpb::kv_client::KvClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;

use crate::Proxy;

/// How long the cluster may take to say that it is well.
const HEALTH_MAX: Duration = Duration::from_secs(5);
/// How long a member may take to give its metrics.
const METRICS_MAX: Duration = Duration::from_secs(5);
/// The longest page of metrics that is taken from a member.
const METRICS_BYTES_MAX: u64 = 64 << 20;

/// A page of metrics is of the kind that Prometheus reads.
const METRICS_KIND: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "text/plain; version=0.0.4")];

pub(crate) fn routes() -> Router<Proxy> {
    Router::new()
        .route("/metrics", get(member_metrics))
        .route("/proxy/metrics", get(metrics))
        .route("/health", get(health))
        .route("/proxy/health", get(health))
        .fallback(|| std::future::ready((StatusCode::NOT_FOUND, "404 page not found\n")))
}

/// The page of the first member that gives it.
async fn member_metrics(State(proxy): State<Proxy>) -> impl IntoResponse {
    let mut why = "no member gave its metrics".to_owned();
    for endpoint in proxy.client.endpoints() {
        let page = tokio::time::timeout(METRICS_MAX, page_of(&proxy, &endpoint)).await;
        match page.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(page) => return (StatusCode::OK, METRICS_KIND, page),
            Err(error) => why = format!("{why}; {endpoint}: {error}"),
        }
    }
    (StatusCode::BAD_GATEWAY, METRICS_KIND, why.into_bytes())
}

async fn page_of(proxy: &Proxy, endpoint: &Endpoint) -> io::Result<Vec<u8>> {
    let mut socket = proxy.options.dial_http1(endpoint).await?;
    // By 1.0, the answer ends with the connection.
    let question = b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n";
    socket.write_all(question).await?;
    let answer = read_all(socket).await?;
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "an answer that is not HTTP");
    let head = answer.windows(4).position(|it| it == b"\r\n\r\n");
    let (head, page) = answer
        .split_at_checked(head.ok_or_else(malformed)? + 4)
        .ok_or_else(malformed)?;
    let status = head.split(u8::is_ascii_whitespace).nth(1);
    match status.ok_or_else(malformed)? {
        b"200" => Ok(page.to_vec()),
        status => {
            let status = String::from_utf8_lossy(status);
            Err(io::Error::other(format!("/metrics: {status}")))
        }
    }
}

async fn read_all(socket: Box<dyn Socket>) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    match socket
        .take(METRICS_BYTES_MAX)
        .read_to_end(&mut answer)
        .await
    {
        // Many servers close without TLS's goodbye.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(answer),
    }
}

async fn metrics(State(proxy): State<Proxy>) -> impl IntoResponse {
    match proxy.metrics.render() {
        Ok(text) => (StatusCode::OK, METRICS_KIND, text),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            METRICS_KIND,
            error.to_string().into_bytes(),
        ),
    }
}

/// Reads a key that need not be there; that it may not be read says that somebody answers.
async fn health(State(proxy): State<Proxy>) -> impl IntoResponse {
    let range = RangeRequest {
        key: "health".into(),
        ..RangeRequest::default()
    };
    let mut kv = KvClient::new(proxy.relay);
    let read = tokio::time::timeout(HEALTH_MAX, kv.range(range)).await;
    let is_well = match read {
        Ok(Ok(_)) => true,
        Ok(Err(status)) => {
            status.code() == Code::PermissionDenied || status.code() == Code::InvalidArgument
        }
        Err(_) => false,
    };
    if is_well {
        (StatusCode::OK, r#"{"health":"true","reason":""}"#)
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            r#"{"health":"false","reason":"the cluster does not answer"}"#,
        )
    }
}
