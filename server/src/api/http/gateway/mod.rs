//! etcd's API as JSON over HTTP, under `/v3` (and `/v3beta`, as old clients call it).
//!
//! A request's JSON is made a message and handed to the gRPC services of this process as a call like any
//! other: with the same checks, limits, deadlines and numbers in the metrics. The answer's messages are
//! made JSON again, one by one, as they come: lines of an answer, messages over WebSocket (`websocket.rs`), or
//! server-sent events (`events.rs`). Nothing here knows what any method does; which there are
//! says `routes.rs`, what their messages look like the `.proto` files (`schema.rs`).

mod events;
mod large;
mod messages;
mod openapi;
mod reply;
mod request;
mod routes;
mod schema;
mod shared_json;
mod values;
mod websocket;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderValue, Method as Verb, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::sync::oneshot;
use tonic::{Code, Status};

use self::messages::Messages;
use self::schema::{Method, Shape, Show};
use super::reply as page;
use crate::api::calls::Calls;
use crate::api::grpc;
use crate::member::auth::ClientCertificate;

pub(crate) use self::schema::SchemaError;

/// The gateway of a member.
pub(crate) struct Gateway {
    calls: Calls,
    methods: HashMap<&'static str, Method>,
    document: Bytes,
}

impl Gateway {
    /// A gateway to `calls`.
    ///
    /// # Errors
    ///
    /// [`SchemaError`], which a build decides once for all.
    pub(crate) fn new(calls: Calls) -> Result<Arc<Self>, SchemaError> {
        let methods = schema::methods()?;
        let document = openapi::document(&methods).into();
        Ok(Arc::new(Self {
            calls,
            methods,
            document,
        }))
    }

    /// Its pages.
    pub(crate) fn router(self: Arc<Self>) -> Router {
        let mut router = Router::new()
            .route("/v3", any(below))
            .route("/openapi.json", get(document));
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

    /// Calls a method; its time ends its answer too.
    async fn call<B>(&self, call: http::Request<B>) -> Messages
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<tonic::codegen::StdError>,
    {
        let time = grpc::deadline_of(call.headers()).ok().flatten();
        Messages::new(self.calls.call(call, None).await, time)
    }

    async fn one(&self, method: &Method, head: &Parts, body: Body) -> Response {
        let bytes_max = self.calls.request_bytes_max();
        let call = match request::one(method, &head.headers, body, bytes_max).await {
            Ok(call) => call,
            Err(status) => return reply::error(&status),
        };
        let messages = self.call(call).await;
        if method.shape == Shape::Unary {
            return reply::one(method, messages, show(head)).await;
        }
        let (_, never) = oneshot::channel();
        reply::many(method, messages, never, show(head)).await
    }

    async fn many(&self, method: &Method, head: &Parts, body: Body) -> Response {
        let bytes_max = self.calls.request_bytes_max();
        let (call, refused) = match request::many(method, &head.headers, body, bytes_max) {
            Ok(call) => call,
            Err(status) => return reply::stream_error(&status),
        };
        let messages = self.call(call).await;
        reply::many(method, messages, refused, show(head)).await
    }
}

async fn document(State(gateway): State<Arc<Gateway>>) -> Response {
    let mut response = Response::new(Body::from(gateway.document.clone()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
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
    if let Some(clean) = cleaned(path) {
        return moved(&clean);
    }
    let path = percent_decode_str(path).decode_utf8_lossy();
    let Some(method) = gateway.method(&path) else {
        return reply::error(&Status::new(Code::NotFound, "Not Found"));
    };
    let (head, body) = request.into_parts();
    if websocket::is_asked_for(&head) {
        let method = method.clone();
        return websocket::open(gateway, method, head).await;
    }
    let is_watch = method.grpc_path == request::WATCH;
    if is_watch && head.method == Verb::GET && events::is_asked_for(&head) {
        return events::answer(&gateway, method, &head).await;
    }
    if head.method != Verb::POST {
        return reply::error(&Status::new(Code::Unimplemented, "Method Not Allowed"));
    }
    match method.shape {
        Shape::Unary | Shape::Answers => gateway.one(method, &head, body).await,
        Shape::Both => gateway.many(method, &head, body).await,
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

/// The path that another one means: without empty segments, dots and double dots.
fn cleaned(path: &str) -> Option<String> {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    let end = if path.ends_with('/') { "/" } else { "" };
    let clean = format!("/{}{end}", segments.join("/"));
    (clean != path).then_some(clean)
}

fn moved(path: &str) -> Response {
    let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
    if let Ok(path) = HeaderValue::try_from(path) {
        response.headers_mut().insert(LOCATION, path);
    }
    response
}
