//! The options of a client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::connector::Connector;
use super::endpoint::Endpoint;
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
    pub(crate) tls: Option<Tls>,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) connector: Option<Arc<dyn Connector>>,
    pub(crate) namespace: Bytes,
    pub(crate) limits: Limits,
}

/// A name and what proves it.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// Times and sizes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_timeout: Duration,
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
            tls: None,
            credentials: None,
            connector: None,
            namespace: Bytes::new(),
            limits: Limits::default(),
        })
    }

    /// Speaks TLS as told. `https` endpoints are spoken to with TLS in any case, by default with
    /// the authorities of the operating system.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Calls as a user. The token is fetched by the first call, and again whenever it ended.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some(Credentials {
            user: name.into(),
            password: password.into(),
        });
        self
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
        if let Some(tls) = &self.tls {
            tls.config(b"h2")?;
        }
        let client = self.connect_lazy();
        client.reach().await?;
        Ok(client)
    }

    /// A client that connects with its first call. Must be made within a tokio runtime.
    #[must_use]
    pub fn connect_lazy(self) -> Client {
        Client::new(self)
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("endpoints", &self.endpoints)
            .field("tls", &self.tls)
            .field("user", &self.credentials.as_ref().map(|it| &it.user))
            .field("namespace", &self.namespace)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
