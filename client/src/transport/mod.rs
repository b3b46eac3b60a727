//! gRPC over one HTTP/2 connection, framed by hand on the `h2` crate.
//!
//! A whole gRPC stack hides what this client must know: whether a request that failed was surely
//! not processed, and whether a silent server lives. It also costs less processor time.

mod attached;
mod connection;
mod failure;
mod framing;
#[cfg(feature = "relay")]
mod relay;
mod status;
mod streaming;
mod vital;
mod wake_flag;

pub(crate) use attached::Attacher;
pub(crate) use connection::{Connection, Headers, token_header};
pub(crate) use failure::CallFailure;
pub(crate) use framing::frame;
#[cfg(feature = "relay")]
pub use relay::RelayedBody;
#[cfg(feature = "websocket")]
pub(crate) use status::of_http;
pub(crate) use streaming::{Replies, Requests};
