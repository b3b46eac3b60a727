//! One watch stream and what its watches saw.
//!
//! How events are cut into responses depends on timing, so a transcript joins the events that
//! follow each other. What does not depend on timing is kept: which events, in which order, and
//! what created and ended the watch.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use cairn_proto::etcdserverpb::watch_client::WatchClient;
use cairn_proto::etcdserverpb::watch_create_request::FilterType;
use cairn_proto::etcdserverpb::watch_request::RequestUnion;
use cairn_proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use cairn_proto::mvccpb::Event;
use cairn_proto::mvccpb::event::EventType;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::answer::forget_identity;
use super::terse::terse;

/// The longest wait for an answer or an event that must come.
const ANSWER_MAX: Duration = Duration::from_secs(4);
/// How often progress is asked for again while watches are still catching up.
const PROGRESS_PAUSE: Duration = Duration::from_millis(30);
/// How long an answer is awaited that should not come.
const SILENCE: Duration = Duration::from_millis(150);
/// Several times the pause after which etcd looks for watches that are behind.
const CATCH_UP: Duration = Duration::from_millis(400);
/// Requests and responses that may wait for the other side.
const QUEUE: usize = 64;
/// The id of responses that concern the whole stream.
const WHOLE_STREAM: i64 = -1;

/// What one watch saw, in order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Transcript {
    pub(super) stream: usize,
    pub(super) id: i64,
    pub(super) events: Vec<Event>,
    /// How the server ended it, without the header's ids.
    pub(super) canceled: Option<WatchResponse>,
}

impl Transcript {
    pub(super) fn show(&self) -> String {
        let mut shown = format!("stream {} watch {}:", self.stream, self.id);
        for event in &self.events {
            shown.push_str("\n  ");
            shown.push_str(&terse(event));
        }
        if let Some(canceled) = &self.canceled {
            shown.push_str("\n  ");
            shown.push_str(&terse(canceled));
        }
        shown
    }
}

/// A watch as the script created it, and what came of it.
struct Watcher {
    create: WatchCreateRequest,
    /// The first revision that it may see.
    start: i64,
    /// That revision was compacted already, so nothing but its end will come.
    too_late: bool,
    transcript: Transcript,
}

impl Watcher {
    fn is_live(&self) -> bool {
        self.transcript.canceled.is_none()
    }

    fn wants(&self, event: &Event) -> bool {
        let Some(kv) = &event.kv else { return false };
        let filtered = match event.r#type() {
            EventType::Put => FilterType::Noput,
            EventType::Delete => FilterType::Nodelete,
        };
        kv.mod_revision >= self.start
            && contains(&self.create.key, &self.create.range_end, &kv.key)
            && !self.create.filters.contains(&(filtered as i32))
    }

    /// Whether it has seen all of `history` that it should, or was ended.
    fn is_through(&self, history: &[Event]) -> bool {
        if self.transcript.canceled.is_some() || self.too_late {
            return self.transcript.canceled.is_some();
        }
        let wanted = history.iter().rev().find(|event| self.wants(event));
        revision_of(self.transcript.events.last()) >= revision_of(wanted)
    }
}

/// A watch stream under way.
pub(super) struct WatchStream {
    number: usize,
    requests: mpsc::Sender<WatchRequest>,
    responses: mpsc::Receiver<WatchResponse>,
    created: VecDeque<WatchResponse>,
    progress: Option<i64>,
    watchers: Vec<Watcher>,
}

impl WatchStream {
    /// Opens a stream. A server sends nothing at all before the first watch is asked for, so the
    /// opening is not waited for.
    pub(super) fn open(number: usize, channel: Channel) -> Self {
        let (requests, outgoing) = mpsc::channel(QUEUE);
        let (incoming, responses) = mpsc::channel(QUEUE);
        tokio::spawn(forward(channel, outgoing, incoming));
        Self {
            number,
            requests,
            responses,
            created: VecDeque::new(),
            progress: None,
            watchers: Vec::new(),
        }
    }

    /// Creates a watch; the answer is the response that says so. `compacted` is the last revision
    /// that was compacted, 0 before that.
    pub(super) async fn create(
        &mut self,
        create: WatchCreateRequest,
        compacted: i64,
    ) -> Result<Option<WatchResponse>> {
        self.send(RequestUnion::CreateRequest(create.clone()))
            .await?;
        self.receive_until(ANSWER_MAX, |stream| !stream.created.is_empty())
            .await;
        let Some(mut response) = self.created.pop_front() else {
            return Ok(None);
        };
        forget_identity(&mut response.header);
        let now = response.header.map_or(0, |header| header.revision);
        if !response.canceled {
            let start = match create.start_revision {
                0 => now + 1,
                revision => revision,
            };
            self.watchers.push(Watcher {
                start,
                too_late: compacted > 0 && start < compacted,
                create,
                transcript: Transcript {
                    stream: self.number,
                    id: response.watch_id,
                    events: Vec::new(),
                    canceled: None,
                },
            });
        }
        Ok(Some(response))
    }

    /// Cancels a watch, and waits for the confirmation if there is such a watch.
    pub(super) async fn cancel(&mut self, id: i64) -> Result<()> {
        let live = self.is_live(id);
        let cancel = WatchCancelRequest { watch_id: id };
        self.send(RequestUnion::CancelRequest(cancel)).await?;
        if live {
            self.receive_until(ANSWER_MAX, |stream| !stream.is_live(id))
                .await;
        }
        Ok(())
    }

