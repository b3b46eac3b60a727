//! URLs of members and clients: `http://host:port`, `https://host:port`, `unix://path`.
//!
//! A [`Url`] is kept to the letter, since member lists return it as it was given. A
//! [`ListenUrl`] is one that a socket can be bound to: it names an address, not a host name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

/// How the bytes of a connection are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protection {
    /// `http` and `unix`: none.
    Plain,
    /// `https` and `unixs`.
    Tls,
}

/// Where a URL points.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A host, without brackets if it is an IPv6 address, and a port.
    Tcp {
        /// Name or address; may be empty.
        host: String,
        /// The TCP port.
        port: u16,
    },
    /// A socket file.
    Unix {
        /// Path of the file.
        path: PathBuf,
    },
}

/// An address as a user wrote it, known to be well formed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Url {
    text: String,
    protection: Protection,
    place: Place,
}

impl Url {
    /// Reads one URL; spaces around it are dropped.
    ///
    /// # Errors
    ///
    /// [`UrlError`] names the part that is missing or too much.
    pub(crate) fn parse(given: &str) -> Result<Self, UrlError> {
        let text = given.trim();
        let scheme_error = || UrlError::Scheme {
            text: text.to_owned(),
        };
        let (scheme, rest) = text.split_once(':').ok_or_else(scheme_error)?;
        let scheme = scheme.to_ascii_lowercase();
        let (protection, is_unix) = match scheme.as_str() {
            "http" => (Protection::Plain, false),
            "https" => (Protection::Tls, false),
            "unix" => (Protection::Plain, true),
            "unixs" => (Protection::Tls, true),
            _ => return Err(scheme_error()),
        };
        let place = if is_unix {
            unix_place(rest).ok_or_else(|| UrlError::NoPath {
                text: text.to_owned(),
            })?
        } else {
            tcp_place(text, rest.strip_prefix("//").unwrap_or_default())?
        };
        Ok(Self {
            text: format!("{scheme}:{rest}"),
            protection,
            place,
        })
    }

    /// The URL as given.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether connections to it use TLS.
    #[must_use]
    pub(crate) fn protection(&self) -> Protection {
        self.protection
    }

    /// Where it points.
    #[must_use]
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl AsRef<str> for Url {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl Url {
    /// Whether this is where `other` is: by its text, or by what both names are resolved to. As in etcd
    /// `localhost` is not resolved, and so no other name or address is the same.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        let (
            Place::Tcp { host, port },
            Place::Tcp {
                host: other_host,
                port: other_port,
            },
        ) = (&self.place, &other.place)
        else {
            return false;
        };
        if host == LOCALHOST || other_host == LOCALHOST {
            return false;
        }
        let resolved = |host: &str| {
            let addresses = (host, *port).to_socket_addrs();
            addresses
                .ok()
                .and_then(|mut found| found.find(SocketAddr::is_ipv4))
        };
        port == other_port
            && self.protection == other.protection
            && resolved(host).is_some_and(|address| resolved(other_host) == Some(address))
    }
}

/// The name that is not resolved.
pub(super) const LOCALHOST: &str = "localhost";

/// Messages list URLs; each is its text, in quotes.
impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn unix_place(rest: &str) -> Option<Place> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    (!path.is_empty()).then(|| Place::Unix {
        path: PathBuf::from(path),
    })
}

fn tcp_place(text: &str, authority: &str) -> Result<Place, UrlError> {
    if authority.contains(['/', '?', '#', '@']) {
        return Err(UrlError::Extra {
            text: text.to_owned(),
        });
    }
    let no_port = || UrlError::NoPort {
        text: text.to_owned(),
    };
    let (host, port) = authority.rsplit_once(':').ok_or_else(no_port)?;
    let port = port.parse().map_err(|_| no_port())?;
    let host = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(bracketed) => bracketed,
        None if host.contains(':') => return Err(no_port()),
        None => host,
    };
    Ok(Place::Tcp {
        host: host.to_owned(),
        port,
    })
}

/// What a listener binds to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ListenAddress {
    /// An address and port; `localhost` has become 127.0.0.1.
    Tcp(SocketAddr),
    /// A socket file, to be created.
    Unix(PathBuf),
}

/// A URL that a listener can be opened for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ListenUrl {
    url: Url,
    address: ListenAddress,
}

impl ListenUrl {
    /// Takes the URL of a listener.
    ///
    /// # Errors
    ///
    /// [`UrlError::NotAnIp`] if its host is a name other than `localhost`.
    pub(crate) fn new(url: Url) -> Result<Self, UrlError> {
        let address = match url.place() {
            Place::Unix { path } => ListenAddress::Unix(path.clone()),
            Place::Tcp { host, port } if host == "localhost" => {
                ListenAddress::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), *port))
            }
            Place::Tcp { host, port } => match host.parse() {
                Ok(ip) => ListenAddress::Tcp(SocketAddr::new(ip, *port)),
                Err(_) => return Err(UrlError::NotAnIp { text: url.text }),
            },
        };
        Ok(Self { url, address })
    }

    /// The URL as given.
    #[must_use]
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// What to bind.
    #[must_use]
    pub(crate) fn address(&self) -> &ListenAddress {
        &self.address
    }
}

