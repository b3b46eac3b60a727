//! The receiving side of a watch run: one task per stream, and what all of them saw.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, watch_request::RequestUnion};
use serde::Deserialize;
use tokio::sync::Notify;

use crate::connection::{Connection, Method};
use crate::endpoint::Endpoint;
use crate::framing::frame;
use crate::latencies::Latencies;
use crate::web_socket::WebSocket;
use crate::wire::{Field, bytes_field, fields};

/// Bytes at the start of a value that say when it was sent.
pub(super) const STAMP_LEN: usize = 8;

/// Field numbers of `WatchResponse`, `Event` and `KeyValue`.
mod number {
    pub(super) const CREATED: u64 = 3;
    pub(super) const CANCELED: u64 = 4;
    pub(super) const EVENTS: u64 = 11;
    pub(super) const EVENT_KV: u64 = 2;
    pub(super) const KV_VALUE: u64 = 5;
}

/// What all streams of a run received.
pub(super) struct Received {
    epoch: Instant,
    created: Cell<u64>,
    events: Cell<u64>,
    bytes: Cell<u64>,
    /// Latencies while measuring.
    measured: RefCell<Option<Latencies>>,
    failure: RefCell<Option<String>>,
    changed: Notify,
}

impl Received {
    pub(super) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            created: Cell::new(0),
            events: Cell::new(0),
            bytes: Cell::new(0),
            measured: RefCell::new(None),
            failure: RefCell::new(None),
            changed: Notify::new(),
        }
    }

    /// The bytes that stand for a moment.
    pub(super) fn stamp(&self, moment: Instant) -> [u8; STAMP_LEN] {
        let nanos = moment.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX).to_be_bytes()
    }

    pub(super) fn created(&self) -> u64 {
        self.created.get()
    }

    pub(super) fn events(&self) -> u64 {
        self.events.get()
    }

    /// Bytes of answers received while measuring.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    pub(super) fn start_measuring(&self) {
        self.bytes.set(0);
        self.measured.replace(Some(Latencies::new()));
    }

    /// The latencies measured, and the number of events.
    pub(super) fn stop_measuring(&self) -> (Latencies, u64) {
        let latencies = self.measured.take().unwrap_or_default();
        let count = latencies.count();
        (latencies, count)
    }

    /// Waits until a condition holds; ends early when a stream fails.
    pub(super) async fn wait_for(
        &self,
        wait_max: Duration,
        holds: impl Fn(&Self) -> bool,
    ) -> Result<()> {
        let wait = async {
            while !holds(self) {
                if let Some(failure) = self.failure() {
                    bail!("{failure}");
                }
                self.changed.notified().await;
            }
            Ok(())
        };
        tokio::time::timeout(wait_max, wait)
            .await
            .map_err(|_| anyhow!("no end after {wait_max:?}"))?
    }

    /// Takes in one `WatchResponse`.
    fn take_in(&self, message: &[u8], now: Instant) -> Result<()> {
        self.bytes.set(self.bytes.get() + message.len() as u64);
        for (number, field) in fields(message) {
            match (number, field) {
                (number::CREATED, Field::Varint(1)) => self.created.set(self.created.get() + 1),
                (number::CANCELED, Field::Varint(1)) => bail!("the server canceled a watcher"),
                (number::EVENTS, Field::Bytes(event)) => {
                    let value = bytes_field(event, number::EVENT_KV)
                        .and_then(|kv| bytes_field(kv, number::KV_VALUE));
                    self.take_in_event(value.unwrap_or_default(), now)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes in one message of a WebSocket.
    fn take_in_json(&self, message: &str, now: Instant) -> Result<()> {
        self.bytes.set(self.bytes.get() + message.len() as u64);
        let Told::Result(told) =
            serde_json::from_str(message).with_context(|| format!("the server says {message}"))?;
        self.created
            .set(self.created.get() + u64::from(told.created));
        ensure!(!told.canceled, "the server canceled a watcher");
        for event in told.events {
            let value = STANDARD.decode(event.kv.value)?;
            self.take_in_event(&value, now)?;
        }
        Ok(())
    }

    /// Takes in an event's value.
    fn take_in_event(&self, value: &[u8], now: Instant) -> Result<()> {
        let Some(stamp) = value.first_chunk::<STAMP_LEN>() else {
            bail!("an event that is none of our puts")
        };
        let sent = self.epoch + Duration::from_nanos(u64::from_be_bytes(*stamp));
        if let Some(measured) = &mut *self.measured.borrow_mut() {
            measured.record(now.saturating_duration_since(sent));
        }
        self.events.set(self.events.get() + 1);
        Ok(())
    }
}

/// What the gateway says of a watch stream.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Told<'a> {
    #[serde(borrow)]
    Result(ToldResult<'a>),
}

#[derive(Deserialize)]
struct ToldResult<'a> {
    #[serde(default)]
    created: bool,
    #[serde(default)]
    canceled: bool,
    #[serde(borrow, default)]
    events: Vec<ToldEvent<'a>>,
}

#[derive(Deserialize)]
struct ToldEvent<'a> {
    #[serde(borrow)]
    kv: ToldKv<'a>,
}

#[derive(Deserialize)]
struct ToldKv<'a> {
    value: &'a str,
}

