//! Everything that a client's port answers: gRPC, and HTTP beside it.

use std::sync::Arc;

use axum::Router;

use crate::grpc;
use crate::member::Member;

/// The router of a client's port.
pub fn router(member: &Arc<Member>) -> Router {
    grpc::router(member)
}
