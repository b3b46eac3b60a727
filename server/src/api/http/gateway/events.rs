//! A watch as server-sent events, for a GET that accepts them: what `EventSource` in a browser speaks.
//!
//! The query holds the fields of the watch's request. Each event's `id` is the revision up to which the
//! client has been told everything, so that a browser that comes back with `Last-Event-ID` goes on with
//! the next one and misses nothing.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body as AxumBody;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_proto::etcdserverpb::WatchResponse;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame};
use prost::Message;
use serde_json::{Map, Value};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tonic::{Code, Status};

use super::messages::Messages;
use super::reply;
use super::schema::{Method, Show};
use super::{Gateway, request, show};

/// How often a stream on which nothing happens says that it is there.
const LIFE_INTERVAL: Duration = Duration::from_secs(15);
/// What a browser that comes back has seen.
const LAST_EVENT_ID: &str = "last-event-id";
/// Fields of `WatchCreateRequest` that a query may hold; what is bytes in them, what is a list.
const FIELDS: [&str; 7] = [
    "key",
    "range_end",
    "start_revision",
    "progress_notify",
    "prev_kv",
    "filters",
    "text",
];

/// Whether a request asks for events.
pub(super) fn is_asked_for(head: &Parts) -> bool {
    let accept = head.headers.get(ACCEPT).and_then(|it| it.to_str().ok());
    accept.is_some_and(|it| it.contains("text/event-stream"))
}

/// Answers with the events of the one watch that the query describes.
pub(super) async fn answer(gateway: &Gateway, method: &Method, head: &Parts) -> Response {
    let show = show(head);
    let asked = wanted(head.uri.query().unwrap_or_default(), &head.headers, show);
    let call = asked.and_then(|(json, resumes_at)| {
        // Nobody could be told later what is wrong with it.
        method.request(json.as_bytes())?;
        let body = AxumBody::from(json);
        let bytes_max = gateway.calls.request_bytes_max();
        let (call, _) = request::many(method, &head.headers, body, bytes_max)?;
        Ok((call, resumes_at))
    });
    let (call, is_from_now) = match call {
        Ok(call) => call,
        Err(status) => return reply::error(&status),
    };
    let mut messages = gateway.call(call).await;
    let first = match messages.next().await {
        Ok(first) => first.unwrap_or_default(),
        Err(status) => return reply::error(&status),
    };
    if let Some(refused) = refusal(&first) {
        return reply::error(&refused);
    }
    let mut life = interval(LIFE_INTERVAL);
    life.set_missed_tick_behavior(MissedTickBehavior::Delay);
    life.reset();
    let events = Events {
        method: method.clone(),
        first: Some(first),
        messages: Some(messages),
        is_from_now,
        life,
        show,
    };
    let mut response = Response::new(AxumBody::new(events));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The request that a query asks for, and whether it is for what is to come.
///
/// With `text=1`, keys are text in the query as they are in the events.
fn wanted(query: &str, headers: &HeaderMap, show: Show) -> Result<(String, bool), Status> {
    let mut create = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let Some(name) = FIELDS.iter().find(|it| **it == name) else {
            return Err(Status::invalid_argument(format!(
                "a watch has no {name:?}: it may have {}",
                FIELDS.join(", ")
            )));
        };
        let value = match *name {
            "text" => continue,
            "key" | "range_end" if show == Show::Text => STANDARD.encode(&*value).into(),
            "progress_notify" | "prev_kv" => Value::Bool(matches!(&*value, "true" | "1")),
            "filters" => value.split(',').collect(),
            _ => value.into_owned().into(),
        };
        create.insert((*name).to_owned(), value);
    }
    if let Some(id) = headers.get(LAST_EVENT_ID) {
        let seen = id.to_str().ok().and_then(|id| id.parse::<i64>().ok());
        let next = seen
            .and_then(|seen| seen.checked_add(1))
            .filter(|next| *next > 0);
        let next = next.ok_or_else(|| {
            Status::invalid_argument(format!("Last-Event-ID is no revision: {id:?}"))
        })?;
        create.insert("start_revision".to_owned(), next.into());
    }
    let is_from_now = match create.get("start_revision") {
        None => true,
        Some(start) => *start == "0",
    };
    let request = serde_json::json!({ "create_request": create });
    Ok((request.to_string(), is_from_now))
}

