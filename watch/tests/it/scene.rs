//! A hub with one history, and what its streams were told in words.

use bytes::Bytes;
use cairn_index::{KeyRange, Revision};
use cairn_mvcc::Change;
use cairn_proto::mvccpb::event::EventType;
use cairn_proto::mvccpb::{Event, KeyValue};
use cairn_proto::stored::EncodedEvent;
use cairn_watch::{
    CatchUp, EventList, History, Hub, PrevKv, ReplyKind, StreamId, WatchId, WatchReply,
    WatchRequest, WatchStart,
};
use prost::Message;

use crate::client::Queue;
use crate::past::{Fault, Past, Write};

/// The stream that most rules need only one of.
pub(crate) const STREAM: StreamId = StreamId::new(0);

/// The scene.
pub(crate) struct Scene {
    pub(crate) past: Past,
    pub(crate) hub: Hub<Past, Queue>,
    queues: Vec<Queue>,
}

impl Scene {
    /// A scene with one stream, whose sink is large.
    pub(crate) fn new() -> Self {
        let past = Past::new(Fault::None);
        let hub = Hub::new(past.clone(), past.current());
        let mut scene = Self {
            past,
            hub,
            queues: Vec::new(),
        };
        scene.open(1000);
        scene
    }

    /// Opens a stream; the first one is [`STREAM`].
    pub(crate) fn open(&mut self, capacity: usize) -> StreamId {
        let stream = stream(self.queues.len());
        self.queues.push(Queue::new(capacity, false));
        self.hub
            .open_stream(stream, self.queues[self.queues.len() - 1].clone());
        stream
    }

    /// Puts a key in a revision of its own, and tells the hub.
    pub(crate) fn put(&mut self, key: &'static str, value: u32) {
        self.txn(&[Write::Put(key, value)]);
    }

    /// Writes in one revision, and tells the hub.
    pub(crate) fn txn(&mut self, writes: &[Write]) {
        let changes = self.past.write(writes);
        self.notify(&changes);
    }

    pub(crate) fn notify(&mut self, changes: &[Change]) {
        self.hub
            .notify(self.past.current(), changes)
            .expect("history can be read");
    }

    pub(crate) fn watch(&mut self, request: WatchRequest) -> WatchId {
        self.hub
            .watch(STREAM, request)
            .expect("it is a good request")
    }

    pub(crate) fn catch_up(&mut self) {
        for _ in 0..1000 {
            if self.hub.sync_step().expect("history can be read") == CatchUp::Done {
                return;
            }
        }
        panic!("somebody does not catch up");
    }

    /// What waits in the first stream's sink, and is read now.
    pub(crate) fn told(&mut self) -> Vec<String> {
        self.told_to(STREAM)
    }

    pub(crate) fn told_to(&mut self, to: StreamId) -> Vec<String> {
        self.replies_to(to).iter().map(text).collect()
    }

    /// The lists of events of what waits in a stream's sink, and is read now.
    pub(crate) fn event_lists(&mut self, to: StreamId) -> Vec<EventList> {
        let lists = self
            .replies_to(to)
            .into_iter()
            .filter_map(|reply| match reply.kind {
                ReplyKind::Events { events, .. } => Some(events),
                _ => None,
            });
        lists.collect()
    }

    fn replies_to(&mut self, to: StreamId) -> Vec<WatchReply> {
        let number = (0..self.queues.len()).find(|&number| stream(number) == to);
        let queue = &self.queues[number.expect("the stream was opened")];
        std::iter::from_fn(|| queue.pop()).collect()
    }
}

/// A request for a key, or a range if there is an end.
pub(crate) fn request(key: &'static str, end: &'static str) -> WatchRequest {
    WatchRequest::new(KeyRange::from_wire(Bytes::from(key), Bytes::from(end)))
}

/// The same from a revision on.
pub(crate) fn request_from(key: &'static str, end: &'static str, start: u64) -> WatchRequest {
    WatchRequest {
        start: WatchStart::At(revision(start)),
        ..request(key, end)
    }
}

/// The same with what was replaced.
pub(crate) fn with_prev_kv(request: WatchRequest) -> WatchRequest {
    WatchRequest {
        prev_kv: PrevKv::Include,
        ..request
    }
}

pub(crate) fn revision(number: u64) -> Revision {
    Revision::new(number).expect("it is a small positive number")
}

fn stream(number: usize) -> StreamId {
    StreamId::new(number as u64)
}

fn text(reply: &WatchReply) -> String {
    let id = WatchId::to_wire;
    let about = match &reply.kind {
        ReplyKind::Created { watch } => format!("created {}", id(*watch)),
        ReplyKind::Refused { reason } => format!("refused: {reason}"),
        ReplyKind::Canceled { watch } => format!("canceled {}", id(*watch)),
        ReplyKind::Compacted { watch, compacted } => {
            format!("compacted {} at {compacted}", id(*watch))
        }
        ReplyKind::Progress { watch: None } => "progress".to_owned(),
        ReplyKind::Progress { watch: Some(watch) } => format!("progress {}", id(*watch)),
        ReplyKind::Events { watch, events, .. } => {
            let events: Vec<String> = events.iter().map(event_text).collect();
            format!("events {} [{}]", id(*watch), events.join(", "))
        }
    };
    format!("{about} @{}", reply.revision)
}

/// `a=1` is a put, `-a` a deletion; `#` the revision, `/` what was replaced.
fn event_text(event: &EncodedEvent) -> String {
    let event = Event::decode(event.0.clone()).expect("it is an event");
    let pair = |kv: &KeyValue| {
        format!(
            "{}={}",
            String::from_utf8_lossy(&kv.key),
            String::from_utf8_lossy(&kv.value)
        )
    };
    let kv = event.kv.as_ref().expect("an event has a pair");
    let what = match event.r#type() {
        EventType::Put => pair(kv),
        EventType::Delete => {
            let only = KeyValue {
                key: kv.key.clone(),
                mod_revision: kv.mod_revision,
                ..KeyValue::default()
            };
            assert_eq!(*kv, only, "a deletion's pair has a key and a revision");
            format!("-{}", String::from_utf8_lossy(&kv.key))
        }
    };
    let replaced = event
        .prev_kv
        .as_ref()
        .map(|kv| format!("/{}", pair(kv)))
        .unwrap_or_default();
    format!("{what}#{}{replaced}", kv.mod_revision)
}
