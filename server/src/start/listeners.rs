//! The listeners, each with what is served there.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::{StartError, worker_count};
use crate::api::router::{Api, ApiParts};
use crate::member::Member;
use crate::net::peer::{self, Peers};
use crate::net::serve::{
    ConnectionLimits, Guard, ListenEndpoint, SocketOptions, Workers, raise_descriptor_limit,
};
use crate::net::tls::ServerTls;
use crate::settings::{ListenAddress, ListenSettings, ListenUrl, Protection, Settings};

/// Calls of one member that may be open at once: two streams, and what clients ask of a leader.
const PEER_STREAMS_MAX: u32 = 4096;
/// Entries on their way from one member.
const PEER_STREAM_WINDOW_BYTES: u32 = 8 << 20;
/// The same over all streams, more than what those that carry bulk have together.
const PEER_CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
/// Silence after which a member is asked whether it is still there.
const PEER_PING_INTERVAL: Duration = Duration::from_secs(2);
/// Time for its answer; etcd's least `--raft-read-timeout`.
const PEER_PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Starts the thread on which this member speaks with others; it does not listen yet.
pub(super) fn start_peer_worker() -> io::Result<Workers> {
    raise_descriptor_limit()?;
    let limits = ConnectionLimits {
        streams_max: PEER_STREAMS_MAX,
        client_ping_interval_min: Duration::ZERO,
        keepalive_interval: PEER_PING_INTERVAL,
        keepalive_timeout: PEER_PING_TIMEOUT,
        stream_window_bytes: PEER_STREAM_WINDOW_BYTES,
        connection_window_bytes: PEER_CONNECTION_WINDOW_BYTES,
    };
    Workers::start(["peers".to_owned()], limits)
}

/// Opens the listeners for other members.
pub(super) fn open_peer_listeners(
    settings: &Settings,
    member: &Arc<Member>,
    peers: Peers,
    parts: &ApiParts,
    workers: &Workers,
) -> Result<(), StartError> {
    let api = peer::api(parts, member, peers);
    let tls = settings.tls.peers.as_ref();
    let tls = tls.map(ServerTls::load).transpose()?;
    for url in &settings.listen.peers {
        let address = url.address();
        let endpoint = Arc::new(ListenEndpoint {
            api: Arc::clone(&api),
            guard: guard([&settings.listen.peers], address, tls.as_ref()),
            faults: None,
        });
        let bound = workers
            .listen(address, socket_options(settings), endpoint)
            .map_err(|source| cannot_listen(address, &source))?;
        tracing::info!(address = %bound, "serving peer traffic");
    }
    Ok(())
}

/// Starts the workers and opens all listeners for clients.
pub(super) fn open_client_listeners(
    settings: &Settings,
    parts: &ApiParts,
) -> Result<Workers, StartError> {
    let keepalive = &settings.keepalive;
    let ping = keepalive.server_ping;
    let limits = ConnectionLimits {
        streams_max: settings.limits.concurrent_streams_max,
        client_ping_interval_min: keepalive.client_ping_interval_min,
        keepalive_interval: ping.map_or(Duration::from_secs(7200), |ping| ping.interval),
        keepalive_timeout: ping.map_or(Duration::from_secs(20), |ping| ping.timeout),
        stream_window_bytes: ConnectionLimits::CLIENT_STREAM_WINDOW_BYTES,
        connection_window_bytes: ConnectionLimits::CLIENT_CONNECTION_WINDOW_BYTES,
    };
    let names = (0..worker_count()).map(|number| format!("worker-{number}"));
    let workers = Workers::start(names, limits)?;
    let listen = &settings.listen;
    let tls = settings.tls.clients.as_ref();
    let tls = tls.map(ServerTls::load).transpose()?;
    for (address, api) in apis(listen, parts) {
        let urls = [&listen.clients, &listen.http, &listen.metrics];
        let guard = guard(urls, address, tls.as_ref());
        let is_for_clients = listen.clients.iter().any(|url| url.address() == address);
        let endpoint = Arc::new(ListenEndpoint {
            api,
            guard: guard.clone(),
            faults: Some(parts.http().metrics.faults()),
        });
        let bound = workers
            .listen(address, socket_options(settings), endpoint)
            .map_err(|source| cannot_listen(address, &source))?;
        if !is_for_clients {
            tracing::info!(address = %bound, "serving HTTP pages");
            continue;
        }
        if !matches!(guard, Guard::Plain) {
            tracing::info!(address = %bound, "serving client traffic securely");
        }
        if !matches!(guard, Guard::Tls(_)) {
            tracing::info!(
                address = %bound,
                "serving client traffic insecurely; this is strongly discouraged!"
            );
        }
    }
    Ok(workers)
}

/// What is behind each address. An address that is named for several purposes serves them all.
fn apis<'a>(listen: &'a ListenSettings, parts: &ApiParts) -> BTreeMap<&'a ListenAddress, Arc<Api>> {
    let addresses = |urls: &'a [ListenUrl]| urls.iter().map(ListenUrl::address);
    let mut apis = BTreeMap::new();
    for address in addresses(&listen.metrics) {
        apis.insert(address, parts.monitoring());
    }
    for address in addresses(&listen.http) {
        apis.insert(address, parts.pages());
    }
    for address in addresses(&listen.clients) {
        let has_pages = listen.http.is_empty() || addresses(&listen.http).any(|it| it == address);
        let api = if has_pages {
            parts.whole()
        } else {
            parts.grpc()
        };
        apis.insert(address, api);
    }
    apis
}

/// What protects an address: what all URLs that name it say together.
fn guard<'a>(
    urls: impl IntoIterator<Item = &'a Vec<ListenUrl>>,
    address: &ListenAddress,
    tls: Option<&Arc<ServerTls>>,
) -> Guard {
    let protections: Vec<_> = urls
        .into_iter()
        .flatten()
        .filter(|url| url.address() == address)
        .map(|url| url.url().protection())
        .collect();
    match tls {
        Some(tls) if protections.iter().all(|it| *it == Protection::Tls) => {
            Guard::Tls(Arc::clone(tls))
        }
        Some(tls) if protections.contains(&Protection::Tls) => Guard::Either(Arc::clone(tls)),
        // The settings have no URL with TLS unless there is a certificate for it.
        Some(_) | None => Guard::Plain,
    }
}

fn socket_options(settings: &Settings) -> SocketOptions {
    SocketOptions {
        reuse_port: settings.listen.reuse_port,
    }
}

pub(crate) fn cannot_listen(address: &ListenAddress, source: &io::Error) -> StartError {
    let at = address_text(address);
    format!("cannot listen on {at}: {source}. Is another server running?").into()
}

fn address_text(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Tcp(address) => address.to_string(),
        ListenAddress::Unix(path) => path.display().to_string(),
    }
}
