//! What `cairn gateway` and `cairn grpc-proxy` have in common: they stand in front of a cluster, and run
//! until a signal ends them.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::CommandError;
use crate::gateway::{Remote, find};
use crate::logging::{Log, fatal};
use crate::settings::{LogLevel, LogSettings, SrvSettings};

/// Where it listens, and where the members are.
#[derive(Args)]
pub(super) struct InFront {
    /// Where it listens
    #[arg(long, default_value = "127.0.0.1:23790")]
    pub(super) listen_addr: String,
    /// The members, with commas between them
    #[arg(long, default_value = "127.0.0.1:2379", value_delimiter = ',')]
    pub(super) endpoints: Vec<String>,
    /// The domain whose SRV records name the members, instead
    #[arg(long, default_value = "")]
    discovery_srv: String,
    /// What follows the service's name in the DNS
    #[arg(long, default_value = "")]
    discovery_srv_name: String,
    /// Take members from the DNS that do not speak TLS, or that nobody vouches for
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    insecure_discovery: bool,
}

impl InFront {
    /// The members that the DNS names, vouched for by `authorities`; none if no domain is given.
    pub(super) async fn discovered(
        &self,
        authorities: Option<PathBuf>,
    ) -> Result<Vec<Remote>, CommandError> {
        if self.discovery_srv.is_empty() {
            return Ok(Vec::new());
        }
        let settings = SrvSettings {
            domain: self.discovery_srv.clone(),
            service_name: self.discovery_srv_name.clone(),
        };
        find(&settings, authorities, self.insecure_discovery).await
    }

    /// The address that it listens at: of a name's, one of IP's version 4 if it has any. Without a host,
    /// that is all of this machine's.
    pub(super) fn listen_address(&self) -> Result<SocketAddr, CommandError> {
        let given = &self.listen_addr;
        let text = if given.starts_with(':') {
            format!("0.0.0.0{given}")
        } else {
            given.clone()
        };
        let found = text.to_socket_addrs();
        let found = found
            .map_err(|error| format!("failed to validate listen address: {given}: {error}"))?;
        let first = found.min_by_key(SocketAddr::is_ipv6);
        first.ok_or_else(|| format!("failed to validate listen address: {given}").into())
    }
}

/// Does the work on this thread, with the log of a member.
pub(super) fn run(
    level: LogLevel,
    work: impl Future<Output = Result<(), CommandError>>,
) -> Result<(), CommandError> {
    let log = LogSettings {
        level,
        ..LogSettings::default()
    };
    fatal::keep_log(Log::start(&log)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work)
}
