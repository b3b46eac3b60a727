//! Where a server listens.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::Error;

/// The port of etcd's clients.
const PORT: u16 = 2379;

/// One address of one server, read from a URL.
///
/// `http://HOST:PORT`, `https://HOST:PORT`, `unix:PATH` and `unixs:PATH` (a socket in the file
/// system, in plain text and with TLS), or `HOST:PORT`, which takes TLS if the client has any.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    text: String,
    place: Place,
    security: Security,
}

/// Where the socket is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// Whether an endpoint is spoken to with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Security {
    Plain,
    Tls,
    /// The URL does not say.
    AsClient,
}

impl Endpoint {
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether TLS is spoken, by a client that has TLS settings or none.
    pub(crate) fn is_secured(&self, client_has_tls: bool) -> bool {
        match self.security {
            Security::Plain => false,
            Security::Tls => true,
            Security::AsClient => client_has_tls,
        }
    }

    /// The authority in the requests' URIs.
    pub(crate) fn authority(&self) -> String {
        match &self.place {
            Place::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Place::Tcp { host, port } => format!("{host}:{port}"),
            Place::Unix(_) => "localhost".to_owned(),
        }
    }

    /// The name that the server's certificate must have.
    #[cfg(feature = "tls")]
    pub(crate) fn server_name(&self) -> &str {
        match &self.place {
            Place::Tcp { host, .. } => host,
            Place::Unix(_) => "localhost",
        }
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (security, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Security::Plain, rest),
            Some(("https", rest)) => (Security::Tls, rest),
            Some(("unix", path)) => return unix(text, path, Security::Plain),
            Some(("unixs", path)) => return unix(text, path, Security::Tls),
            Some((scheme, _)) => {
                return Err(refused(text, &format!("the scheme {scheme} is not known")));
            }
            None => match (text.strip_prefix("unix:"), text.strip_prefix("unixs:")) {
                (Some(path), _) => return unix(text, path, Security::Plain),
                (_, Some(path)) => return unix(text, path, Security::Tls),
                _ => (Security::AsClient, text),
            },
        };
        let address = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = host_and_port(address).map_err(|reason| refused(text, reason))?;
        Ok(Self {
            text: text.to_owned(),
            place: Place::Tcp { host, port },
            security,
        })
    }
}

fn unix(text: &str, path: &str, security: Security) -> Result<Endpoint, Error> {
    if path.is_empty() {
        return Err(refused(text, "a socket has a path"));
    }
    Ok(Endpoint {
        text: text.to_owned(),
        place: Place::Unix(PathBuf::from(path)),
        security,
    })
}

fn host_and_port(address: &str) -> Result<(String, u16), &'static str> {
    if address.contains(['/', '?', '#', '@']) {
        return Err("an endpoint is a host and a port, without path, query or user");
    }
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("the bracket is not closed")?;
            (host, rest.strip_prefix(':'))
        }
        None => match address.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => {
                return Err("an IPv6 address stands in brackets");
            }
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    if host.is_empty() {
        return Err("there is no host");
    }
    let port = match port {
        Some(port) => port
            .parse()
            .map_err(|_| "the port is not a number below 65536")?,
        None => PORT,
    };
    Ok((host.to_owned(), port))
}

fn refused(text: &str, reason: &str) -> Error {
    Error::invalid(format!("endpoint {text:?}"), reason)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_read() {
        for (text, authority, is_secured) in [
            ("http://127.0.0.1:2379", "127.0.0.1:2379", false),
            ("https://a.example:2379/", "a.example:2379", true),
            ("localhost:23790", "localhost:23790", true),
            ("localhost", "localhost:2379", true),
            ("http://[::1]:1", "[::1]:1", false),
            ("unix:///run/etcd.sock", "localhost", false),
            ("unixs:run/etcd.sock", "localhost", true),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.authority(), authority);
            assert_eq!(endpoint.is_secured(true), is_secured, "{text}");
            assert_eq!(endpoint.to_string(), text);
        }
        let socket: Endpoint = "unix:///run/etcd.sock".parse().unwrap();
        assert_eq!(socket.place(), &Place::Unix("/run/etcd.sock".into()));
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_its_text() {
        for text in [
            "",
            "ftp://host:1",
            "http://:1",
            "http://host:65536",
            "http://host:port",
            "http://::1:2379",
            "http://[::1",
            "http://host/path",
            "http://user@host",
            "unix:",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
