//! Requests by HTTP/1.1: puts and reads by the JSON gateway, sets and gets of the second API.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};
use http_body_util::Full;

use crate::http1::HttpRequest;
use crate::key_space::{KeySpace, Order, value};
use crate::load::{Call, Channel, Payload, Workload};

/// Seed of the value's bytes.
const VALUE_SEED: u64 = 5;

/// Makes the request for a key.
type MakeRequest = dyn Fn(&[u8]) -> HttpRequest + Send + Sync;

/// Requests that differ only in their key.
#[derive(Clone)]
pub struct HttpKeyed {
    kind: [&'static str; 1],
    keys: KeySpace,
    order: Order,
    request: Arc<MakeRequest>,
}

/// Puts of one value of `value_len` bytes by the JSON gateway.
#[must_use]
pub fn json_puts(keys: KeySpace, order: Order, value_len: usize) -> HttpKeyed {
    let value = STANDARD.encode(value(value_len, VALUE_SEED));
    let request = move |key: &[u8]| {
        let key = STANDARD.encode(key);
        let json = format!(r#"{{"key":"{key}","value":"{value}"}}"#);
        post(PathAndQuery::from_static("/v3/kv/put"), json)
    };
    HttpKeyed::new("json-put", keys, order, request)
}

/// Linearizable reads of one key by the JSON gateway.
#[must_use]
pub fn json_reads(keys: KeySpace, order: Order) -> HttpKeyed {
    let request = |key: &[u8]| {
        let json = format!(r#"{{"key":"{}"}}"#, STANDARD.encode(key));
        post(PathAndQuery::from_static("/v3/kv/range"), json)
    };
    HttpKeyed::new("json-range", keys, order, request)
}

/// Sets of one value of about `value_len` bytes by the second API.
#[must_use]
pub fn v2_sets(keys: KeySpace, order: Order, value_len: usize) -> HttpKeyed {
    // Of letters that a form takes as they are.
    let value = URL_SAFE_NO_PAD.encode(value(value_len / 4 * 3, VALUE_SEED));
    let form = Bytes::from(format!("value={value}"));
    let request = move |key: &[u8]| {
        let mut request = asked(Method::PUT, v2_path(key), form.clone());
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, kind);
        request
    };
    HttpKeyed::new("v2-set", keys, order, request)
}

/// Gets of one key by the second API.
#[must_use]
pub fn v2_gets(keys: KeySpace, order: Order) -> HttpKeyed {
    let request = |key: &[u8]| asked(Method::GET, v2_path(key), Bytes::new());
    HttpKeyed::new("v2-get", keys, order, request)
}

impl HttpKeyed {
    fn new(
        kind: &'static str,
        keys: KeySpace,
        order: Order,
        request: impl Fn(&[u8]) -> HttpRequest + Send + Sync + 'static,
    ) -> Self {
        Self {
            kind: [kind],
            keys,
            order,
            request: Arc::new(request),
        }
    }
}

impl Workload for HttpKeyed {
    fn channel(&self) -> Channel {
        Channel::Http
    }

    fn kinds(&self) -> &[&'static str] {
        &self.kind
    }

    fn client(&self, index: usize) -> Box<dyn FnMut(u64) -> Call> {
        let mut walk = self.keys.walk(self.order, index as u64);
        let (keys, request) = (self.keys.clone(), Arc::clone(&self.request));
        Box::new(move |ticket| Call {
            payload: Payload::Http(Box::new(request(&keys.key(walk.next(ticket))))),
            kind: 0,
        })
    }
}

/// Keys of a key space are fit for a path as they are; one that is not is refused at the root.
fn v2_path(key: &[u8]) -> PathAndQuery {
    let path = format!("/v2/keys/{}", String::from_utf8_lossy(key));
    PathAndQuery::try_from(path).unwrap_or_else(|_| PathAndQuery::from_static("/"))
}

fn post(path: PathAndQuery, json: String) -> HttpRequest {
    let mut request = asked(Method::POST, path, json.into());
    let kind = HeaderValue::from_static("application/json");
    request.headers_mut().insert(CONTENT_TYPE, kind);
    request
}

fn asked(method: Method, path: PathAndQuery, body: Bytes) -> HttpRequest {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(path);
    request
}
