//! Who may speak HTTP: host names against DNS rebinding (CVE-2018-5702), origins for browsers.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HOST,
    HeaderValue, ORIGIN, UPGRADE,
};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use super::reply;
use crate::api::router::OverTls;
use crate::settings::{Allowed, HttpSettings};

/// Puts the checks in front of every page of `router`.
pub(super) fn guard(router: Router, settings: HttpSettings) -> Router {
    router.layer(from_fn_with_state(Arc::new(settings), check))
}

async fn check(
    State(settings): State<Arc<HttpSettings>>,
    request: Request,
    next: Next,
) -> Response {
    let host = host_name(&request).to_owned();
    let is_protected = request.extensions().get::<OverTls>().is_some();
    if !is_protected && !settings.hosts.contains(&host) {
        tracing::warn!(
            host,
            "rejecting HTTP request to prevent DNS rebinding attacks"
        );
        return reply::error(
            StatusCode::MISDIRECTED_REQUEST,
            &format!(
                "the name {host:?} in the Host header is not one of this server's; add it to \
                 --host-whitelist, or use TLS"
            ),
        );
    }
    let origin = allowed_origin(&settings.cors, &request);
    if origin.is_none() && request.headers().contains_key(ORIGIN) && is_websocket(&request) {
        // Browsers send cookies along, and ask nobody before they do.
        return reply::error(
            StatusCode::FORBIDDEN,
            "a WebSocket from this origin is not allowed: add the origin to --cors",
        );
    }
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::OK.into_response()
    } else {
        next.run(request).await
    };
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE"),
        );
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("accept, content-type, authorization"),
        );
    }
    response
}

fn is_websocket(request: &Request) -> bool {
    let upgrade = request.headers().get(UPGRADE);
    upgrade.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The name a request was sent to, without port and brackets.
fn host_name(request: &Request) -> &str {
    let from_header = request
        .headers()
        .get(HOST)
        .and_then(|value| value.to_str().ok());
    let authority = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => from_header.unwrap_or_default(),
    };
    if let Some((address, _)) = authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        return address;
    }
    authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host)
}

fn allowed_origin(cors: &Allowed, request: &Request) -> Option<HeaderValue> {
    match cors {
        Allowed::All => Some(HeaderValue::from_static("*")),
        Allowed::Only(origins) => {
            let origin = request.headers().get(ORIGIN)?;
            origin
                .to_str()
                .is_ok_and(|name| origins.contains(name))
                .then(|| origin.clone())
        }
    }
}
