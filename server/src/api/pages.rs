//! The HTTP pages of the client addresses: what is checked before any of them, and which answers.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use tower::Service;

use crate::api::http::Access;
use crate::api::unread::Unread;
use crate::api::v2::{self, V2Parts};

/// The pages of the client addresses.
pub(crate) struct ClientPages {
    pub(super) access: Access,
    /// Watches answers that nobody reads.
    pub(super) unread: Unread,
    /// The second API, where it is served.
    pub(super) v2: Option<V2Parts>,
    pub(super) others: Router,
}

impl ClientPages {
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let admitted = match self.access.admit(&request) {
            Ok(admitted) => admitted,
            Err(answer) => return *answer,
        };
        let answer = match &self.v2 {
            Some(v2) if v2::is_under(request.uri().path()) => {
                v2::answer_request(v2, request.map(body)).await
            }
            _ => route(self.others.clone(), request).await,
        };
        self.unread.watch(admitted.answered(answer))
    }
}

/// A request's body; most have none.
fn body(incoming: Incoming) -> Body {
    if incoming.is_end_stream() {
        return Body::empty();
    }
    Body::new(incoming)
}

/// What a router answers.
pub(super) async fn route<B>(mut router: Router, request: Request<B>) -> Response<Body>
where
    Router: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
