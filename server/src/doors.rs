//! What a client's request gets: gRPC, or an HTTP page beside it.
//!
//! The two share a port and are told apart by what gRPC says of itself: HTTP/2 and its content type.

mod member_probe;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use tonic::service::Routes;
use tower::Service;

use crate::grpc::Services;
use crate::http::{HttpParts, client_router, monitoring_router, no_pages};
use crate::member::Member;
use crate::metrics::{Counted, Metrics};
use crate::peer::{self, PeerService};
use crate::settings::HttpSettings;

pub use member_probe::MemberProbe;

/// Who answers gRPC behind a listener.
enum Calls {
    /// Nobody.
    None,
    /// The services for clients.
    Clients(Services),
    /// The service for other members.
    Peers(Router),
}

/// What is behind one listener.
pub struct Door {
    calls: Calls,
    pages: Router,
    metrics: Arc<Metrics>,
}

/// All that doors are made of.
pub struct DoorParts {
    grpc: Services,
    http: HttpParts,
    settings: HttpSettings,
}

impl DoorParts {
    /// The doors of `member`.
    pub fn new(member: &Arc<Member>, metrics: Arc<Metrics>, settings: HttpSettings) -> Self {
        let http = HttpParts {
            probe: Arc::new(MemberProbe::new(Arc::clone(member))),
            metrics,
            request_timeout: member.limits().request_timeout,
        };
        Self {
            grpc: Services::new(member),
            http,
            settings,
        }
    }

    /// gRPC and the pages.
    pub fn whole(&self) -> Arc<Door> {
        self.door(Calls::Clients(self.grpc.clone()), self.client_pages())
    }

    /// gRPC alone, where HTTP has listeners of its own.
    pub fn grpc(&self) -> Arc<Door> {
        self.door(Calls::Clients(self.grpc.clone()), no_pages())
    }

    /// The pages alone.
    pub fn pages(&self) -> Arc<Door> {
        self.door(Calls::None, self.client_pages())
    }

    /// Metrics and health alone.
    pub fn monitoring(&self) -> Arc<Door> {
        self.door(Calls::None, monitoring_router(self.http.clone()))
    }

    /// What other members and a few pages get.
    pub fn peers(&self, member: &Arc<Member>) -> Arc<Door> {
        let service = Routes::new(PeerService::server(member)).into_axum_router();
        let pages = peer::pages(Arc::clone(member), self.http.clone());
        self.door(Calls::Peers(service), pages)
    }

    fn client_pages(&self) -> Router {
        client_router(self.http.clone(), self.settings.clone())
    }

    fn door(&self, calls: Calls, pages: Router) -> Arc<Door> {
        Arc::new(Door {
            calls,
            pages,
            metrics: Arc::clone(&self.http.metrics),
        })
    }
}

impl Door {
    /// Answers a request. Whatever is wrong with it is in the answer.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Counted<Body>> {
        match &self.calls {
            Calls::Clients(grpc) if is_grpc(&request) => self.call(grpc, request).await,
            Calls::Peers(grpc) if is_grpc(&request) => {
                route(grpc.clone(), request).await.map(Counted::uncounted)
            }
            Calls::None | Calls::Clients(_) | Calls::Peers(_) => route(self.pages.clone(), request)
                .await
                .map(Counted::uncounted),
        }
    }

    async fn call(&self, grpc: &Services, request: Request<Incoming>) -> Response<Counted<Body>> {
        let call = self
            .metrics
            .begin_call(request.uri().path(), request.headers());
        let Some(call) = call else {
            return grpc.answer(request).await.map(Counted::uncounted);
        };
        let request = request.map(|body| call.request(body));
        let (head, body) = grpc.answer(request).await.into_parts();
        let body = call.response(&head.headers, body);
        Response::from_parts(head, body)
    }
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
