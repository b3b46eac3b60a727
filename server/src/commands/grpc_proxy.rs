//! `cairn grpc-proxy start`, with etcd's flags.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use cairn_client::{ConnectOptions, Tls};
use cairn_proxy::{Proxy, ProxySettings, Registration};
use clap::{ArgAction, Args, Subcommand};

use super::CommandError;
use super::in_front::{self, InFront};
use crate::grpc_proxy::{Listeners, Pings};
use crate::net::tls::ClientTls;
use crate::settings::{
    FlagDuration, GeneratedIdentity, KeyPairFiles, ListenAddress, ListenUrl, LogLevel, Notice,
    ProxyTls, ServiceTls, TlsEndpoint, Url,
};

#[derive(Subcommand)]
pub(super) enum GrpcProxyCommand {
    /// Starts the proxy
    Start(Box<Start>),
}

#[derive(Args)]
pub(super) struct Start {
    #[command(flatten)]
    in_front: InFront,
    /// What lists of members tell clients to call; empty for the members themselves
    #[arg(long, default_value = "127.0.0.1:23790")]
    advertise_client_url: String,
    /// What stands before all keys
    #[arg(long, default_value = "")]
    namespace: String,
    /// Where proxies of this cluster make themselves known, the same for all of them; lists of members name
    /// all that have
    #[arg(long, default_value = "")]
    resolver_prefix: String,
    /// Seconds that a proxy stays known that is gone
    #[arg(long, default_value_t = 0)]
    resolver_ttl: u64,
    /// Reads that are content with what one member knows are asked of the cluster, so that none goes back
    /// behind another
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    experimental_serializable_ordering: bool,
    /// Name each call in the log
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    experimental_enable_grpc_logging: bool,
    /// Log all there is to log
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    debug: bool,
    #[command(flatten, next_help_heading = "Towards clients")]
    clients: TowardsClients,
    #[command(flatten, next_help_heading = "Towards members")]
    members: TowardsMembers,
    #[command(flatten, next_help_heading = "Without effect")]
    other: Other,
}

#[derive(Args)]
struct TowardsClients {
    /// The certificate that is shown to clients; without one they are served in plain text
    #[arg(long, default_value = "")]
    cert_file: String,
    /// Its key
    #[arg(long, default_value = "")]
    key_file: String,
    /// Authorities that vouch for clients, who must show a certificate then
    #[arg(long, default_value = "")]
    trusted_ca_file: String,
    /// Certificates of clients that are revoked
    #[arg(long, default_value = "")]
    client_crl_file: String,
    /// Make a certificate, and keep it in the data directory
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    auto_tls: bool,
    /// Years that it lasts
    #[arg(long, default_value_t = 1)]
    self_signed_cert_validity: u32,
    /// Where that certificate is kept
    #[arg(long, default_value = "default.proxy")]
    data_dir: PathBuf,
    /// The oldest version of TLS: TLS1.2 or TLS1.3
    #[arg(long, default_value = "TLS1.2")]
    tls_min_version: String,
    /// The newest one; empty for all that there are
    #[arg(long, default_value = "")]
    tls_max_version: String,
    /// Suites of TLS 1.2, with commas between them; none for all that there are
    #[arg(long, value_delimiter = ',')]
    listen_cipher_suites: Vec<String>,
    /// A second address for metrics and health, as a URL
    #[arg(long, default_value = "")]
    metrics_addr: String,
    /// A client that pings more often is sent away
    #[arg(long, default_value = "5s", value_parser = FlagDuration::parse)]
    grpc_keepalive_min_time: FlagDuration,
    /// A connection that is silent for so long is pinged; 0 for never
    #[arg(long, default_value = "2h0m0s", value_parser = FlagDuration::parse)]
    grpc_keepalive_interval: FlagDuration,
    /// A connection that gives no answer for so long is closed; 0 for never
    #[arg(long, default_value = "20s", value_parser = FlagDuration::parse)]
    grpc_keepalive_timeout: FlagDuration,
    /// Calls that a connection may have open
    #[arg(long, default_value_t = u32::MAX)]
    max_concurrent_streams: u32,
}

