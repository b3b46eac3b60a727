//! Whom to connect to, and how: the options of a client, its endpoints, its certificates.

mod connector;
#[cfg(feature = "srv")]
mod discovery;
mod endpoint;
mod options;
mod tls;

pub use connector::{Connecting, Connector, Socket};
pub use endpoint::Endpoint;
pub use options::ConnectOptions;
pub use tls::Tls;

pub(crate) use connector::{dial, dial_http1};
pub(crate) use options::Limits;
