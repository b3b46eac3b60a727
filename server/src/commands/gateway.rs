//! `cairn gateway start`, with etcd's flags.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand};

use super::CommandError;
use crate::gateway::{Gateway, Remote, find, given};
use crate::logging::{Log, fatal};
use crate::settings::{FlagDuration, LogSettings, SrvSettings};

#[derive(Subcommand)]
pub(super) enum GatewayCommand {
    /// Starts the gateway
    Start(Start),
}

#[derive(Args)]
pub(super) struct Start {
    /// Where it listens
    #[arg(long, default_value = "127.0.0.1:23790")]
    listen_addr: String,
    /// The members, with commas between them
    #[arg(long, default_value = "127.0.0.1:2379", value_delimiter = ',')]
    endpoints: Vec<String>,
    /// The domain whose SRV records name the members, instead
    #[arg(long, default_value = "")]
    discovery_srv: String,
    /// What follows the service's name in the DNS
    #[arg(long, default_value = "")]
    discovery_srv_name: String,
    /// Take members from the DNS that do not speak TLS, or that nobody vouches for
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    insecure_discovery: bool,
    /// Authorities that vouch for members from the DNS
    #[arg(long)]
    trusted_ca_file: Option<PathBuf>,
    /// How often to look for members that cannot be reached
    #[arg(long, default_value = "1m0s", value_parser = FlagDuration::parse)]
    retry_delay: FlagDuration,
}

impl GatewayCommand {
    /// Runs until a signal ends the process.
    pub(super) fn run(self) -> Result<(), CommandError> {
        let Self::Start(start) = self;
        fatal::keep_log(Log::start(&LogSettings::default())?);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(start.run())
    }
}

impl Start {
    async fn run(self) -> Result<(), CommandError> {
        let mut remotes = if self.discovery_srv.is_empty() {
            Vec::new()
        } else {
            let settings = SrvSettings {
                domain: self.discovery_srv.clone(),
                service_name: self.discovery_srv_name.clone(),
            };
            find(
                &settings,
                self.trusted_ca_file.clone(),
                self.insecure_discovery,
            )
            .await?
        };
        if remotes.is_empty() {
            remotes = given(&self.endpoints)?;
        }
        if remotes.is_empty() {
            return Err("no endpoints found".into());
        }
        refuse_itself(&self.listen_addr, &remotes)?;
        let retry_delay = self.retry_delay.to_duration();
        let retry_delay = retry_delay.filter(|delay| !delay.is_zero());
        let retry_delay = retry_delay.ok_or("--retry-delay must be above zero")?;
        let gateway = Gateway::bind(&self.listen_addr, remotes, retry_delay).await?;
        gateway.run().await;
        Ok(())
    }
}

/// A gateway that passes on to itself would do so for ever.
fn refuse_itself(listen: &str, remotes: &[Remote]) -> Result<(), CommandError> {
    let own: Vec<SocketAddr> = listen
        .to_socket_addrs()
        .map_err(|error| format!("failed to validate listen address: {listen}: {error}"))?
        .collect();
    for Remote { address, .. } in remotes {
        let theirs = address
            .to_socket_addrs()
            .map_err(|error| format!("failed to resolve endpoint host: {address}: {error}"))?;
        if let Some(at) = theirs.into_iter().find(|it| own.contains(it)) {
            return Err(format!(
                "SRV or endpoint ({address}->{at}) should not resolve to the gateway listen addr ({listen})"
            )
            .into());
        }
    }
    Ok(())
}
