//! `cairn grpc-proxy start`, with etcd's flags.

use std::path::PathBuf;

use cairn_client::{ConnectOptions, Tls};
use cairn_proxy::ProxySettings;
use clap::{ArgAction, Args, Subcommand};
use tokio::net::TcpListener;

use super::CommandError;
use crate::gateway;
use crate::logging::{Log, fatal};
use crate::settings::{FlagDuration, LogSettings, SrvSettings};

#[derive(Subcommand)]
pub(super) enum GrpcProxyCommand {
    /// Starts the proxy
    Start(Box<Start>),
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
    /// What lists of members tell clients to call
    #[arg(long, default_value = "127.0.0.1:23790")]
    advertise_client_url: String,
    /// What stands before all keys
    #[arg(long, default_value = "")]
    namespace: String,
    /// The certificate that is shown to members
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
    /// Its key
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
    /// Authorities that vouch for members
    #[arg(long)]
    cacert: Option<PathBuf>,
    /// Believe anyone to be a member
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    insecure_skip_tls_verify: bool,
    /// How often a silent member is asked whether it is there; 0 is every 10 s
    #[arg(long, default_value = "0s", value_parser = FlagDuration::parse)]
    dial_keepalive_time: FlagDuration,
    /// How long it may take to say so
    #[arg(long, default_value = "20s", value_parser = FlagDuration::parse)]
    dial_keepalive_timeout: FlagDuration,
    /// The longest answer that is taken, in bytes
    #[arg(long, default_value_t = i32::MAX.unsigned_abs())]
    max_recv_bytes: u32,
    #[command(flatten)]
    other: Other,
}

/// Flags of etcd's that have no effect here, or whose feature is missing.
#[derive(Args)]
struct Other {
    /// No effect: nothing is kept
    #[arg(long, default_value = "default.proxy")]
    data_dir: String,
    /// No effect: requests are as long as members take
    #[arg(long, default_value_t = 1_572_864)]
    max_send_bytes: u32,
    /// Not in this build: the proxy serves plain text
    #[arg(long)]
    cert_file: Option<PathBuf>,
    /// Not in this build: the proxy serves plain text
    #[arg(long)]
    key_file: Option<PathBuf>,
    /// Not in this build: the proxy serves plain text
    #[arg(long)]
    trusted_ca_file: Option<PathBuf>,
    /// Not in this build: proxies are not registered
    #[arg(long, default_value = "")]
    resolver_prefix: String,
    /// Not in this build: proxies are not registered
    #[arg(long, default_value_t = 0)]
    resolver_ttl: u64,
    /// Not in this build: numbers are on the same address
    #[arg(long, default_value = "")]
    metrics_addr: String,
}

impl Other {
    /// A proxy that pretends to have what it has not would be worse than none.
    fn refuse(&self) -> Result<(), CommandError> {
        let missing = [
            ("--cert-file", self.cert_file.is_some()),
            ("--key-file", self.key_file.is_some()),
            ("--trusted-ca-file", self.trusted_ca_file.is_some()),
            ("--resolver-prefix", !self.resolver_prefix.is_empty()),
            ("--resolver-ttl", self.resolver_ttl != 0),
            ("--metrics-addr", !self.metrics_addr.is_empty()),
        ];
        match missing.iter().find(|(_, is_set)| *is_set) {
            Some((flag, _)) => Err(format!(
                "{flag} is not in this build: see `cairn grpc-proxy start --help`"
            )
            .into()),
            None => Ok(()),
        }
    }
}

impl GrpcProxyCommand {
    /// Runs until a signal ends the process.
    pub(super) fn run(self) -> Result<(), CommandError> {
        let Self::Start(start) = self;
        start.other.refuse()?;
        fatal::keep_log(Log::start(&LogSettings::default())?);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(start.run())
    }
}

impl Start {
    async fn run(self: Box<Self>) -> Result<(), CommandError> {
        let client = self.options().await?.connect_lazy();
        let listener = TcpListener::bind(&self.listen_addr).await?;
        let settings = ProxySettings {
            namespace: self.namespace.into(),
            advertise_client_url: self.advertise_client_url,
        };
        tracing::info!(address = self.listen_addr, "started gRPC proxy");
        Ok(cairn_proxy::serve(listener, client, settings).await?)
    }

    async fn options(&self) -> Result<ConnectOptions, CommandError> {
        let mut options = ConnectOptions::new(self.members().await?)?
            .max_response_bytes(usize::try_from(self.max_recv_bytes)?);
        let time = self.dial_keepalive_time.to_duration().unwrap_or_default();
        if !time.is_zero() {
            let timeout = self.dial_keepalive_timeout.to_duration();
            options = options.keepalive(time, timeout.unwrap_or_default());
        }
        if self.cacert.is_some() || self.cert.is_some() || self.insecure_skip_tls_verify {
            options = options.tls(self.tls());
        }
        Ok(options)
    }

    async fn members(&self) -> Result<Vec<String>, CommandError> {
        if self.discovery_srv.is_empty() {
            return Ok(self.endpoints.clone());
        }
        let settings = SrvSettings {
            domain: self.discovery_srv.clone(),
            service_name: self.discovery_srv_name.clone(),
        };
        let authorities = self.cacert.clone();
        let found = gateway::find(&settings, authorities, self.insecure_discovery).await?;
        Ok(found.into_iter().map(|remote| remote.address).collect())
    }

    fn tls(&self) -> Tls {
        let mut tls = Tls::new();
        if let Some(authorities) = &self.cacert {
            tls = tls.ca_file(authorities);
        }
        if let (Some(certificate), Some(key)) = (&self.cert, &self.key) {
            tls = tls.identity_files(certificate, key);
        }
        if self.insecure_skip_tls_verify {
            tls = tls.insecure_skip_verify();
        }
        tls
    }
}
