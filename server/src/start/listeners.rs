//! The doors, each on its addresses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{StartError, worker_count};
use crate::doors::{Door, DoorParts};
use crate::member::Member;
use crate::metrics::Metrics;
use crate::serve::{
    ConnectionLimits, Entrance, Guard, SocketOptions, Workers, raise_descriptor_limit,
};
use crate::settings::{ListenAddress, ListenSettings, ListenUrl, Protection, Settings};
use crate::tls::ServerTls;

/// Starts the workers and opens all doors for clients.
pub(super) fn open_doors(
    settings: &Settings,
    member: &Arc<Member>,
    metrics: Arc<Metrics>,
) -> Result<Workers, StartError> {
    let keepalive = &settings.keepalive;
    let ping = keepalive.server_ping;
    let limits = ConnectionLimits {
        streams_max: settings.limits.concurrent_streams_max,
        client_ping_interval_min: keepalive.client_ping_interval_min,
        keepalive_interval: ping.map_or(Duration::from_secs(7200), |ping| ping.interval),
        keepalive_timeout: ping.map_or(Duration::from_secs(20), |ping| ping.timeout),
    };
    raise_descriptor_limit()?;
    let workers = Workers::start(worker_count(), limits)?;
    let parts = DoorParts::new(member, metrics, settings.http.clone());
    let listen = &settings.listen;
    let options = SocketOptions {
        reuse_port: listen.reuse_port,
    };
    let tls = settings.tls.clients.as_ref();
    let tls = tls.map(ServerTls::load).transpose()?;
    for (address, door) in doors(listen, &parts) {
        let guard = guard(listen, address, tls.as_ref());
        let is_for_clients = listen.clients.iter().any(|url| url.address() == address);
        let entrance = Arc::new(Entrance {
            door,
            guard: guard.clone(),
        });
        let bound = workers
            .listen(address, options, entrance)
            .map_err(|source| {
                let at = address_text(address);
                format!("cannot listen on {at}: {source}. Is another server running?")
            })?;
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
fn doors<'a>(
    listen: &'a ListenSettings,
    parts: &DoorParts,
) -> BTreeMap<&'a ListenAddress, Arc<Door>> {
    let addresses = |urls: &'a [ListenUrl]| urls.iter().map(ListenUrl::address);
    let mut doors = BTreeMap::new();
    for address in addresses(&listen.metrics) {
        doors.insert(address, parts.monitoring());
    }
    for address in addresses(&listen.http) {
        doors.insert(address, parts.pages());
    }
    for address in addresses(&listen.clients) {
        let has_pages = listen.http.is_empty() || addresses(&listen.http).any(|it| it == address);
        let door = if has_pages {
            parts.whole()
        } else {
            parts.grpc()
        };
        doors.insert(address, door);
    }
    doors
}

/// What protects an address: what all URLs that name it say together.
fn guard(listen: &ListenSettings, address: &ListenAddress, tls: Option<&Arc<ServerTls>>) -> Guard {
    let urls = [&listen.clients, &listen.http, &listen.metrics];
    let mut protections = urls
        .into_iter()
        .flatten()
        .filter(|url| url.address() == address)
        .map(|url| url.url().protection());
    match tls {
        Some(tls) if protections.clone().all(|it| it == Protection::Tls) => {
            Guard::Tls(Arc::clone(tls))
        }
        Some(tls) if protections.any(|it| it == Protection::Tls) => Guard::Either(Arc::clone(tls)),
        // The settings have no URL with TLS unless there is a certificate for it.
        Some(_) | None => Guard::Plain,
    }
}

fn address_text(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Tcp(address) => address.to_string(),
        ListenAddress::Unix(path) => path.display().to_string(),
    }
}
