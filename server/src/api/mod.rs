//! What a member offers: gRPC, and the HTTP pages beside it, and which of them a request gets.

mod calls;
pub(crate) mod grpc;
pub(crate) mod http;
mod member_probe;
mod pages;
pub(crate) mod router;
pub(crate) mod status;
mod unread;
mod v2;
