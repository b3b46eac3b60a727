//! `/version`: the API version served, and what the cluster and its data are at.

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;

use super::HttpParts;
use super::reply::{refuse_unless_get, reply};
use crate::settings::ETCD_VERSION;

pub(super) async fn version(State(parts): State<HttpParts>, method: Method) -> Response {
    if let Some(refusal) = refuse_unless_get(&method) {
        return refusal;
    }
    let versions = parts.probe.versions();
    let cluster = versions.cluster.as_deref().unwrap_or("not_decided");
    let storage = versions.storage.as_deref().unwrap_or("unknown");
    // Tools compare the text: no spaces, this order.
    let body = format!(
        "{{\"etcdserver\":\"{ETCD_VERSION}\",\"etcdcluster\":\"{cluster}\",\"storage\":\"{storage}\"}}"
    );
    reply(StatusCode::OK, "application/json", body)
}
