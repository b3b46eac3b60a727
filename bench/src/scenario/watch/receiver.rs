//! The receiving side of a watch run: one task per stream, and what all of them saw.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use bytes::Bytes;
use cairn_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, watch_request::RequestUnion};
use tokio::sync::Notify;

use crate::connection::{Connection, Method};
use crate::framing::frame;
use crate::latencies::Latencies;
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
                (number::EVENTS, Field::Bytes(event)) => self.take_in_event(event, now)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn take_in_event(&self, event: &[u8], now: Instant) -> Result<()> {
        let stamp = bytes_field(event, number::EVENT_KV)
            .and_then(|kv| bytes_field(kv, number::KV_VALUE))
            .and_then(|value| value.first_chunk::<STAMP_LEN>());
        let Some(stamp) = stamp else {
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

/// One stream with its watchers.
pub(super) struct Receiver {
    pub(super) connection: Connection,
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

    async fn receive(mut self) -> Result<()> {
        let (mut requests, replies) = self.connection.stream(Method::Watch).await?;
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