/// Why a watch did not come to be, by its first answer.
fn refusal(first: &Bytes) -> Option<Status> {
    let first = WatchResponse::decode(first.clone()).ok()?;
    let is_refused = first.canceled && first.compact_revision == 0;
    // The text form of Go's status errors, which hold the code.
    let code = match first.cancel_reason.as_str() {
        it if it.contains("code = PermissionDenied") => Code::PermissionDenied,
        it if it.contains("code = Unauthenticated") => Code::Unauthenticated,
        _ => Code::InvalidArgument,
    };
    is_refused.then(|| Status::new(code, first.cancel_reason))
}

/// The answers of one watch as events.
struct Events {
    method: Method,
    first: Option<Bytes>,
    /// Until the end.
    messages: Option<Messages>,
    /// Whether the watch began with what was to come when it was created.
    is_from_now: bool,
    life: Interval,
    show: Show,
}

impl Events {
    /// An answer as an event. The watch of a stream is its only one: with it the stream ends.
    fn event(&mut self, message: Bytes) -> Result<Bytes, Status> {
        let told = WatchResponse::decode(message.clone())
            .map_err(|error| Status::internal(error.to_string()))?;
        if told.canceled {
            self.messages = None;
        }
        let revision = told.header.as_ref().map(|header| header.revision);
        let last = told.events.last().and_then(|event| event.kv.as_ref());
        let id = match last {
            Some(kv) => Some(kv.mod_revision),
            // Nothing up to here is still to come: progress, or the beginning of a watch from now on.
            None if !told.created || self.is_from_now => revision,
            None => None,
        };
        let json = self.method.message(message, self.show)?;
        let json = json.message();
        let mut event = Vec::with_capacity(json.len() + 32);
        if let Some(id) = id.filter(|id| *id > 0) {
            event.extend_from_slice(format!("id: {id}\n").as_bytes());
        }
        // JSON without blanks has no line breaks.
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(json);
        event.extend_from_slice(b"\n\n");
        Ok(event.into())
    }

    /// The last event of a stream that fails. Browsers know an event `error` of their own.
    fn failure(&mut self, status: &Status) -> Bytes {
        self.messages = None;
        let json = reply::error_json(status);
        Bytes::from([b"event: failure\ndata: ", json.as_slice(), b"\n\n"].concat())
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let events = self.get_mut();
        let next = match (events.first.take(), &mut events.messages) {
            (Some(first), _) => Ok(Some(first)),
            (None, None) => Ok(None),
            (None, Some(messages)) => match messages.poll_next(context) {
                Poll::Ready(next) => next,
                Poll::Pending => {
                    let life = events.life.poll_tick(context);
                    return life.map(|_| Some(Ok(Frame::data(Bytes::from_static(b":\n\n")))));
                }
            },
        };
        let event = match next {
            Ok(None) => return Poll::Ready(None),
            Ok(Some(message)) => events.event(message),
            Err(status) => Err(status),
        };
        let event = event.unwrap_or_else(|status| events.failure(&status));
        Poll::Ready(Some(Ok(Frame::data(event))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(query: &str, last: Option<&'static str>, show: Show) -> Result<Value, Status> {
        let last = last.map(|id| (LAST_EVENT_ID.parse().unwrap(), HeaderValue::from_static(id)));
        let (json, _) = wanted(query, &last.into_iter().collect(), show)?;
        let json: Value = serde_json::from_str(&json).unwrap();
        Ok(json["create_request"].clone())
    }

    #[test]
    fn a_query_holds_the_fields_of_a_watch() {
        let query = "key=Zm9v&range_end=Zm9w&start_revision=5&prev_kv=1&filters=NOPUT";
        let expected = serde_json::json!({
            "key": "Zm9v", "range_end": "Zm9w", "start_revision": "5", "prev_kv": true,
            "filters": ["NOPUT"],
        });
        assert_eq!(create(query, None, Show::Base64).unwrap(), expected);
        let text = create("key=f%20o&text=1", None, Show::Text).unwrap();
        assert_eq!(text, serde_json::json!({"key": "ZiBv"}));
        assert!(create("kye=Zm9v", None, Show::Base64).is_err());
    }

    #[test]
    fn who_comes_back_goes_on_with_the_next_revision() {
        let again = create("key=YQ==&start_revision=2", Some("7"), Show::Base64).unwrap();
        assert_eq!(again["start_revision"], 8);
        for id in ["x", "", "-5", "9223372036854775807"] {
            assert!(create("key=YQ==", Some(id), Show::Base64).is_err(), "{id}");
        }
    }
}
