//! etcd's API as JSON over HTTP, under `/v3` (and `/v3beta`, as old clients call it).
//!
//! A request's JSON is made a message and handed to the gRPC services of this process as a call like any
//! other: with the same checks, limits, deadlines and numbers in the metrics. The answer's messages are
//! made JSON again, one by one, as they come. Nothing here knows what any method does; which there are
//! says `routes.rs`, what their messages look like the `.proto` files (`schema.rs`).

mod messages;
mod reply;
mod request;
mod routes;
mod schema;
mod values;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::header::{ACCEPT, LOCATION};
use http::request::Parts;
use http::{HeaderValue, Method as Verb, StatusCode};
use tokio::sync::oneshot;
use tonic::{Code, Status};

use self::messages::Messages;
use self::schema::{Method, Shape, Show};
use super::reply as page;
use crate::api::calls::Calls;
use crate::member::auth::ClientCertificate;

pub(crate) use self::schema::SchemaError;

/// The gateway of a member.
pub(crate) struct Gateway {
    calls: Calls,
    methods: HashMap<&'static str, Method>,
}

impl Gateway {
    /// A gateway to `calls`.
    ///
    /// # Errors
    ///
    /// [`SchemaError`], which a build decides once for all.
    pub(crate) fn new(calls: Calls) -> Result<Arc<Self>, SchemaError> {
        let methods = schema::methods()?;
        Ok(Arc::new(Self { calls, methods }))
    }

    /// Its pages.
    pub(super) fn router(self: Arc<Self>) -> Router {
        let mut router = Router::new().route("/v3", any(below));
        for path in ["/v3/", "/v3/{*rest}", "/v3beta/", "/v3beta/{*rest}"] {
            router = router.route(path, any(answer));
        }
        router.with_state(self)
    }

    fn method(&self, path: &str) -> Option<&Method> {
        let path = path.strip_prefix("/v3")?;
        let path = path.strip_prefix("beta").unwrap_or(path);
        self.methods.get(path.strip_prefix('/')?)
    }

    async fn one(&self, method: &Method, head: &Parts, request: Request) -> Response {
        let bytes_max = self.calls.request_bytes_max();
        let show = show(head);
        let call = request::one(method, head, request.into_body(), bytes_max).await;
        let call = match call {
            Ok(call) => call,
            Err(status) => return reply::error(&status),
        };
        let messages = Messages::new(self.calls.call(call, None).await);
        if method.shape == Shape::Unary {
            return reply::one(method, messages, show).await;
        }
        let (_, never) = oneshot::channel();
        reply::many(method, messages, never, show).await
    }

    async fn many(&self, method: &Method, head: &Parts, request: Request) -> Response {
        let bytes_max = self.calls.request_bytes_max();
        let call = request::many(method, &head.headers, request.into_body(), bytes_max);
        let (call, refused) = match call {
            Ok(call) => call,
            Err(status) => return reply::stream_error(&status),
        };
        let messages = Messages::new(self.calls.call(call, None).await);
        reply::many(method, messages, refused, show(head)).await
    }
}

/// `/v3` itself.
async fn below() -> Response {
    moved("/v3/")
}

async fn answer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    if names_a_user(&request) && gateway.calls.is_auth_enabled() {
        return page::error(
            StatusCode::BAD_REQUEST,
            "CommonName of client sending a request against gateway will be ignored and not used \
             as expected",
        );
    }
    let path = request.uri().path();
    if path.contains("//") {
        return moved(&path.replace("//", "/"));
    }
    let Some(method) = gateway.method(path) else {
        return reply::error(&Status::new(Code::NotFound, "Not Found"));
    };
    if request.method() != Verb::POST {
        return reply::error(&Status::new(Code::Unimplemented, "Method Not Allowed"));
    }
    let (head, body) = request.into_parts();
    let request = Request::new(body);
    match method.shape {
        Shape::Unary | Shape::Answers => gateway.one(method, &head, request).await,
        Shape::Both => gateway.many(method, &head, request).await,
    }
}

/// Whether the connection's certificate names a user, which does not count here.
fn names_a_user(request: &Request) -> bool {
    let certificate = request.extensions().get::<ClientCertificate>();
    certificate.is_some_and(|certificate| certificate.common_name().is_some())
}

/// How the client wants to see bytes: `text=1`, or `Accept: application/json;text`.
fn show(head: &Parts) -> Show {
    let query = head.uri.query().unwrap_or_default();
    let accept = head.headers.get(ACCEPT).and_then(|it| it.to_str().ok());
    let accepts_text = accept.is_some_and(|accept| {
        let mut kinds = accept.split(',');
        kinds.any(|kind| {
            let mut parts = kind.split(';').map(str::trim);
            parts.next() == Some("application/json") && parts.any(|part| part == "text")
        })
    });
    if accepts_text || query.split('&').any(|pair| pair == "text=1") {
        Show::Text
    } else {
        Show::Base64
    }
}

fn moved(path: &str) -> Response {
    let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
    if let Ok(path) = HeaderValue::try_from(path) {
        response.headers_mut().insert(LOCATION, path);
    }
    response
}
