//! HTTP/1.1 calls to whichever endpoint answers, each on a connection of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::node::{V2Error, V2Response, WireError};
use crate::connect::{ConnectOptions, Credentials, Endpoint, dial_http1};
use crate::error::Error;

/// What is done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Put,
    Post,
    Delete,
}

/// The parameters of a call, encoded.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(String);

impl Query {
    pub(super) fn text(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        encode(value, &mut self.0, false);
    }

    pub(super) fn flag(&mut self, name: &str, is_set: bool) {
        if is_set {
            self.text(name, "true");
        }
    }

    pub(super) fn ttl(&mut self, ttl: Option<Duration>) {
        if let Some(ttl) = ttl {
            let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
            self.text("ttl", &seconds.to_string());
        }
    }
}

/// Percent-encodes what a URL may not hold.
fn encode(text: &str, into: &mut String, keeps_slashes: bool) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                into.push(char::from(byte));
            }
            b'/' if keeps_slashes => into.push('/'),
            other => into.push_str(&format!("%{other:02X}")),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Http {
    options: Arc<ConnectOptions>,
    /// Where the last call was answered.
    turn: Arc<AtomicUsize>,
}

impl Http {
    pub(super) fn new(options: ConnectOptions) -> Self {
        Self {
            options: Arc::new(options),
            turn: Arc::default(),
        }
    }

    /// Makes a call. A read goes from endpoint to endpoint; a write does as long as it surely was
    /// not sent.
    pub(super) async fn call(
        &self,
        method: Method,
        key: &str,
        query: Query,
    ) -> Result<V2Response, V2Error> {
        let limit = self.options.limits.request_timeout;
        let call = async {
            let response = self.send(method, key, &query).await?;
            let is_refused = response.status().is_client_error();
            let (index, body) = read(response).await?;
            match parse(&body, index) {
                // Not of the v2 API: who says so may have been asked for a write that was done.
                Err(V2Error::Client(error)) if method != Method::Get && !is_refused => {
                    Err(ambiguous(error.to_string()))
                }
                parsed => parsed,
            }
        };
        match timeout(limit, call).await {
            Ok(Err(V2Error::Client(Error::Lost { reason }))) if method != Method::Get => {
                Err(ambiguous(reason))
            }
            Ok(ended) => ended,
            Err(_) if method != Method::Get => Err(ambiguous("no answer in time".to_owned())),
            Err(_) => Err(V2Error::Client(Error::Timeout {
                after: limit,
                reason: "the server is silent".to_owned(),
            })),
        }
    }

    /// Waits for a change, however long that takes, `None` if the server ends the
    /// poll without one; tells the store's index as soon as it is known.
    pub(super) async fn poll(
        &self,
        key: &str,
        query: Query,
        begun: impl FnOnce(u64),
    ) -> Result<Option<V2Response>, V2Error> {
        let response = self.send(Method::Get, key, &query).await?;
        if response.status().is_success() {
            begun(index_of(&response));
        }
        let (index, body) = read(response).await?;
        if body.is_empty() {
            return Ok(None);
        }
        parse(&body, index).map(Some)
    }

    async fn send(
        &self,
        method: Method,
        key: &str,
        query: &Query,
    ) -> Result<Response<Incoming>, V2Error> {
        let endpoints = &self.options.endpoints;
        let first = self.turn.load(Ordering::Relaxed);
        let mut reasons = Vec::new();
        for (at, endpoint) in (first..).zip(endpoints.iter().cycle().skip(first % endpoints.len()))
        {
            if reasons.len() == endpoints.len() {
                break;
            }
            let connecting = timeout(self.options.limits.connect_timeout, self.connect(endpoint));
            let mut sender = match connecting.await {
                Ok(Ok(sender)) => sender,
                Ok(Err(error)) => {
                    reasons.push(format!("{endpoint}: {error}"));
                    continue;
                }
                Err(_) => {
                    reasons.push(format!("{endpoint}: no connection in time"));
                    continue;
                }
            };
            let request = self.request(endpoint, method, key, query)?;
            match sender.send_request(request).await {
                Ok(response) => {
                    self.turn.store(at % endpoints.len(), Ordering::Relaxed);
                    return Ok(response);
                }
                Err(error) if method == Method::Get => {
                    reasons.push(format!("{endpoint}: {error}"));
                }
                Err(error) => return Err(lost(&error)),
            }
        }
        let reason = reasons.join("; ");
        Err(V2Error::Client(Error::Unavailable { reason }))
    }

