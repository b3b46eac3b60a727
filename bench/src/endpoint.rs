//! The address of the server under load: loopback only, so that no run can hurt a stranger.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use cairn_testbed::ports::free_address;

/// A gRPC address on this machine.
///
/// Invariant: the address is a loopback address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    address: SocketAddr,
    is_tls: bool,
}

impl Endpoint {
    /// Different addresses on 127.0.0.1 whose ports nobody listens on at this moment.
    ///
    /// # Errors
    ///
    /// The operating system's, if not so many ports can be had.
    pub fn free(count: usize) -> std::io::Result<Vec<Self>> {
        let address = || {
            Ok(Self {
                address: free_address()?,
                is_tls: false,
            })
        };
        (0..count).map(|_| address()).collect()
    }

    /// The socket address.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        self.address
    }

    /// Whether TLS is spoken there.
    #[must_use]
    pub fn is_tls(self) -> bool {
        self.is_tls
    }

    /// The same address, with TLS or without.
    #[must_use]
    pub fn with_tls(self, is_tls: bool) -> Self {
        Self { is_tls, ..self }
    }

    /// The address as etcd's flags want it.
    #[must_use]
    pub fn url(self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let refused = || EndpointError {
            text: text.to_owned(),
        };
        let (is_tls, bare) = match text.strip_prefix("https://") {
            Some(bare) => (true, bare),
            None => (false, text.strip_prefix("http://").unwrap_or(text)),
        };
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        let address = match bare.strip_prefix("localhost:") {
            Some(port) => {
                let port = port.parse().map_err(|_| refused())?;
                SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
            }
            None => bare.parse().map_err(|_| refused())?,
        };
        if address.ip().is_loopback() {
            Ok(Self { address, is_tls })
        } else {
            Err(refused())
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(f)
    }
}

/// A text that is not a loopback endpoint.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a loopback address with a port, such as 127.0.0.1:2379")]
pub struct EndpointError {
    /// The text as given.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_are_read_with_and_without_a_scheme() {
        for text in ["127.0.0.1:2379", "http://127.0.0.1:2379/", "localhost:2379"] {
            assert_eq!(
                text.parse::<Endpoint>().unwrap().url(),
                "http://127.0.0.1:2379"
            );
        }
        let with_tls: Endpoint = "https://127.0.0.1:1".parse().unwrap();
        assert_eq!(with_tls.url(), "https://127.0.0.1:1");
        assert_eq!(
            "[::1]:1".parse::<Endpoint>().unwrap().to_string(),
            "[::1]:1"
        );
    }

    #[test]
    fn other_machines_and_nonsense_are_refused() {
        for text in [
            "10.0.0.1:2379",
            "https://10.0.0.1:2379",
            "127.0.0.1",
            "localhost:x",
            "",
        ] {
            assert_eq!(
                text.parse::<Endpoint>(),
                Err(EndpointError {
                    text: text.to_owned()
                })
            );
        }
    }
}
