//! The options of a client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::connector::Connector;
use super::connector::{Socket, dial_http1};
use super::endpoint::Endpoint;
#[cfg(feature = "tls")]
use super::tls::Tls;
use crate::client::Client;
use crate::error::Error;
use crate::into_bytes::IntoBytes;

/// What a client may be told before it connects; the defaults suit a cluster in one region.
///
/// ```no_run
/// # async fn run() -> Result<(), cairn_client::Error> {
/// use std::time::Duration;
/// use cairn_client::{ConnectOptions, Tls};
///
/// let client = ConnectOptions::new(["https://10.0.0.1:2379", "https://10.0.0.2:2379"])?
///     .tls(Tls::new().ca_file("ca.pem").identity_files("client.pem", "client-key.pem"))
///     .user("alice", "secret")
///     .request_timeout(Duration::from_secs(5))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ConnectOptions {
    pub(crate) endpoints: Vec<Endpoint>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Tls>,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) connector: Option<Arc<dyn Connector>>,
    pub(crate) namespace: Bytes,
    pub(crate) limits: Limits,
    #[cfg(feature = "websocket")]
    pub(crate) watches_over_websocket: bool,
}

/// Who calls.
#[derive(Clone)]
pub(crate) enum Credentials {
    /// A name and what proves it.
    Password { user: String, password: String },
    /// A token that was fetched by somebody else.
    Token(String),
}

/// Times and sizes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) keepalive_while_idle: bool,
    pub(crate) response_bytes_max: usize,
    pub(crate) require_leader: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(30),
            // Servers allow a ping every 5 seconds by default, and end connections that send more.
            keepalive_interval: Duration::from_secs(5),
            keepalive_timeout: Duration::from_secs(2),
            keepalive_while_idle: false,
            response_bytes_max: i32::MAX as usize,
            require_leader: false,
        }
    }
}

impl ConnectOptions {
    /// A client of these endpoints, which are members of one cluster. At least one is needed.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`], if an endpoint cannot be read (see [`Endpoint`]) or there is none.
    pub fn new<I>(endpoints: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let endpoints: Result<Vec<Endpoint>, Error> = endpoints
            .into_iter()
            .map(|it| it.as_ref().parse())
            .collect();
        let endpoints = endpoints?;
        if endpoints.is_empty() {
            return Err(Error::invalid("endpoints", "there is none"));
        }
        Ok(Self {
            endpoints,
            #[cfg(feature = "tls")]
            tls: None,
            credentials: None,
            connector: None,
            namespace: Bytes::new(),
            limits: Limits::default(),
            #[cfg(feature = "websocket")]
            watches_over_websocket: false,
        })
    }

    /// Speaks TLS as told. `https` endpoints are spoken to with TLS in any case, by default with
    /// the authorities of the operating system.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Calls as a user. The token is fetched by the first call, and again whenever it ended.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some(Credentials::Password {
            user: name.into(),
            password: password.into(),
        });
        self
    }

    /// Calls with a token that somebody else fetched, one that a server signed, say. When it has ended,
    /// calls fail.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.credentials = Some(Credentials::Token(token.into()));
        self
    }

    /// A connection to an endpoint for the program's own HTTP/1.1, with TLS as told: to read a
    /// member's metrics, say.
    ///
    /// # Errors
    ///
    /// The operating system's, and TLS's.
    pub async fn dial_http1(&self, endpoint: &Endpoint) -> std::io::Result<Box<dyn Socket>> {
        dial_http1(endpoint, self).await
    }

    /// How long one attempt to connect may take, TLS included. 2 s by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.limits.connect_timeout = timeout;
        self
    }

    /// How long a call may take, with everything that is tried for it. 30 s by default; streams
    /// have no end.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.limits.request_timeout = timeout;
        self
    }

    /// When to ask a silent server whether it lives, and how long to wait for the answer before
    /// the connection counts as lost. A server is silent if it owes an answer or a stream, and
    /// nothing came from it. 5 s and 2 s by default; etcd ends connections that ask more often
    /// than every 5 s.
    #[must_use]
    pub fn keepalive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.limits.keepalive_interval = interval;
        self.limits.keepalive_timeout = timeout;
        self
    }

    /// Asks a silent server also while it owes nothing. etcd's members end connections that do so for
    /// long; a proxy or firewall that forgets idle connections may need it.
    #[must_use]
    pub fn keepalive_while_idle(mut self) -> Self {
        self.limits.keepalive_while_idle = true;
        self
    }

    /// The longest answer that is taken, in bytes. 2 GiB by default.
    #[must_use]
    pub fn max_response_bytes(mut self, bytes: usize) -> Self {
        self.limits.response_bytes_max = bytes.min(i32::MAX as usize);
        self
    }

    /// Has calls fail at once at a member without a leader, so that others are asked; without it,
    /// the member waits for a leader as long as it does. Watches and leases always require one.
    #[must_use]
    pub fn require_leader(mut self) -> Self {
        self.limits.require_leader = true;
        self
    }

    /// Puts all keys under a prefix, which this client's program never sees.
    #[must_use]
    pub fn namespace(mut self, prefix: impl IntoBytes) -> Self {
        self.namespace = prefix.into_bytes();
        self
    }

    /// Has watches, and the caches, locks and elections that stand on them, go over WebSockets at the
    /// servers' JSON gateway, where a proxy lets only HTTP/1.1 pass. Other calls stay gRPC's; a client
    /// that only watches is made by [`ConnectOptions::connect_lazy`] and makes none, unless it has a
    /// user to log in. etcd's gateway takes no user from a client certificate.
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn watches_over_websocket(mut self) -> Self {
        self.watches_over_websocket = true;
        self
    }

    /// Reaches servers in a way of one's own.
    #[must_use]
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.connector = Some(Arc::new(connector));
        self
    }

    /// Connects: returns once one endpoint has answered, and logged the user in if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if no endpoint answers within the time for a request;
    /// [`Error::Server`] if the login is refused; [`Error::Invalid`] if TLS files cannot be used.
    pub async fn connect(self) -> Result<Client, Error> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            tls.config(b"h2")?;
        }
        let client = self.connect_lazy();
        client.reach().await?;
        Ok(client)
    }

    fn user_name(&self) -> Option<&str> {
        match &self.credentials {
            Some(Credentials::Password { user, .. }) => Some(user),
            // What it says is a secret.
            Some(Credentials::Token(_)) => Some("of a token"),
            None => None,
        }
    }

    /// Whether an endpoint is spoken to with TLS.
    pub(crate) fn secures(&self, endpoint: &Endpoint) -> bool {
        #[cfg(feature = "tls")]
        let has_tls = self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let has_tls = false;
        endpoint.is_secured(has_tls)
    }

    /// A client that connects with its first call. Must be made within a tokio runtime.
    #[must_use]
    pub fn connect_lazy(self) -> Client {
        Client::new(self)
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ConnectOptions");
        #[cfg(feature = "tls")]
        shown.field("tls", &self.tls);
        shown
            .field("endpoints", &self.endpoints)
            .field("user", &self.user_name())
            .field("namespace", &self.namespace)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
