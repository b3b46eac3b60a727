//! What a client's request gets: gRPC, or an HTTP page beside it.
//!
//! The two share a port and are told apart by what gRPC says of itself: HTTP/2 and its content type.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use tower::Service;

use crate::api::grpc::{LeaderLoss, Services};
use crate::api::http::{HttpParts, client_router, monitoring_router, no_pages};
use crate::api::member_probe::MemberProbe;
use crate::member::Member;
use crate::metrics::{Counted, Metrics};
use crate::settings::{HttpSettings, Settings};

/// In the extensions of each request that came over TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OverTls;

/// Who answers gRPC behind a listener.
enum Calls {
    /// Nobody.
    None,
    /// The services for clients.
    Clients(Services),
    /// Others.
    Others(Router),
}

/// What is behind one listener.
pub(crate) struct Door {
    calls: Calls,
    pages: Router,
    metrics: Arc<Metrics>,
    slow_request: Duration,
}

/// All that doors are made of.
pub(crate) struct DoorParts {
    grpc: Services,
    http: HttpParts,
    settings: HttpSettings,
    slow_request: Duration,
}

impl DoorParts {
    /// The doors of `member`.
    pub(crate) fn new(member: &Arc<Member>, settings: &Settings, leader_loss: LeaderLoss) -> Self {
        let http = HttpParts {
            probe: Arc::new(MemberProbe::new(Arc::clone(member))),
            metrics: Arc::clone(&member.metrics),
            request_timeout: member.limits().request_timeout,
        };
        Self {
            grpc: Services::new(member, leader_loss),
            http,
            settings: settings.http.clone(),
            slow_request: settings.slow.unary_request,
        }
    }

    /// gRPC and the pages.
    pub(crate) fn whole(&self) -> Arc<Door> {
        self.door(Calls::Clients(self.grpc.clone()), self.client_pages())
    }

    /// gRPC alone, where HTTP has listeners of its own.
    pub(crate) fn grpc(&self) -> Arc<Door> {
        self.door(Calls::Clients(self.grpc.clone()), no_pages())
    }

    /// The pages alone.
    pub(crate) fn pages(&self) -> Arc<Door> {
        self.door(Calls::None, self.client_pages())
    }

    /// Metrics and health alone.
    pub(crate) fn monitoring(&self) -> Arc<Door> {
        self.door(Calls::None, monitoring_router(self.http.clone()))
    }

    /// What the pages are made of.
    pub(crate) const fn http(&self) -> &HttpParts {
        &self.http
    }

    /// gRPC by other services than those for clients, and other pages.
    pub(crate) fn of_services(&self, services: Router, pages: Router) -> Arc<Door> {
        self.door(Calls::Others(services), pages)
    }

    fn client_pages(&self) -> Router {
        client_router(self.http.clone(), self.settings.clone())
    }

    fn door(&self, calls: Calls, pages: Router) -> Arc<Door> {
        Arc::new(Door {
            calls,
            pages,
            metrics: Arc::clone(&self.http.metrics),
            slow_request: self.slow_request,
        })
    }
}

impl Door {
    /// Answers a request from `remote`, if that is known. Whatever is wrong with it is in the answer.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        remote: Option<SocketAddr>,
    ) -> Response<Counted<Body>> {
        match &self.calls {
            Calls::Clients(grpc) if is_grpc(&request) => self.call(grpc, request, remote).await,
            Calls::Others(grpc) if is_grpc(&request) => {
                route(grpc.clone(), request).await.map(Counted::uncounted)
            }
            Calls::None | Calls::Clients(_) | Calls::Others(_) => {
                route(self.pages.clone(), request)
                    .await
                    .map(Counted::uncounted)
            }
        }
    }

    async fn call(
        &self,
        grpc: &Services,
        request: Request<Incoming>,
        remote: Option<SocketAddr>,
    ) -> Response<Counted<Body>> {
        let call = self
            .metrics
            .begin_call(request.uri().path(), request.headers());
        let Some(call) = call else {
            return grpc.answer(request).await.map(Counted::uncounted);
        };
        let request = request.map(|body| call.request(body));
        let uri = request.uri().clone();
        let (head, body) = grpc.answer(request).await.into_parts();
        // A stream has only begun by now, which is not slow unless the server is.
        let took = call.elapsed();
        if took > self.slow_request {
            tell_of_slow(uri.path(), took, remote);
        }
        let body = call.response(&head.headers, body);
        Response::from_parts(head, body)
    }
}

/// etcd's line for a slow request, as far as it is known when the answer begins.
#[cold]
fn tell_of_slow(path: &str, took: Duration, remote: Option<SocketAddr>) {
    let remote = remote.map(|it| it.to_string());
    tracing::warn!(
        time_spent = ?took,
        remote = remote.as_deref().unwrap_or("No remote client info."),
        response_type = path,
        "request stats"
    );
}

async fn route<B>(mut router: Router, request: Request<B>) -> Response<Body>
where
    Router: Service<Request<B>, Response = Response<Body>, Error = std::convert::Infallible>,
{
    match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2
        && request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}
