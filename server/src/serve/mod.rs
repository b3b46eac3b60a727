//! Connections: one listener, one runtime per core, one router for gRPC and HTTP.
//!
//! Each worker is an OS thread with a single-threaded tokio runtime, so that a request lives and
//! dies on one core: no work stealing, no wake-up of another thread but the consensus thread's.
//! Connections are dealt out in turn as they are accepted. One port speaks HTTP/1.1 and HTTP/2
//! without TLS, told apart by the first bytes of a connection.

mod connection;
mod workers;

pub use connection::ConnectionLimits;
pub use workers::{Worker, Workers};
