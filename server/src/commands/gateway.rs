//! `cairn gateway start`, with etcd's flags.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::CommandError;
use super::in_front::{self, InFront};
use crate::gateway::{Gateway, Remote, given};
use crate::settings::{FlagDuration, LogLevel};

#[derive(Subcommand)]
pub(super) enum GatewayCommand {
    /// Starts the gateway
    Start(Start),
}

#[derive(Args)]
pub(super) struct Start {
    #[command(flatten)]
    in_front: InFront,
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
        in_front::run(LogLevel::Info, start.run())
    }
}

impl Start {
    async fn run(self) -> Result<(), CommandError> {
        let Self {
            in_front,
            trusted_ca_file,
            retry_delay,
        } = self;
        let mut remotes = in_front.discovered(trusted_ca_file).await?;
        if remotes.is_empty() {
            remotes = given(&in_front.endpoints)?;
        }
        if remotes.is_empty() {
            return Err("no endpoints found".into());
        }
        let own = in_front.listen_address()?;
        refuse_itself(&in_front.listen_addr, own, &remotes)?;
        let retry_delay = retry_delay.to_duration();
        let retry_delay = retry_delay.filter(|delay| !delay.is_zero());
        let retry_delay = retry_delay.ok_or("--retry-delay must be above zero")?;
        let gateway = Gateway::bind(own, remotes, retry_delay).await?;
        gateway.run().await;
        Ok(())
    }
}

/// A gateway that passes on to itself would do so for ever.
fn refuse_itself(listen: &str, own: SocketAddr, remotes: &[Remote]) -> Result<(), CommandError> {
    for Remote { address, .. } in remotes {
        let theirs = address
            .to_socket_addrs()
            .map_err(|error| format!("failed to resolve endpoint host: {address}: {error}"))?;
        if let Some(at) = theirs.into_iter().find(|it| *it == own) {
            return Err(format!(
                "SRV or endpoint ({address}->{at}) should not resolve to the gateway listen addr ({listen})"
            )
            .into());
        }
    }
    Ok(())
}
