//! The network: listeners and their connections, TLS, and the way to other members.

pub mod peer;
pub mod serve;
pub mod tls;
