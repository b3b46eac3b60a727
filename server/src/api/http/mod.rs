//! HTTP beside gRPC: version, health, metrics, each with etcd's paths and bodies.
//!
//! What the member is like is asked through [`Probe`]; nothing here knows the store or the log.
//! The API itself as JSON is in `gateway`. gRPC requests on the same port never come this way.

mod access;
mod gateway;
mod health;
mod metrics_page;
mod probe;
mod reply;
mod vars;
mod version_page;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::any;

use self::health::CheckGroup;
use crate::metrics::Metrics;

pub(crate) use self::access::Access;
pub(crate) use self::gateway::{Gateway, SchemaError};
pub(crate) use self::probe::{Alarm, Consistency, Probe, ProbeError, ProbeFuture, Versions};
pub(crate) use self::reply::{error as plain_error, not_found, reply as typed};

/// What the pages need.
#[derive(Clone)]
pub(crate) struct HttpParts {
    /// The member.
    pub probe: Arc<dyn Probe>,
    /// Its numbers.
    pub metrics: Arc<Metrics>,
    /// Time that a check may take.
    pub request_timeout: Duration,
}

/// The pages of the client addresses. `more` are other pages, of which this module knows nothing.
pub(crate) fn client_router(parts: HttpParts, more: Router) -> Router {
    Router::new()
        .route("/version", any(version_page::version))
        .route("/debug/vars", any(vars::vars))
        .with_state(parts.clone())
        .merge(monitoring_pages(parts))
        .merge(more)
        .fallback(not_found)
}

/// The pages of the metrics addresses: metrics and health alone, for anyone.
pub(crate) fn monitoring_router(parts: HttpParts) -> Router {
    monitoring_pages(parts).fallback(not_found)
}

/// The pages of the peer addresses that any listener has: version and health.
pub(crate) fn peer_router(parts: HttpParts) -> Router {
    Router::new()
        .route("/version", any(version_page::version))
        .route("/health", any(health::health))
        .with_state(parts)
        .fallback(not_found)
}

/// No pages at all, for listeners of gRPC alone.
pub(crate) fn no_pages() -> Router {
    Router::new().fallback(not_found)
}

fn monitoring_pages(parts: HttpParts) -> Router {
    let mut router = Router::new()
        .route("/metrics", any(metrics_page::metrics))
        .route("/health", any(health::health));
    for group in [CheckGroup::Livez, CheckGroup::Readyz] {
        router = group.add_routes(router);
    }
    router.with_state(parts)
}

#[cfg(test)]
mod tests;
