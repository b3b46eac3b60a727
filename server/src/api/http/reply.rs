//! Answers in the form that Go's HTTP server gives them, which tools compare.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::http::{Method, StatusCode};
use axum::response::Response;

const PLAIN: &str = "text/plain; charset=utf-8";

/// An answer with a body of this type.
pub(crate) fn reply(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    set(&mut response, CONTENT_TYPE, content_type);
    response
}

/// Plain text, not to be taken for anything else.
pub(super) fn plain(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = reply(status, PLAIN, body);
    set(&mut response, X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

/// Plain text as a page without further headers has it.
pub(super) fn page(body: impl Into<Body>) -> Response {
    reply(StatusCode::OK, PLAIN, body)
}

/// An error: its text, and a newline after it.
pub(crate) fn error(status: StatusCode, text: &str) -> Response {
    plain(status, format!("{text}\n"))
}

/// The answer to a method other than GET, if `method` is one.
pub(super) fn refuse_unless_get(method: &Method) -> Option<Response> {
    if method == Method::GET {
        return None;
    }
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    set(&mut response, ALLOW, "GET");
    Some(response)
}

pub(crate) async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "404 page not found")
}

fn set(response: &mut Response, name: HeaderName, value: &'static str) {
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
}
