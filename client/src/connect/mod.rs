//! Whom to connect to, and how: the options of a client, its endpoints, its certificates.

mod connector;
#[cfg(feature = "srv")]
mod discovery;
mod endpoint;
mod options;
#[cfg(feature = "tls")]
mod tls;

pub use connector::{Connecting, Connector, Socket};
pub use endpoint::Endpoint;
pub use options::ConnectOptions;
#[cfg(feature = "tls")]
pub use tls::Tls;

pub(crate) use connector::dial;
#[cfg(any(feature = "v2", feature = "websocket"))]
pub(crate) use connector::dial_http1;
pub(crate) use options::{Credentials, Limits};