/// How a receiver reaches the server.
pub(super) enum Way {
    Grpc(Connection),
    WebSocket(Endpoint),
}

/// One stream with its watchers.
pub(super) struct Receiver {
    pub(super) way: Way,
    pub(super) key: Bytes,
    pub(super) watchers: usize,
    pub(super) received: Rc<Received>,
}

impl Receiver {
    /// Creates the watchers, then takes in what comes until the run is over.
    pub(super) async fn run(self) {
        let received = Rc::clone(&self.received);
        if let Err(error) = self.receive().await {
            received
                .failure
                .borrow_mut()
                .get_or_insert_with(|| format!("{error:#}"));
        }
        received.changed.notify_one();
    }

    async fn receive(self) -> Result<()> {
        match &self.way {
            Way::Grpc(connection) => self.receive_grpc(connection.clone()).await,
            Way::WebSocket(endpoint) => self.receive_json(*endpoint).await,
        }
    }

    async fn receive_json(&self, endpoint: Endpoint) -> Result<()> {
        let mut socket = WebSocket::open(endpoint, "/v3/watch").await?;
        let key = STANDARD.encode(&self.key);
        let create = format!(r#"{{"create_request":{{"key":"{key}"}}}}"#);
        for _ in 0..self.watchers {
            socket.send(&create).await?;
        }
        while let Some(message) = socket.next().await? {
            self.received.take_in_json(&message, Instant::now())?;
            self.received.changed.notify_one();
        }
        bail!("the server ended a watch stream")
    }

    async fn receive_grpc(&self, mut connection: Connection) -> Result<()> {
        let (mut requests, replies) = connection.stream(Method::Watch).await?;
        let create = WatchCreateRequest {
            key: self.key.clone(),
            ..WatchCreateRequest::default()
        };
        let create = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        let framed = frame(&create);
        for _ in 0..self.watchers {
            requests.send(framed.clone())?;
        }
        let mut replies = replies.begin().await?;
        while let Some(message) = replies.next().await? {
            self.received.take_in(&message, Instant::now())?;
            self.received.changed.notify_one();
        }
        bail!("the server ended a watch stream")
    }
}

#[cfg(test)]
mod tests {
    use cairn_proto::etcdserverpb::WatchResponse;
    use cairn_proto::mvccpb::{Event, KeyValue};
    use prost::Message;

    use super::*;

    fn event(value: &[u8]) -> Event {
        let kv = KeyValue {
            value: Bytes::copy_from_slice(value),
            ..KeyValue::default()
        };
        Event {
            kv: Some(kv),
            ..Event::default()
        }
    }

    #[test]
    fn created_watchers_and_stamped_events_are_counted() {
        let received = Received::new();
        let created = WatchResponse {
            created: true,
            ..WatchResponse::default()
        };
        received
            .take_in(&created.encode_to_vec(), Instant::now())
            .unwrap();
        received.start_measuring();
        let sent = Instant::now();
        let stamp = received.stamp(sent);
        let response = WatchResponse {
            events: vec![event(&stamp), event(&stamp)],
            ..WatchResponse::default()
        };
        let later = sent + Duration::from_millis(5);
        received.take_in(&response.encode_to_vec(), later).unwrap();
        assert_eq!((received.created(), received.events()), (1, 2));
        let (latencies, events) = received.stop_measuring();
        assert_eq!(events, 2);
        assert!((latencies.summary().max_us - 5000.0).abs() < 10.0);
    }

    #[test]
    fn the_gateways_messages_are_taken_in_like_those_of_grpc() {
        let received = Received::new();
        let now = Instant::now();
        let created = r#"{"result":{"header":{"revision":"1"},"created":true}}"#;
        received.take_in_json(created, now).unwrap();
        let stamp = STANDARD.encode(received.stamp(now));
        let put =
            format!(r#"{{"result":{{"events":[{{"kv":{{"key":"aw==","value":"{stamp}"}}}}]}}}}"#);
        received.take_in_json(&put, now).unwrap();
        assert_eq!((received.created(), received.events()), (1, 1));
        for refused in [
            r#"{"error":{"code":5,"message":"no"}}"#,
            r#"{"result":{"canceled":true}}"#,
            r#"{"result":{"events":[{"kv":{"value":"eA=="}}]}}"#,
        ] {
            assert!(received.take_in_json(refused, now).is_err(), "{refused}");
        }
    }

    #[test]
    fn cancellations_and_foreign_events_are_errors() {
        let received = Received::new();
        let canceled = WatchResponse {
            canceled: true,
            ..WatchResponse::default()
        };
        let foreign = WatchResponse {
            events: vec![event(b"x")],
            ..WatchResponse::default()
        };
        for response in [canceled, foreign] {
            assert!(
                received
                    .take_in(&response.encode_to_vec(), Instant::now())
                    .is_err()
            );
        }
    }
}
