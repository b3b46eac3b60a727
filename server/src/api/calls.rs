//! Calls of the services for clients, each counted, and told of in the log if it was slow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};

use super::grpc::Services;
use super::unread::Unread;
use crate::metrics::{Counted, Metrics};

/// The services for clients, however a call of them has come.
#[derive(Clone)]
pub(crate) struct Calls {
    services: Services,
    metrics: Arc<Metrics>,
    slow_request: Duration,
    unread: Unread,
}

impl Calls {
    /// Calls of `services`.
    pub(crate) const fn new(
        services: Services,
        metrics: Arc<Metrics>,
        slow_request: Duration,
        unread: Unread,
    ) -> Self {
        Self {
            services,
            metrics,
            slow_request,
            unread,
        }
    }

    /// Bytes that a request may have as a message.
    pub(crate) const fn request_bytes_max(&self) -> usize {
        self.services.request_bytes_max()
    }

    /// Whether users are asked who they are.
    pub(crate) fn is_auth_enabled(&self) -> bool {
        self.services.is_auth_enabled()
    }

    /// Answers a call of a client at `remote`, if that is known.
    pub(crate) async fn call<B>(
        &self,
        request: Request<B>,
        remote: Option<SocketAddr>,
    ) -> Response<Counted<Body>>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<tonic::codegen::StdError>,
    {
        let path = request.uri().path();
        let Some(call) = self.metrics.begin_call(path, request.headers()) else {
            return self.services.answer(request).await.map(Counted::uncounted);
        };
        let request = request.map(|body| call.request(body));
        let uri = request.uri().clone();
        let answer = self.services.answer(request).await;
        let (head, body) = self.unread.watch(answer).into_parts();
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
