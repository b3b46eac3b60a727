//! `cairn grpc-proxy start`: the relay of the crate `proxy` behind listeners like a member's.

use std::sync::Arc;
use std::time::Duration;

use cairn_proxy::Proxy;

use crate::api::router::ApiParts;
use crate::net::serve::{
    ConnectionLimits, Guard, ListenEndpoint, SocketOptions, Workers, raise_descriptor_limit,
};
use crate::net::tls::ServerTls;
use crate::settings::{ListenAddress, ListenUrl, Protection, TlsEndpoint};
use crate::start::{StartError, cannot_listen, worker_count};

/// A time that never comes, for a connection.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Where a proxy listens, and how.
pub(crate) struct Listeners {
    /// For clients.
    pub clients: ListenAddress,
    /// For metrics and health alone.
    pub metrics: Option<ListenUrl>,
    /// What protects clients; none for plain text.
    pub tls: Option<TlsEndpoint>,
    /// How connections are looked after.
    pub pings: Pings,
    /// Calls that a connection may have open.
    pub streams_max: u32,
}

/// Pings on a client's connection.
pub(crate) struct Pings {
    /// A client that pings more often is sent away; none, and it may.
    pub of_clients_min: Option<Duration>,
    /// A connection that is silent for so long is pinged.
    pub interval: Option<Duration>,
    /// One that gives no answer for so long is closed.
    pub timeout: Option<Duration>,
}

impl Listeners {
    /// Serves clients of `proxy` from now on, until the workers are dropped.
    ///
    /// # Errors
    ///
    /// [`StartError`], whose text tells an operator what is wrong.
    pub(crate) fn open(&self, proxy: &Proxy) -> Result<Workers, StartError> {
        raise_descriptor_limit()?;
        let limits = ConnectionLimits {
            streams_max: self.streams_max,
            client_ping_interval_min: self.pings.of_clients_min.unwrap_or_default(),
            keepalive_interval: self.pings.interval.unwrap_or(NEVER),
            keepalive_timeout: self.pings.timeout.unwrap_or(NEVER),
            stream_window_bytes: ConnectionLimits::CLIENT_STREAM_WINDOW_BYTES,
            connection_window_bytes: ConnectionLimits::CLIENT_CONNECTION_WINDOW_BYTES,
        };
        let names = (0..worker_count()).map(|number| format!("worker-{number}"));
        let workers = Workers::start(names, limits)?;
        let tls = self.tls.as_ref().map(ServerTls::load).transpose()?;
        let secured = tls.map_or(Guard::Plain, Guard::Tls);
        let whole = Arc::new(ListenEndpoint {
            api: ApiParts::of_services(proxy.calls(), proxy.pages()),
            guard: secured.clone(),
            faults: None,
        });
        listen(&workers, &self.clients, whole)?;
        if let Some(url) = &self.metrics {
            let guard = match (url.url().protection(), secured) {
                (Protection::Plain, _) => Guard::Plain,
                (Protection::Tls, Guard::Plain) => {
                    return Err(format!(
                        "cannot listen on TLS for {}: KeyFile and CertFile are not presented: set --cert-file \
                         and --key-file, or --auto-tls",
                        url.url()
                    )
                    .into());
                }
                (Protection::Tls, secured) => secured,
            };
            let api = ApiParts::of_pages(proxy.pages());
            let pages = Arc::new(ListenEndpoint {
                api,
                guard,
                faults: None,
            });
            listen(&workers, url.address(), pages)?;
        }
        Ok(workers)
    }
}

fn listen(
    workers: &Workers,
    address: &ListenAddress,
    endpoint: Arc<ListenEndpoint>,
) -> Result<(), StartError> {
    let bound = workers.listen(address, SocketOptions::default(), endpoint);
    let bound = bound.map_err(|error| cannot_listen(address, &error))?;
    tracing::info!(address = %bound, "listening for gRPC proxy requests");
    Ok(())
}
