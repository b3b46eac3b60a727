//! A relay between many clients and a cluster: what they ask goes upstream as it is, with their tokens, and
//! so do leases, locks and whatever is added to the API later; only watches are looked into. Those that
//! are equal are one watch upstream ([`watch`]).
//!
//! Nothing is cached: a read is the cluster's own answer, with all its guarantees.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "a relay is sockets, threads and time"
)]

mod grpc;
mod metrics;
mod namespace;
mod pages;
mod relay;
mod watch;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response};
use bytes::Bytes;
use cairn_client::Client;
use cairn_proto::etcdserverpb::MemberListRequest;
use tokio::net::TcpListener;

use self::metrics::Metrics;
use self::namespace::Namespace;
use self::relay::Relay;
use self::watch::Hub;

/// What a proxy is told.
#[derive(Clone, Debug, Default)]
pub struct ProxySettings {
    /// What stands before all keys upstream; empty for none.
    pub namespace: Bytes,
    /// What lists of members say that clients should call: this proxy.
    pub advertise_client_url: String,
}

/// What calls share.
#[derive(Clone)]
struct Proxy {
    relay: Relay,
    hub: Hub,
    namespace: Namespace,
    advertised: Arc<str>,
    metrics: Arc<Metrics>,
}

/// Serves clients of `listener` with calls of `client`, until the future is dropped.
///
/// # Errors
///
/// The listener's.
pub async fn serve(
    listener: TcpListener,
    client: Client,
    settings: ProxySettings,
) -> io::Result<()> {
    let metrics = Arc::new(Metrics::new().map_err(io::Error::other)?);
    let relay = Relay::new(client);
    let namespace = Namespace::new(settings.namespace);
    let proxy = Proxy {
        hub: Hub::new(relay.clone(), namespace.clone(), Arc::clone(&metrics)),
        relay,
        namespace,
        advertised: settings.advertise_client_url.into(),
        metrics,
    };
    let router = pages::routes().fallback(answer).with_state(proxy);
    axum::serve(listener, router).await
}

async fn answer(State(proxy): State<Proxy>, call: Request<Body>) -> Response<Body> {
    let kind = call.headers().get(http::header::CONTENT_TYPE);
    if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        let mut answer = Response::new(Body::from("404 page not found\n"));
        *answer.status_mut() = http::StatusCode::NOT_FOUND;
        return answer;
    }
    match call.uri().path() {
        "/etcdserverpb.Watch/Watch" => watch::answer(&proxy.hub, call),
        "/etcdserverpb.Cluster/MemberList" => {
            let advertised = Arc::clone(&proxy.advertised);
            let show = move |list| namespace::shows_proxy(list, &advertised);
            grpc::changed::<MemberListRequest, _>(&proxy.relay, call, Ok, show).await
        }
        _ => proxy.namespace.pass_on(&proxy.relay, call).await,
    }
}

/// The routes' state.
type Routes = Router<Proxy>;
