//! The doors, each on its addresses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{StartError, worker_count};
use crate::doors::{Door, DoorParts};
use crate::member::Member;
use crate::metrics::Metrics;
use crate::serve::{ConnectionLimits, SocketOptions, Workers, raise_descriptor_limit};
use crate::settings::{ListenAddress, ListenSettings, ListenUrl, Settings};

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
    for (address, door) in doors(listen, &parts) {
        let is_for_clients = listen.clients.iter().any(|url| url.address() == address);
        let bound = workers.listen(address, options, door).map_err(|source| {
            let at = address_text(address);
            format!("cannot listen on {at}: {source}. Is another server running?")
        })?;
        if is_for_clients {
            tracing::info!(
                address = %bound,
                "serving client traffic insecurely; this is strongly discouraged!"
            );
        } else {
            tracing::info!(address = %bound, "serving HTTP pages");
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

fn address_text(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Tcp(address) => address.to_string(),
        ListenAddress::Unix(path) => path.display().to_string(),
    }
}
