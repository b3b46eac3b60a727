//! A Cairn inside a program's own tests: no process, no port, gone when it is dropped.
//!
//! ```
//! use cairn_embed::Embedded;
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//!     let cairn = Embedded::start().await?;
//!     let client = cairn.client().await?;
//!     client.put("greeting", "hello").await?;
//!     assert_eq!(client.get("greeting").await?.unwrap().text(), Some("hello"));
//!     Ok(())
//! }
//! ```
//!
//! It is a whole member, with watches, leases, users and all else, which speaks over a socket in a
//! folder of its own, so that any number of tests may have one each at the same time. Its data are
//! not synced to disk, and deleted at the end. Programs that are not Rust's or want a cluster start
//! the server itself.
#![forbid(unsafe_code)]

use cairn_client::{Client, ConnectOptions};
use tempfile::TempDir;

/// Why a member does not start.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// A member in this process, until it is dropped.
#[derive(Debug)]
pub struct Embedded {
    // Stopped before its folder is deleted.
    _member: cairn_server::Embedded,
    home: TempDir,
}

impl Embedded {
    /// Starts one, and returns once it serves. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// The member's, as text for people.
    pub async fn start() -> Result<Self, StartError> {
        Self::start_with([]).await
    }

    /// The same with more flags of the server's command line: `["--auth-token-ttl", "1"]`.
    ///
    /// # Errors
    ///
    /// As [`Embedded::start`].
    pub async fn start_with<const N: usize>(flags: [&str; N]) -> Result<Self, StartError> {
        let home = tempfile::tempdir()?;
        let socket = |name: &str| format!("unix://{}", home.path().join(name).display());
        let (clients, peers) = (socket("clients"), socket("peers"));
        let data = home.path().join("data").display().to_string();
        let initial = format!("default={peers}");
        let own = [
            ("--data-dir", &data),
            ("--listen-client-urls", &clients),
            ("--advertise-client-urls", &clients),
            ("--listen-peer-urls", &peers),
            ("--initial-advertise-peer-urls", &peers),
            ("--initial-cluster", &initial),
        ];
        let mut all: Vec<String> = own
            .into_iter()
            .flat_map(|(flag, value)| [flag.to_owned(), value.clone()])
            .collect();
        all.push("--unsafe-no-fsync".to_owned());
        all.extend(flags.iter().map(|&flag| flag.to_owned()));
        let starting = tokio::task::spawn_blocking(|| cairn_server::Embedded::start(all));
        Ok(Self {
            _member: starting.await??,
            home,
        })
    }

    /// Where it listens, as an endpoint for [`ConnectOptions`] or another client.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.home.path().join("clients").display())
    }

    /// Connects to it.
    ///
    /// # Errors
    ///
    /// As [`ConnectOptions::connect`].
    pub async fn client(&self) -> Result<Client, cairn_client::Error> {
        ConnectOptions::new([self.endpoint()])?.connect().await
    }
}
