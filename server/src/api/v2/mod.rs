//! etcd's second API over HTTP: `/v2/keys`, `/v2/machines`, `/v2/members`, `/v2/stats`, `/v2/auth`.
//!
//! Paths, forms, statuses, headers and bodies are etcd 3.4's. What a request means to the tree is
//! `cairn_v2`'s.

mod answer;
mod auth;
mod form;
mod go_path;
mod go_time;
mod json_body;
mod key_request;
mod keys;
mod machines;
mod members;
mod stats;
mod wait_body;

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Uri};
use axum::response::Response;
use bytes::Bytes;

use self::auth::AuthKeeper;
use crate::api::http::not_found;
use crate::member::Member;

/// What the pages of the second API need.
pub(crate) struct V2Parts {
    member: Arc<Member>,
    auth: AuthKeeper,
    /// As answers have it.
    cluster_id: HeaderValue,
    started: SystemTime,
}

impl V2Parts {
    /// The pages of `member`, which starts now.
    pub(crate) fn new(member: &Arc<Member>) -> Self {
        Self {
            member: Arc::clone(member),
            auth: AuthKeeper::new(Arc::clone(member)),
            cluster_id: answer::cluster_id(member),
            started: SystemTime::now(),
        }
    }
}

/// Whether the second API answers what is asked at `path`.
pub(crate) fn is_under(path: &str) -> bool {
    path.strip_prefix("/v2")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A request, taken apart.
struct Call {
    method: Method,
    uri: Uri,
    /// The path without escapes.
    path: Vec<u8>,
    headers: HeaderMap,
    /// The name in the client's certificate, where that counts.
    common_name: Option<Arc<str>>,
}

/// Answers a request for what [`is_under`] the second API.
pub(crate) async fn answer_request(parts: &V2Parts, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let Ok(path) = form::unescape(head.uri.path(), form::Spaces::AsTheyAre) else {
        return answer::bad_request();
    };
    if !go_path::is_clean(&path) {
        let clean = go_path::clean(&path);
        return answer::moved(&head.method, &clean, head.uri.query());
    }
    let common_name = auth::common_name(&head.headers, &head.extensions);
    let call = Call {
        method: head.method,
        uri: head.uri,
        path,
        headers: head.headers,
        common_name,
    };
    let Some(rest) = call.path.strip_prefix(b"/v2/") else {
        return not_found().await;
    };
    let (page, below) = match rest.iter().position(|&byte| byte == b'/') {
        Some(slash) => {
            let (page, below) = rest.split_at(slash);
            (page, Some(below))
        }
        None => (rest, None),
    };
    match (page, below) {
        (b"keys", _) => keys::answer(parts, &call, body).await,
        (b"machines", None) => machines::answer(parts, &call.method),
        (b"members", below) => {
            let name = below.map_or(&b""[..], |below| below.get(1..).unwrap_or_default());
            members::answer(parts, &call, name, body).await
        }
        (b"stats", Some(which)) => match which {
            b"/store" => stats::store(parts, &call.method),
            b"/self" => stats::own(parts, &call.method),
            b"/leader" => stats::leader(parts, &call.method),
            _ => not_found().await,
        },
        (b"auth", Some(below)) => auth::answer(parts, &call, below, body).await,
        _ => not_found().await,
    }
}

/// Reads a whole body, which may have this many bytes.
async fn read_body(body: Body, bytes_max: usize) -> Result<Bytes, axum::Error> {
    axum::body::to_bytes(body, bytes_max).await
}
