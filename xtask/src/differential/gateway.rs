//! A channel for gRPC's clients that calls a server's JSON gateway.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use serde::Deserialize;
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower_service::Service;

use crate::server_process::ServerProcess;

/// Where each method is called; a method that a script does not need has no place here.
const PATHS: [(&str, &str); 28] = [
    ("/etcdserverpb.KV/Range", "/v3/kv/range"),
    ("/etcdserverpb.KV/Put", "/v3/kv/put"),
    ("/etcdserverpb.KV/DeleteRange", "/v3/kv/deleterange"),
    ("/etcdserverpb.KV/Txn", "/v3/kv/txn"),
    ("/etcdserverpb.KV/Compact", "/v3/kv/compaction"),
    ("/etcdserverpb.Lease/LeaseGrant", "/v3/lease/grant"),
    ("/etcdserverpb.Lease/LeaseRevoke", "/v3/lease/revoke"),
    ("/etcdserverpb.Lease/LeaseKeepAlive", "/v3/lease/keepalive"),
    (
        "/etcdserverpb.Lease/LeaseTimeToLive",
        "/v3/lease/timetolive",
    ),
    ("/etcdserverpb.Lease/LeaseLeases", "/v3/lease/leases"),
    ("/etcdserverpb.Maintenance/HashKV", "/v3/maintenance/hashkv"),
    ("/etcdserverpb.Auth/AuthEnable", "/v3/auth/enable"),
    ("/etcdserverpb.Auth/AuthDisable", "/v3/auth/disable"),
    ("/etcdserverpb.Auth/AuthStatus", "/v3/auth/status"),
    ("/etcdserverpb.Auth/Authenticate", "/v3/auth/authenticate"),
    ("/etcdserverpb.Auth/UserAdd", "/v3/auth/user/add"),
    ("/etcdserverpb.Auth/UserGet", "/v3/auth/user/get"),
    ("/etcdserverpb.Auth/UserList", "/v3/auth/user/list"),
    ("/etcdserverpb.Auth/UserDelete", "/v3/auth/user/delete"),
    (
        "/etcdserverpb.Auth/UserChangePassword",
        "/v3/auth/user/changepw",
    ),
    ("/etcdserverpb.Auth/UserGrantRole", "/v3/auth/user/grant"),
    ("/etcdserverpb.Auth/UserRevokeRole", "/v3/auth/user/revoke"),
    ("/etcdserverpb.Auth/RoleAdd", "/v3/auth/role/add"),
    ("/etcdserverpb.Auth/RoleGet", "/v3/auth/role/get"),
    ("/etcdserverpb.Auth/RoleList", "/v3/auth/role/list"),
    ("/etcdserverpb.Auth/RoleDelete", "/v3/auth/role/delete"),
    (
        "/etcdserverpb.Auth/RoleGrantPermission",
        "/v3/auth/role/grant",
    ),
    (
        "/etcdserverpb.Auth/RoleRevokePermission",
        "/v3/auth/role/revoke",
    ),
];
/// In front of each message in gRPC: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Where gRPC's clients say who they are.
const TOKEN: &str = "token";

/// What begins the message of an error that is no answer of the server's.
pub(super) const NO_ANSWER: &str = "no answer by JSON";

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How scripts call a server.
#[derive(Clone)]
pub(super) enum Channels {
    Grpc(Channel),
    Json(Gateway),
}

impl Channels {
    /// That of a server: its JSON gateway, or a connection that is made when first used.
    pub(super) fn of(server: &ServerProcess, is_json: bool) -> Result<Self> {
        Ok(if is_json {
            Self::Json(Gateway::at(&server.url())?)
        } else {
            Self::Grpc(server.channel()?)
        })
    }
}

/// The JSON gateway of one server.
#[derive(Clone)]
pub(super) struct Gateway {
    /// Host and port.
    authority: String,
    methods: Arc<HashMap<&'static str, (&'static str, MethodDescriptor)>>,
}

