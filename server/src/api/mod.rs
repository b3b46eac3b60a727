//! What a member offers: gRPC, and the HTTP pages beside it, and which of them a request gets.

pub mod grpc;
pub mod http;
mod member_probe;
pub mod router;
pub mod status;