    /// Asks for progress until it is answered, or only for a moment if it cannot be.
    ///
    /// It is not asked for on a stream that had a watch ended by a compaction: etcd goes on waiting
    /// for that watch, and never answers again.
    pub(super) async fn progress(&mut self, now: i64) -> Result<Option<i64>> {
        self.progress = None;
        if self.watchers.iter().any(|it| it.too_late) {
            return Ok(None);
        }
        let mut live = self.watchers.iter().filter(|it| it.is_live()).peekable();
        let answerable = live.peek().is_some() && live.all(|it| it.start <= now);
        let tries = if answerable { ANSWER_MAX } else { SILENCE };
        let deadline = Instant::now() + tries;
        while self.progress.is_none() && Instant::now() < deadline {
            let request = RequestUnion::ProgressRequest(WatchProgressRequest {});
            self.send(request).await?;
            self.receive_until(PROGRESS_PAUSE, |stream| stream.progress.is_some())
                .await;
        }
        Ok(self.progress)
    }

    /// Waits until a watch that begins in the past is up to date, of which there is no sign if
    /// nothing happened to its keys. Before, a compaction would end it.
    pub(super) async fn settle(&mut self, now: i64, history: &[Event]) {
        let quiet = |it: &Watcher| {
            it.is_live() && it.start <= now && !history.iter().any(|event| it.wants(event))
        };
        if self.watchers.last().is_some_and(quiet) {
            tokio::time::sleep(CATCH_UP).await;
        }
    }

    /// Waits until every watch has seen what it should of `history`.
    pub(super) async fn catch_up(&mut self, history: &[Event]) {
        self.receive_until(ANSWER_MAX, |stream| {
            stream
                .watchers
                .iter()
                .all(|watcher| watcher.is_through(history))
        })
        .await;
    }

    /// Waits until the first watch has seen an event of this revision.
    pub(super) async fn reach(&mut self, revision: i64) {
        self.receive_until(ANSWER_MAX, |stream| {
            revision_of(stream.first_events().last()) >= revision
        })
        .await;
    }

    /// What the first watch of the stream saw.
    pub(super) fn first_events(&self) -> &[Event] {
        self.watchers
            .first()
            .map_or(&[], |watcher| watcher.transcript.events.as_slice())
    }

    pub(super) fn transcripts(self) -> impl Iterator<Item = Transcript> {
        self.watchers.into_iter().map(|watcher| watcher.transcript)
    }

    async fn send(&self, request: RequestUnion) -> Result<()> {
        let request = WatchRequest {
            request_union: Some(request),
        };
        let sent = self.requests.send(request).await;
        sent.context("the server ended a watch stream")
    }

    async fn receive_until(&mut self, longest: Duration, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + longest;
        while !done(self) {
            match tokio::time::timeout_at(deadline, self.responses.recv()).await {
                Ok(Some(response)) => self.take(response),
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn take(&mut self, mut response: WatchResponse) {
        if response.created {
            self.created.push_back(response);
        } else if response.watch_id == WHOLE_STREAM {
            self.progress = response.header.map(|header| header.revision);
        } else if let Some(watcher) = self.live(response.watch_id) {
            watcher.transcript.events.append(&mut response.events);
            if response.canceled {
                forget_identity(&mut response.header);
                watcher.transcript.canceled = Some(response);
            }
        }
    }

    fn is_live(&self, id: i64) -> bool {
        let mut live = self.watchers.iter().filter(|it| it.is_live());
        live.any(|it| it.transcript.id == id)
    }

    fn live(&mut self, id: i64) -> Option<&mut Watcher> {
        self.watchers
            .iter_mut()
            .find(|it| it.transcript.id == id && it.is_live())
    }
}

/// Carries the responses over until one side ends.
async fn forward(
    channel: Channel,
    outgoing: mpsc::Receiver<WatchRequest>,
    incoming: mpsc::Sender<WatchResponse>,
) {
    let mut client = WatchClient::new(channel);
    let Ok(opened) = client.watch(ReceiverStream::new(outgoing)).await else {
        return;
    };
    let mut responses = opened.into_inner();
    while let Ok(Some(response)) = responses.message().await {
        if incoming.send(response).await.is_err() {
            return;
        }
    }
}

fn revision_of(event: Option<&Event>) -> i64 {
    event
        .and_then(|event| event.kv.as_ref())
        .map_or(0, |kv| kv.mod_revision)
}

/// Whether a watch on this range sees this key.
fn contains(start: &Bytes, end: &Bytes, key: &Bytes) -> bool {
    match end.as_ref() {
        [] => start == key || (start.is_empty() && key.as_ref() == [0]),
        [0] => key >= start,
        _ => key >= start && key < end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_end_as_etcd_says() {
        let contains = |start: &str, end: &str, key: &str| {
            let [start, end, key] = [start, end, key].map(|text| Bytes::from(text.to_owned()));
            contains(&start, &end, &key)
        };
        assert!(contains("a", "", "a") && !contains("a", "", "ab"));
        assert!(contains("b", "\0", "c") && !contains("b", "\0", "a"));
        assert!(contains("a", "c", "b") && !contains("a", "c", "c"));
        assert!(contains("", "", "\0"));
    }
}
