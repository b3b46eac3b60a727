//! A relay between many clients and a cluster: what they ask goes upstream as it is, with their tokens, and
//! so do leases, locks and whatever is added to the API later; only watches are looked into. Those that
//! are equal are one watch upstream ([`watch`]).
//!
//! Nothing is cached: a read is the cluster's own answer, with all its guarantees. Listeners are the
//! caller's: [`Proxy::calls`] answers gRPC, [`Proxy::pages`] the rest.
#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "a relay is threads and time")]

mod grpc;
mod metrics;
mod namespace;
mod pages;
mod registry;
mod relay;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response};
use bytes::Bytes;
use cairn_client::{Client, ConnectOptions};
use cairn_proto::etcdserverpb::MemberListRequest;

use self::metrics::Metrics;
use self::namespace::Namespace;
pub use self::registry::Registration;
use self::registry::Registry;
use self::relay::Relay;
use self::watch::Hub;

/// What a proxy is told.
#[derive(Clone, Debug, Default)]
pub struct ProxySettings {
    /// What stands before all keys upstream; empty for none.
    pub namespace: Bytes,
    /// What lists of members say that clients should call: this proxy. Empty for the members themselves.
    pub advertise_client_url: String,
    /// Where it makes itself known; nowhere if there is none.
    pub registration: Option<Registration>,
    /// How often the cluster is asked where its members are; never if there is none.
    pub endpoints_interval: Option<Duration>,
    /// Whether no read may go back behind another, whichever members answer.
    pub reads_are_ordered: bool,
    /// Whether each call is named in the log.
    pub logs_calls: bool,
}

/// A proxy; clones are the same one.
#[derive(Clone)]
pub struct Proxy {
    options: ConnectOptions,
    client: Client,
    relay: Relay,
    hub: Hub,
    namespace: Namespace,
    registry: Registry,
    endpoints_interval: Option<Duration>,
    logs_calls: bool,
    metrics: Arc<Metrics>,
}

impl Proxy {
    /// A proxy for the cluster that `options` lead to. Must be made within a tokio runtime.
    ///
    /// # Errors
    ///
    /// That its metrics cannot be.
    pub fn new(
        options: ConnectOptions,
        settings: ProxySettings,
    ) -> Result<Self, prometheus::Error> {
        let metrics = Arc::new(Metrics::new()?);
        let client = options.clone().connect_lazy();
        let relay = Relay::new(client.clone());
        let shown = client.namespace(settings.namespace.clone());
        let namespace = Namespace::new(settings.namespace, settings.reads_are_ordered);
        Ok(Self {
            hub: Hub::new(relay.clone(), namespace.clone(), Arc::clone(&metrics)),
            registry: Registry::new(shown, settings.advertise_client_url, settings.registration),
            options,
            client,
            relay,
            namespace,
            endpoints_interval: settings.endpoints_interval,
            logs_calls: settings.logs_calls,
            metrics,
        })
    }

    /// What answers calls.
    pub fn calls(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }

    /// What answers other requests: metrics and health.
    pub fn pages(&self) -> Router {
        pages::routes().with_state(self.clone())
    }

    /// Keeps the proxy known, and knowing where the members are, until the future is dropped.
    pub async fn keep_known(self) {
        tokio::join!(self.registry.keep(), self.keep_endpoints());
    }

    async fn keep_endpoints(&self) {
        let Some(interval) = self.endpoints_interval else {
            return;
        };
        loop {
            tokio::time::sleep(interval).await;
            if let Err(error) = self.client.sync_endpoints().await {
                tracing::warn!(%error, "the cluster did not say where its members are");
            }
        }
    }

    async fn answer(&self, call: Request<Body>) -> Response<Body> {
        match call.uri().path() {
            "/etcdserverpb.Watch/Watch" => watch::answer(&self.hub, call),
            "/etcdserverpb.Cluster/MemberList" => {
                let proxies = self.registry.members().await;
                let show = move |list| namespace::shows_proxies(list, proxies);
                grpc::changed::<MemberListRequest, _>(&self.relay, call, Ok, show).await
            }
            _ => self.namespace.pass_on(&self.relay, call).await,
        }
    }
}

async fn answer(State(proxy): State<Proxy>, call: Request<Body>) -> Response<Body> {
    if !proxy.logs_calls {
        return proxy.answer(call).await;
    }
    let method = call.uri().path().to_owned();
    let start = Instant::now();
    let answer = proxy.answer(call).await;
    // A call that is refused at once says so here; one that is under way says so in its trailers.
    let status = answer.headers().get("grpc-status");
    let status = status.and_then(|code| code.to_str().ok());
    tracing::info!(method, status, took = ?start.elapsed(), "answered a call");
    answer
}
