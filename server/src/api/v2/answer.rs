//! Answers, in the form of etcd's and of Go's server beneath it.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use cairn_v2::{Error, write_error, write_string};

use super::{V2Parts, go_path};
use crate::api::http::{plain_error, typed};
use crate::member::Member;

pub(super) const JSON: &str = "application/json";

const CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");
const ETCD_INDEX: HeaderName = HeaderName::from_static("x-etcd-index");
const RAFT_INDEX: HeaderName = HeaderName::from_static("x-raft-index");
const RAFT_TERM: HeaderName = HeaderName::from_static("x-raft-term");

/// JSON.
pub(super) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    typed(status, JSON, body)
}

/// An answer without a body and its type.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An error of the tree.
pub(super) fn tree_error(error: &Error, namespace: &str) -> Response {
    let status = StatusCode::from_u16(error.kind.http_status());
    let mut body = String::new();
    write_error(&mut body, error, namespace);
    let mut response = json(status.unwrap_or(StatusCode::BAD_REQUEST), body);
    set(&mut response, ETCD_INDEX, error.index.into());
    response
}

/// An error that is not of the tree.
pub(super) fn message(status: StatusCode, text: &str) -> Response {
    let mut body = String::from("{\"message\":");
    write_string(&mut body, text.as_bytes());
    body.push('}');
    json(status, body)
}

/// The answer to who may not.
pub(super) fn no_auth() -> Response {
    message(StatusCode::UNAUTHORIZED, "Insufficient credentials")
}

/// What etcd says of its own faults.
pub(super) fn internal_error() -> Response {
    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}

/// What Go's server says to what is no request.
pub(super) fn bad_request() -> Response {
    typed(
        StatusCode::BAD_REQUEST,
        "text/plain; charset=utf-8",
        "400 Bad Request",
    )
}

/// The answer to a method that is not among `allowed`, if this one is not.
pub(super) fn refuse_unless(allowed: &'static str, method: &Method) -> Option<Response> {
    if allowed.split(',').any(|it| it == method.as_str()) {
        return None;
    }
    let mut response = plain_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(ALLOW, allowed);
    Some(response)
}

/// Sends a client on to the clean form of a path.
pub(super) fn moved(method: &Method, path: &[u8], query: Option<&str>) -> Response {
    let mut location = go_path::escape(path);
    if let Some(query) = query {
        location.push('?');
        location.push_str(query);
    }
    let is_read = method == Method::GET || method == Method::HEAD;
    let mut response = if method == Method::GET {
        let shown = location
            .replace('&', "&amp;")
            .replace('\'', "&#39;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&#34;");
        let body = format!("<a href=\"{shown}\">Moved Permanently</a>.\n\n");
        Response::new(Body::from(body))
    } else {
        Response::new(Body::empty())
    };
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let headers = response.headers_mut();
    if is_read {
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        headers.insert(CONTENT_TYPE, html);
    }
    if let Ok(location) = HeaderValue::from_str(&location) {
        headers.insert(LOCATION, location);
    }
    response
}

/// The cluster's ID, as answers have it.
pub(super) fn cluster_id(member: &Member) -> HeaderValue {
    let id = format!("{:x}", member.identity.cluster.get());
    // Digits always are a header's value.
    HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Adds the cluster's ID.
pub(super) fn of_cluster(parts: &V2Parts, mut response: Response) -> Response {
    set(&mut response, CLUSTER_ID, parts.cluster_id.clone());
    response
}

/// Adds where the member is: the index that the answer is from, and the log's.
pub(super) fn at_index(member: &Member, mut response: Response, index: u64) -> Response {
    let progress = member.progress();
    set(&mut response, ETCD_INDEX, index.into());
    set(&mut response, RAFT_INDEX, progress.committed().get().into());
    set(&mut response, RAFT_TERM, progress.shown_term().get().into());
    response
}

fn set(response: &mut Response, name: HeaderName, value: HeaderValue) {
    response.headers_mut().insert(name, value);
}
