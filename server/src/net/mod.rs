//! The network: listeners and their connections, TLS, and the way to other members.

pub(crate) mod peer;
pub(crate) mod serve;
pub(crate) mod tls;
