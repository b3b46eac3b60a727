//! `/metrics` and `/health`: the proxy's own numbers, and whether the cluster answers it.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Router, response::IntoResponse};
use cairn_proto::etcdserverpb::RangeRequest;
use cairn_proto::etcdserverpb::kv_client::KvClient;
use tonic::Code;

use crate::{Proxy, Routes};

/// How long the cluster may take to say that it is well.
const HEALTH_MAX: Duration = Duration::from_secs(5);

pub(crate) fn routes() -> Routes {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/proxy/metrics", get(metrics))
        .route("/health", get(health))
        .route("/proxy/health", get(health))
}

async fn metrics(State(proxy): State<Proxy>) -> impl IntoResponse {
    match proxy.metrics.render() {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
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
