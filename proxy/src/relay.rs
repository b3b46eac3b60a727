//! The way upstream, as gRPC's clients take it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use cairn_client::{Client, Error};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tonic::{Code, Status};
use tower_service::Service;

/// Passes calls on to whatever endpoint is there.
#[derive(Clone)]
pub(crate) struct Relay {
    client: Client,
}

impl Relay {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Passes a call on; what fails on the way is an answer too.
    pub(crate) async fn call<B>(&self, call: Request<B>) -> Response<Body>
    where
        B: axum::body::HttpBody<Data = Bytes, Error: Send> + Send + 'static,
    {
        match self.client.relay(call).await {
            Ok(answer) => answer.map(Body::new),
            Err(error) => status_of(&error).into_http(),
        }
    }
}

/// What a client is told that could not be passed on.
fn status_of(error: &Error) -> Status {
    let code = match error {
        Error::Timeout { .. } => Code::DeadlineExceeded,
        _ => Code::Unavailable,
    };
    Status::new(code, error.to_string())
}

impl Service<Request<tonic::body::Body>> for Relay {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Request<tonic::body::Body>) -> Self::Future {
        let relay = self.clone();
        let call = call.map(|body| body.map_err(|status| status));
        Box::pin(async move { Ok(Self::call(&relay, call).await) })
    }
}
