//! `/debug/vars`: a few facts of the process as JSON.
//!
//! The command line, which etcd shows here, is left out: it may hold passwords.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;

use super::HttpParts;
use super::reply::{refuse_unless_get, reply};
use crate::settings::{CAIRN_VERSION, ETCD_VERSION};

pub(super) async fn vars(State(parts): State<HttpParts>, method: Method) -> Response {
    if let Some(refusal) = refuse_unless_get(&method) {
        return refusal;
    }
    parts.metrics.refresh_process();
    let limit = parts.metrics.os_fd_limit.get();
    let body = format!(
        "{{\n\"cairn_version\": \"{CAIRN_VERSION}\",\n\"etcd_version\": \"{ETCD_VERSION}\",\n\
         \"file_descriptor_limit\": {limit}\n}}\n"
    );
    reply(StatusCode::OK, "application/json; charset=utf-8", body)
}