/// A URL that cannot be used; texts begin as etcd's do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlError {
    /// A scheme missing or unknown.
    #[error("URL scheme must be http, https, unix, or unixs: {text}")]
    Scheme {
        /// The URL as given.
        text: String,
    },
    /// No port, or one that is no number below 65536.
    #[error("URL address does not have the form \"host:port\": {text}")]
    NoPort {
        /// The URL as given.
        text: String,
    },
    /// Something after the port, or a user name.
    #[error("URL must not contain a path: {text}; write scheme://host:port and nothing more")]
    Extra {
        /// The URL as given.
        text: String,
    },
    /// A socket URL without a file.
    #[error("URL names no socket file: {text}; write unix:///path/to/socket")]
    NoPath {
        /// The URL as given.
        text: String,
    },
    /// A host name where a socket is to be bound.
    #[error(
        "expected IP in URL for binding ({text}); a listener takes an address such as 127.0.0.1 or 0.0.0.0, or localhost"
    )]
    NotAnIp {
        /// The URL as given.
        text: String,
    },
    /// An address to advertise without a host.
    #[error("unexpected empty host ({text})")]
    NoHost {
        /// The URL as given.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Result<ListenAddress, UrlError> {
        ListenUrl::new(Url::parse(text)?).map(|url| url.address)
    }

    #[test]
    fn listen_urls_become_addresses() {
        let tcp = |text: &str| Ok(ListenAddress::Tcp(text.parse().unwrap()));
        let unix = |path: &str| Ok(ListenAddress::Unix(PathBuf::from(path)));
        assert_eq!(listen("http://localhost:2379"), tcp("127.0.0.1:2379"));
        assert_eq!(listen(" HTTP://0.0.0.0:1 "), tcp("0.0.0.0:1"));
        assert_eq!(listen("https://[::1]:65535"), tcp("[::1]:65535"));
        assert_eq!(listen("unix:///run/c.sock"), unix("/run/c.sock"));
        assert_eq!(listen("unix:/run/c.sock"), unix("/run/c.sock"));
        assert_eq!(listen("unix://localhost:17"), unix("localhost:17"));
    }

    #[test]
    fn malformed_urls_are_refused_with_the_part_that_is_wrong() {
        for text in ["", "localhost:1", "ftp://a:1", "a"] {
            assert!(
                matches!(Url::parse(text), Err(UrlError::Scheme { .. })),
                "{text}"
            );
        }
        for text in [
            "http://a",
            "http://a:",
            "http://a:x",
            "http://a:65536",
            "http://::1:2",
            "http:a",
        ] {
            assert!(
                matches!(Url::parse(text), Err(UrlError::NoPort { .. })),
                "{text}"
            );
        }
        for text in [
            "http://a:1/",
            "http://a:1/p",
            "http://u@a:1",
            "http://a:1?q",
        ] {
            assert!(
                matches!(Url::parse(text), Err(UrlError::Extra { .. })),
                "{text}"
            );
        }
        assert!(matches!(
            Url::parse("unix://"),
            Err(UrlError::NoPath { .. })
        ));
    }

    #[test]
    fn a_name_can_be_advertised_but_not_bound() {
        let url = Url::parse("http://etcd-0.etcd:2380").unwrap();
        assert_eq!(url.as_str(), "http://etcd-0.etcd:2380");
        assert!(matches!(ListenUrl::new(url), Err(UrlError::NotAnIp { .. })));
        assert!(matches!(
            listen("http://:2379"),
            Err(UrlError::NotAnIp { .. })
        ));
    }

    /// etcd resolves names where it compares a member's addresses, all but `localhost`.
    #[test]
    fn names_in_urls_are_resolved_but_for_localhost() {
        let is_same = |left: &str, right: &str| {
            let [left, right] = [left, right].map(|url| Url::parse(url).unwrap());
            left.is_same_place(&right)
        };
        // Another way to write an address, which only the resolver knows.
        assert!(is_same("http://127.1:2380", "http://127.0.0.1:2380"));
        assert!(is_same("http://localhost:2380", "http://localhost:2380"));
        for (left, right) in [
            ("http://localhost:2380", "http://127.0.0.1:2380"),
            ("http://127.1:2380", "http://127.0.0.1:2381"),
            ("http://127.1:2380", "https://127.0.0.1:2380"),
            ("http://127.1:2380", "http://127.0.0.2:2380"),
            ("http://127.0.0.1:2380", "unix:///127.0.0.1"),
        ] {
            assert!(!is_same(left, right), "{left} {right}");
        }
    }
}
