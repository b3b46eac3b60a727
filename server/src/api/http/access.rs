//! Who may speak HTTP: host names against DNS rebinding (CVE-2018-5702), origins for browsers.

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HOST,
    HeaderValue, ORIGIN, UPGRADE,
};
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;

use super::reply;
use crate::api::router::OverTls;
use crate::settings::{Allowed, HttpSettings};

/// What is checked of a request before any page sees it.
pub(crate) struct Access(HttpSettings);

/// What a page's answer to a request is to say of its origin.
pub(crate) struct Admitted {
    origin: Option<HeaderValue>,
}

impl Access {
    pub(crate) const fn new(settings: HttpSettings) -> Self {
        Self(settings)
    }

    /// Lets a request in.
    ///
    /// # Errors
    ///
    /// The answer to a request that goes no further: refused, or a browser's preflight.
    pub(crate) fn admit<B>(&self, request: &Request<B>) -> Result<Admitted, Box<Response>> {
        let settings = &self.0;
        let host = host_name(request);
        let is_protected = request.extensions().get::<OverTls>().is_some();
        if !is_protected && !settings.hosts.contains(host) {
            tracing::warn!(
                host,
                "rejecting HTTP request to prevent DNS rebinding attacks"
            );
            return Err(Box::new(reply::error(
                StatusCode::MISDIRECTED_REQUEST,
                &format!(
                    "the name {host:?} in the Host header is not one of this server's; add it to \
                     --host-whitelist, or use TLS"
                ),
            )));
        }
        let origin = allowed_origin(&settings.cors, request);
        if origin.is_none() && request.headers().contains_key(ORIGIN) && is_websocket(request) {
            // Browsers send cookies along, and ask nobody before they do.
            return Err(Box::new(reply::error(
                StatusCode::FORBIDDEN,
                "a WebSocket from this origin is not allowed: add the origin to --cors",
            )));
        }
        let admitted = Admitted { origin };
        if request.method() == Method::OPTIONS {
            let answer = admitted.answered(Response::new(Body::empty()));
            return Err(Box::new(answer));
        }
        Ok(admitted)
    }
}

impl Admitted {
    /// The page's answer, with what it says of the request's origin.
    pub(crate) fn answered(self, mut response: Response) -> Response {
        if let Some(origin) = self.origin {
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
}

fn is_websocket<B>(request: &Request<B>) -> bool {
    let upgrade = request.headers().get(UPGRADE);
    upgrade.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The name a request was sent to, without port and brackets.
fn host_name<B>(request: &Request<B>) -> &str {
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

fn allowed_origin<B>(cors: &Allowed, request: &Request<B>) -> Option<HeaderValue> {
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
