//! What a peer address serves to people and to etcd's tools: `/version`, `/members`, `/health`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::api::http::{HttpParts, peer_router};
use crate::member::Member;

/// The pages of `member`.
pub(super) fn pages(member: Arc<Member>, parts: HttpParts) -> Router {
    Router::new()
        .route("/members", get(members))
        .with_state(member)
        .merge(peer_router(parts))
}

/// The members as etcd's peers list them; a joining etcd reads this page.
async fn members(State(member): State<Arc<Member>>) -> Response {
    let members = member.membership();
    let members: Vec<_> = members.iter().collect();
    let mut response = match serde_json::to_string(&members) {
        Ok(body) => body.into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    if let Ok(cluster) = HeaderValue::try_from(member.identity.cluster.to_string()) {
        headers.insert("X-Etcd-Cluster-ID", cluster);
    }
    response
}
