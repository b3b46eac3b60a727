//! What a client's request gets: gRPC, or an HTTP page beside it.
//!
//! The two share a port and are told apart by what gRPC says of itself: HTTP/2 and its content type.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{Request, Response, Version};
use hyper::body::Incoming;

use crate::api::calls::Calls;
use crate::api::grpc::{LeaderLoss, Services};
use crate::api::http::{
    Access, Gateway, HttpParts, SchemaError, client_router, monitoring_router, no_pages,
};
use crate::api::member_probe::MemberProbe;
use crate::api::pages::{ClientPages, route};
use crate::api::unread::Unread;
use crate::api::v2::V2Parts;
use crate::member::Member;
use crate::metrics::Counted;
use crate::settings::Settings;

/// In the extensions of each request that came over TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OverTls;

/// Who answers gRPC behind a listener.
enum Grpc {
    /// Nobody.
    None,
    /// The services for clients.
    Clients(Calls),
    /// Others.
    Others(Router),
}

/// Who answers what is not gRPC behind a listener.
enum Pages {
    /// The pages of the client addresses.
    Clients(Arc<ClientPages>),
    /// Others.
    Others(Router),
}

/// What is behind one listener.
pub(crate) struct Api {
    grpc: Grpc,
    pages: Pages,
}

/// All that an API is made of.
pub(crate) struct ApiParts {
    calls: Calls,
    http: HttpParts,
    pages: Arc<ClientPages>,
}

impl ApiParts {
    /// What is served of `member`.
    ///
    /// # Errors
    ///
    /// [`SchemaError`].
    pub(crate) fn new(
        member: &Arc<Member>,
        settings: &Settings,
        leader_loss: LeaderLoss,
    ) -> Result<Self, SchemaError> {
        let metrics = Arc::clone(&member.metrics);
        let http = HttpParts {
            probe: Arc::new(MemberProbe::new(Arc::clone(member))),
            metrics: Arc::clone(&metrics),
            request_timeout: member.limits().request_timeout,
        };
        let lost = metrics.unread_answers_lost_total.clone();
        let unread = Unread::new(settings.limits.unread_bytes_max, lost);
        let services = Services::new(member, leader_loss, unread.clone());
        let calls = Calls::new(
            services,
            metrics,
            settings.slow.unary_request,
            unread.clone(),
        );
        let mut more = Router::new();
        if settings.http.gateway {
            more = more.merge(Gateway::new(calls.clone())?.router());
        }
        let pages = Arc::new(ClientPages {
            access: Access::new(settings.http.clone()),
            unread,
            v2: settings.http.v2.then(|| V2Parts::new(member)),
            others: client_router(http.clone(), more),
        });
        Ok(Self { calls, http, pages })
    }

    /// gRPC and the pages.
    pub(crate) fn whole(&self) -> Arc<Api> {
        let pages = Pages::Clients(Arc::clone(&self.pages));
        Self::api(Grpc::Clients(self.calls.clone()), pages)
    }

    /// gRPC alone, where HTTP has listeners of its own.
    pub(crate) fn grpc(&self) -> Arc<Api> {
        let pages = Pages::Others(no_pages());
        Self::api(Grpc::Clients(self.calls.clone()), pages)
    }

    /// The pages alone.
    pub(crate) fn pages(&self) -> Arc<Api> {
        Self::api(Grpc::None, Pages::Clients(Arc::clone(&self.pages)))
    }

    /// Metrics and health alone.
    pub(crate) fn monitoring(&self) -> Arc<Api> {
        let pages = monitoring_router(self.http.clone());
        Self::api(Grpc::None, Pages::Others(pages))
    }

    /// What the pages are made of.
    pub(crate) const fn http(&self) -> &HttpParts {
        &self.http
    }

    /// gRPC by other services than those for clients, and other pages.
    pub(crate) fn of_services(services: Router, pages: Router) -> Arc<Api> {
        Self::api(Grpc::Others(services), Pages::Others(pages))
    }

    /// Pages alone, others than a member's.
    pub(crate) fn of_pages(pages: Router) -> Arc<Api> {
        Self::api(Grpc::None, Pages::Others(pages))
    }

    fn api(grpc: Grpc, pages: Pages) -> Arc<Api> {
        Arc::new(Api { grpc, pages })
    }
}

impl Api {
    /// Answers a request from `remote`, if that is known. Whatever is wrong with it is in the answer.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        remote: Option<SocketAddr>,
    ) -> Response<Counted<Body>> {
        let answer = match &self.grpc {
            Grpc::Clients(calls) if is_grpc(&request) => return calls.call(request, remote).await,
            Grpc::Others(grpc) if is_grpc(&request) => route(grpc.clone(), request).await,
            Grpc::None | Grpc::Clients(_) | Grpc::Others(_) => match &self.pages {
                Pages::Clients(pages) => pages.answer(request).await,
                Pages::Others(pages) => route(pages.clone(), request).await,
            },
        };
        answer.map(Counted::uncounted)
    }
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2
        && request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}