#[derive(Args)]
struct TowardsMembers {
    /// The certificate that is shown to members: one without a name, or its name were every client's
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
    /// How often the cluster is asked where its members are; 0 for never
    #[arg(long, default_value = "0s", value_parser = FlagDuration::parse)]
    endpoints_auto_sync_interval: FlagDuration,
    /// How often a silent member is asked whether it is there; 0 is every 5 s
    #[arg(long, default_value = "0s", value_parser = FlagDuration::parse)]
    dial_keepalive_time: FlagDuration,
    /// How long it may take to say so
    #[arg(long, default_value = "20s", value_parser = FlagDuration::parse)]
    dial_keepalive_timeout: FlagDuration,
    /// Ask a member that owes no answer too
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    permit_without_stream: bool,
    /// The longest answer that is taken, in bytes
    #[arg(long, default_value_t = i32::MAX.unsigned_abs())]
    max_recv_bytes: u32,
}

/// Flags of etcd's that change nothing here.
#[derive(Args)]
struct Other {
    /// Requests may be as long as members take them
    #[arg(long, default_value_t = 1_572_864)]
    max_send_bytes: u32,
    /// There are no profiles of Go's to serve
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    enable_pprof: bool,
    /// Refused: reads are always the cluster's. With leases on keys, other proxies would read what this
    /// one's clients have overwritten
    #[arg(long, default_value = "")]
    experimental_leasing_prefix: String,
}

impl GrpcProxyCommand {
    /// Runs until a signal ends the process.
    pub(super) fn run(self) -> Result<(), CommandError> {
        let Self::Start(start) = self;
        let level = if start.debug {
            LogLevel::Debug
        } else {
            LogLevel::Info
        };
        in_front::run(level, start.run())
    }
}

impl Start {
    async fn run(self: Box<Self>) -> Result<(), CommandError> {
        let registration = self.registration()?;
        if !self.other.experimental_leasing_prefix.is_empty() {
            return Err(
                "--experimental-leasing-prefix is refused: this proxy takes no leases on keys, so others \
                 under that prefix would answer with what its clients have overwritten. Leave it out; \
                 reads are the cluster's"
                    .into(),
            );
        }
        let address = self.in_front.listen_address()?;
        let (tls, notices) = self
            .clients
            .tls(&self.in_front, &self.advertise_client_url)?;
        notices.iter().for_each(Notice::log);
        let listeners = Listeners {
            clients: ListenAddress::Tcp(address),
            metrics: self.clients.metrics_url()?,
            tls,
            pings: self.clients.pings(),
            streams_max: self.clients.max_concurrent_streams,
        };
        let found = self
            .in_front
            .discovered(self.members.cacert.clone())
            .await?;
        let mut members: Vec<String> = found.into_iter().map(|remote| remote.address).collect();
        if members.is_empty() {
            members.clone_from(&self.in_front.endpoints);
        }
        let options = self.members.options(members)?;
        let interval = self.members.endpoints_auto_sync_interval.to_duration();
        let settings = ProxySettings {
            namespace: self.namespace.into(),
            advertise_client_url: self.advertise_client_url,
            registration,
            endpoints_interval: interval.filter(|interval| !interval.is_zero()),
            reads_are_ordered: self.experimental_serializable_ordering,
            logs_calls: self.experimental_enable_grpc_logging,
        };
        let proxy = Proxy::new(options, settings)?;
        let _workers = listeners.open(&proxy)?;
        tracing::info!(address = self.in_front.listen_addr, "started gRPC proxy");
        proxy.keep_known().await;
        std::future::pending().await
    }

    fn registration(&self) -> Result<Option<Registration>, CommandError> {
        let (prefix, ttl) = (&self.resolver_prefix, self.resolver_ttl);
        match (prefix.is_empty(), ttl) {
            (true, 0) => Ok(None),
            (true, _) => Err(format!(
                "invalid resolver-prefix {prefix:?}: set it, or leave --resolver-ttl out"
            )
            .into()),
            (false, 0) => Err(format!(
                "invalid resolver-ttl {ttl}: set it to the seconds that a proxy stays known that is gone"
            )
            .into()),
            (false, _) if self.advertise_client_url.is_empty() => {
                Err("invalid advertise-client-url \"\": there is nothing to register".into())
            }
            (false, ttl) => Ok(Some(Registration {
                prefix: prefix.clone(),
                ttl: Duration::from_secs(ttl),
            })),
        }
    }
}