impl Service<Request<Body>> for Channels {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Grpc(channel) => channel.poll_ready(context).map_err(Into::into),
            Self::Json(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self {
            Self::Grpc(channel) => {
                let answer = channel.call(request);
                Box::pin(async { answer.await.map_err(Into::into) })
            }
            Self::Json(gateway) => {
                let gateway = gateway.clone();
                Box::pin(async move {
                    // What breaks the rules is a failure of the script, not an answer to it.
                    let answer = gateway.call(request).await;
                    let answer = answer.unwrap_or_else(|error| {
                        Err(Status::data_loss(format!("{NO_ANSWER}: {error:#}")))
                    });
                    Ok(response(answer))
                })
            }
        }
    }
}

impl Gateway {
    /// The gateway at a URL without a path.
    fn at(url: &str) -> Result<Self> {
        let pool = DescriptorPool::decode(cairn_proto::DESCRIPTORS)?;
        let mut methods = HashMap::new();
        for (method, path) in PATHS {
            let names = method.trim_start_matches('/').split_once('/');
            let (service, name) = names.context("a method's path has two parts")?;
            let service = pool.get_service_by_name(service);
            let service = service.with_context(|| format!("no service of {method}"))?;
            let found = service.methods().find(|it| it.name() == name);
            let found = found.with_context(|| format!("no method {method}"))?;
            methods.insert(method, (path, found));
        }
        let authority = url.strip_prefix("http://").context("not a plain URL")?;
        Ok(Self {
            authority: authority.to_owned(),
            methods: Arc::new(methods),
        })
    }

    /// Calls a method with one message, and takes its first answer.
    async fn call(&self, request: Request<Body>) -> Result<Result<Bytes, Status>> {
        let method = request.uri().path();
        let found = self.methods.get(method);
        let (path, method) = found.with_context(|| format!("{method} is not in the table"))?;
        let token = request.headers().get(TOKEN).cloned();
        let mut body = request.into_body().collect().await?.to_bytes();
        ensure!(body.len() >= PREFIX_BYTES, "a request without a message");
        body.advance(PREFIX_BYTES);
        let message = DynamicMessage::decode(method.input(), body)?;
        let json = serde_json::to_vec(&message)?;
        let (is_ok, json) = self.post(path, token, json).await?;
        let text = String::from_utf8_lossy(&json);
        let shown = || format!("{path} answers {text:?}");
        if !is_ok {
            let error: Failure = serde_json::from_slice(&json).with_context(shown)?;
            return Ok(Err(error.status()));
        }
        let json = if method.is_server_streaming() {
            let line = text.lines().next().unwrap_or_default();
            match serde_json::from_str(line).with_context(shown)? {
                Line::Result(json) => json.to_string(),
                Line::Error(error) => return Ok(Err(error.status())),
            }
        } else {
            text.clone().into_owned()
        };
        let mut json = serde_json::Deserializer::from_str(&json);
        let answer = DynamicMessage::deserialize(method.output(), &mut json);
        let answer = answer.with_context(shown)?;
        json.end().with_context(shown)?;
        Ok(Ok(answer.encode_to_vec().into()))
    }

    /// Whether the answer is 200, and what it is.
    async fn post(
        &self,
        path: &str,
        token: Option<HeaderValue>,
        json: Vec<u8>,
    ) -> Result<(bool, Bytes)> {
        let stream = TcpStream::connect(&self.authority).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::post(path)
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(json)))?;
        request
            .headers_mut()
            .extend(token.map(|it| (AUTHORIZATION, it)));
        let response = sender.send_request(request).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        connection.abort();
        if status.is_informational() || status.is_redirection() {
            bail!("{path} answers {status}");
        }
        Ok((status.is_success(), answer))
    }
}

/// A line of a stream.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Result(serde_json::Value),
    Error(Failure),
}

/// An error as the gateway tells it.
#[derive(Deserialize)]
struct Failure {
    code: i32,
    message: String,
}

impl Failure {
    fn status(self) -> Status {
        Status::new(Code::from(self.code), self.message)
    }
}

/// The same as gRPC has it.
fn response(answer: Result<Bytes, Status>) -> Response<Body> {
    let message = match answer {
        Ok(message) => message,
        Err(status) => return status.into_http(),
    };
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put(message);
    let trailers = HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]);
    let body = Full::new(framed.freeze());
    let body = body.with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
