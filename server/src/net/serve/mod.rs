//! Connections: listeners, one runtime per core, and what a client may do to a connection.
//!
//! Each worker is an OS thread with a single-threaded tokio runtime, so that a request lives and
//! dies on one core: no work stealing, no wake-up of another thread but the consensus thread's.
//! Connections are dealt out in turn as they are accepted. One port speaks HTTP/1.1 and HTTP/2, with
//! TLS, without it, or either ([`ListenEndpoint`]), told apart by the first bytes of a connection
//! (`opening.rs`); what a request gets is the [`Api`](crate::api::router::Api)'s business.

mod authority;
mod connection;
mod descriptors;
mod frames;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzed;
mod late_end;
mod listen_endpoint;
mod listener;
mod opening;
mod ping_policy;
mod rewound;
mod socket;
mod watched;
mod workers;

pub(crate) use connection::ConnectionLimits;
pub(crate) use descriptors::raise_descriptor_limit;
pub(crate) use listen_endpoint::{Guard, ListenEndpoint};
pub(crate) use listener::SocketOptions;
pub(crate) use workers::Workers;