impl TowardsClients {
    fn tls(
        &self,
        in_front: &InFront,
        advertised: &str,
    ) -> Result<(Option<TlsEndpoint>, Vec<Notice>), CommandError> {
        let years = NonZeroU32::new(self.self_signed_cert_validity);
        let mut hosts: Vec<String> = [&in_front.listen_addr, advertised]
            .into_iter()
            .map(host_of)
            .filter(|host| !host.is_empty())
            .collect();
        hosts.dedup();
        let tls = ProxyTls {
            certificate: &self.cert_file,
            key: &self.key_file,
            authorities: &self.trusted_ca_file,
            crl: &self.client_crl_file,
            is_automatic: self.auto_tls,
            generated: years.map(|validity_years| GeneratedIdentity {
                directory: self.data_dir.join("fixtures").join("proxy"),
                hosts,
                validity_years,
            }),
            versions: (&self.tls_min_version, &self.tls_max_version),
            suites: &self.listen_cipher_suites,
        };
        Ok(tls.endpoint()?)
    }

    fn metrics_url(&self) -> Result<Option<ListenUrl>, CommandError> {
        if self.metrics_addr.is_empty() {
            return Ok(None);
        }
        let url = Url::parse(&self.metrics_addr).and_then(ListenUrl::new);
        let url = url.map_err(|error| format!("invalid --metrics-addr: {error}"))?;
        Ok(Some(url))
    }

    fn pings(&self) -> Pings {
        let time = |flag: FlagDuration| flag.to_duration().filter(|time| !time.is_zero());
        Pings {
            of_clients_min: self.grpc_keepalive_min_time.to_duration(),
            interval: time(self.grpc_keepalive_interval),
            timeout: time(self.grpc_keepalive_timeout),
        }
    }
}

impl TowardsMembers {
    fn options(&self, members: Vec<String>) -> Result<ConnectOptions, CommandError> {
        let mut options =
            ConnectOptions::new(members)?.max_response_bytes(usize::try_from(self.max_recv_bytes)?);
        let time = self.dial_keepalive_time.to_duration().unwrap_or_default();
        if !time.is_zero() {
            let timeout = self.dial_keepalive_timeout.to_duration();
            options = options.keepalive(time, timeout.unwrap_or_default());
        }
        if self.permit_without_stream {
            options = options.keepalive_while_idle();
        }
        if self.cacert.is_some() || self.cert.is_some() || self.insecure_skip_tls_verify {
            options = options.tls(self.tls()?);
        }
        Ok(options)
    }

    /// The files are read here too, so that a mistake shows at the start.
    fn tls(&self) -> Result<Tls, CommandError> {
        let mut tls = Tls::new();
        if let Some(authorities) = &self.cacert {
            tls = tls.ca_file(authorities);
        }
        let mut service = ServiceTls {
            identity: None,
            authorities: self.cacert.clone(),
            believes_anyone: self.insecure_skip_tls_verify,
        };
        if let (Some(certificate), Some(key)) = (&self.cert, &self.key) {
            tls = tls.identity_files(certificate, key);
            service.identity = Some(KeyPairFiles {
                certificate: certificate.clone(),
                key: key.clone(),
            });
        }
        let shown = ClientTls::to_service(&service)?.own_name();
        if let Some(name) = shown.filter(|name| !name.is_empty()) {
            let file = self.cert.clone().unwrap_or_default();
            let file = file.display();
            return Err(format!(
                "cert has non empty Common Name ({name}): {file}: members that take users from \
                 certificates would take every client of this proxy for {name}"
            )
            .into());
        }
        if self.insecure_skip_tls_verify {
            tracing::warn!(
                "--insecure-skip-tls-verify was given, this grpc proxy process skips authentication of \
                 etcd server TLS certificates. This option should be enabled only for testing purposes."
            );
            tls = tls.insecure_skip_verify();
        }
        Ok(tls)
    }
}

/// The host of an address, with a scheme or without.
fn host_of(address: &str) -> String {
    let place = address.split_once("://").map_or(address, |it| it.1);
    let host = place.rsplit_once(':').map_or(place, |it| it.0);
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned()
}