    async fn connect(
        &self,
        endpoint: &Endpoint,
    ) -> io::Result<hyper::client::conn::http1::SendRequest<Full<Bytes>>> {
        let socket = dial_http1(endpoint, &self.options).await?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
            .await
            .map_err(io::Error::other)?;
        // What ends the connection also ends its call, which reports it.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    fn request(
        &self,
        endpoint: &Endpoint,
        method: Method,
        key: &str,
        query: &Query,
    ) -> Result<Request<Full<Bytes>>, V2Error> {
        let mut path = "/v2/keys/".to_owned();
        encode(key.trim_start_matches('/'), &mut path, true);
        let (method, has_form) = match method {
            Method::Get => (http::Method::GET, false),
            Method::Put => (http::Method::PUT, true),
            Method::Post => (http::Method::POST, true),
            Method::Delete => (http::Method::DELETE, false),
        };
        if !has_form && !query.0.is_empty() {
            path.push('?');
            path.push_str(&query.0);
        }
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, endpoint.authority());
        if let Some(Credentials::Password { user, password }) = &self.options.credentials {
            let pair = format!("{user}:{password}");
            request = request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)));
        }
        let mut body = Bytes::new();
        if has_form {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            body = query.0.clone().into();
        }
        let request = request.body(Full::new(body));
        request.map_err(|error| Error::invalid(format!("key {key:?}"), error.to_string()).into())
    }
}

fn lost(error: &hyper::Error) -> V2Error {
    V2Error::Client(Error::Lost {
        reason: error.to_string(),
    })
}

fn ambiguous(cause: String) -> V2Error {
    V2Error::Client(Error::Ambiguous {
        cause,
        server: None,
    })
}

fn index_of(response: &Response<Incoming>) -> u64 {
    let index = response.headers().get("x-etcd-index");
    let index = index.and_then(|it| it.to_str().ok()?.parse().ok());
    index.unwrap_or_default()
}

async fn read(response: Response<Incoming>) -> Result<(u64, Bytes), V2Error> {
    let index = index_of(&response);
    let body = response.into_body().collect().await;
    Ok((index, body.map_err(|error| lost(&error))?.to_bytes()))
}

fn parse(body: &[u8], index: u64) -> Result<V2Response, V2Error> {
    if let Ok(mut response) = serde_json::from_slice::<V2Response>(body) {
        response.index = index;
        return Ok(response);
    }
    match serde_json::from_slice::<WireError>(body) {
        Ok(error) => Err(error.into()),
        Err(_) => {
            let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
            Err(Error::protocol(format!("no answer of the v2 API: {text}")).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_are_percent_encoded() {
        let mut query = Query::default();
        query.text("value", "a b&c=\u{e9}");
        query.flag("dir", true);
        query.ttl(Some(Duration::from_millis(1500)));
        assert_eq!(query.0, "value=a%20b%26c%3D%C3%A9&dir=true&ttl=2");
        let mut path = String::new();
        encode("a b/c?d", &mut path, true);
        assert_eq!(path, "a%20b/c%3Fd");
    }

    #[test]
    fn answers_and_errors_are_told_apart() {
        let set = br#"{"action":"set","node":{"key":"/a","value":"1","modifiedIndex":7,"createdIndex":7}}"#;
        let response = parse(set, 9).unwrap();
        assert_eq!((response.node.modified_index, response.index), (7, 9));
        let missing = br#"{"errorCode":100,"message":"Key not found","cause":"/b","index":7}"#;
        assert_eq!(parse(missing, 7).unwrap_err().etcd_code(), Some(100));
        assert!(matches!(
            parse(b"404 page not found", 0),
            Err(V2Error::Client(_))
        ));
    }
}
