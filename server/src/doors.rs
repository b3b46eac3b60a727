//! Everything that a client's port answers: gRPC, and HTTP beside it.

use std::sync::Arc;

use axum::Router;

use crate::grpc::Services;
use crate::member::Member;

/// The router of a client's port.
pub fn router(member: &Arc<Member>) -> Router {
    let services = Services::new(member);
    Router::new().fallback(move |call: axum::extract::Request| {
        let services = services.clone();
        async move { services.answer(call).await }
    })
}
