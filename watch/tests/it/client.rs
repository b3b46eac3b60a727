//! A client that reads a stream's replies and checks each against all that ever happened.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use cairn_index::Revision;
use cairn_mvcc::{Change, ChangeKind};
use cairn_proto::mvccpb::Event;
use cairn_proto::mvccpb::event::EventType;
use cairn_proto::stored::EncodedEvent;
use cairn_watch::{
    Full, History, PrevKv, ProgressNotify, ReplyKind, Sink, WatchId, WatchReply, WatchRequest,
    WatchStart,
};
use prost::Message;

use crate::past::Past;

/// Both ends of a stream's queue. One that loses replies takes each fifth one and forgets it.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    replies: Rc<RefCell<VecDeque<WatchReply>>>,
    capacity: usize,
    loses: bool,
    count: Rc<RefCell<usize>>,
}

impl Queue {
    pub(crate) fn new(capacity: usize, loses: bool) -> Self {
        let (replies, count) = Default::default();
        Self {
            replies,
            capacity,
            loses,
            count,
        }
    }

    pub(crate) fn pop(&self) -> Option<WatchReply> {
        self.replies.borrow_mut().pop_front()
    }
}

impl Sink for Queue {
    fn try_send(&mut self, reply: WatchReply) -> Result<(), Full> {
        if self.replies.borrow().len() >= self.capacity {
            return Err(Full);
        }
        *self.count.borrow_mut() += 1;
        if !(self.loses && self.count.borrow().is_multiple_of(5)) {
            self.answer(reply);
        }
        Ok(())
    }

    fn answer(&mut self, reply: WatchReply) {
        self.replies.borrow_mut().push_back(reply);
    }

    fn has_room(&self) -> bool {
        self.replies.borrow().len() <= self.capacity / 2
    }
}

/// An answer that the client waits for.
#[derive(Debug)]
pub(crate) enum Expected {
    Created(WatchId, WatchRequest, Revision),
    Refused(String),
    Canceled(WatchId),
}

/// The client.
#[derive(Debug)]
pub(crate) struct Client {
    past: Past,
    queue: Queue,
    pub(crate) expected: VecDeque<Expected>,
    /// The ids that the hub was told of and not told to cancel.
    pub(crate) ids: BTreeSet<WatchId>,
    watchers: BTreeMap<WatchId, Seen>,
    pub(crate) progress_replies: usize,
}

/// What the client has seen of a watcher.
#[derive(Debug)]
struct Seen {
    request: WatchRequest,
    /// The first revision whose events it is to get.
    start: Revision,
    /// No progress below.
    progress_from: Revision,
    /// How many events it got.
    count: usize,
    /// The last revision that it got events of.
    last: Option<Revision>,
    header: Revision,
}

type Verdict = Result<(), String>;

impl Client {
    pub(crate) fn new(past: Past, queue: Queue) -> Self {
        Self {
            past,
            queue,
            expected: VecDeque::new(),
            ids: BTreeSet::new(),
            watchers: BTreeMap::new(),
            progress_replies: 0,
        }
    }

    /// Reads a reply, if one waits.
    pub(crate) fn read(&mut self) -> Result<bool, String> {
        let Some(reply) = self.queue.pop() else {
            return Ok(false);
        };
        let text = format!("{reply:?}");
        self.check(reply)
            .map_err(|wrong| format!("{wrong}: {text}"))?;
        Ok(true)
    }

    /// Whether all that should have come has come.
    pub(crate) fn check_complete(&self) -> Verdict {
        ensure(self.expected.is_empty(), "an answer is missing")?;
        for (id, seen) in &self.watchers {
            let missing = seen.wanted(&self.past).nth(seen.count);
            ensure(
                missing.is_none(),
                &format!("{id:?} misses {missing:?} ({seen:?})"),
            )?;
        }
        Ok(())
    }

    pub(crate) fn live(&self) -> usize {
        self.watchers.len()
    }

    pub(crate) fn all_started(&self) -> bool {
        self.watchers
            .values()
            .all(|seen| seen.progress_from <= self.past.current())
    }

    fn check(&mut self, reply: WatchReply) -> Verdict {
        ensure(
            reply.revision <= self.past.current(),
            "a header from the future",
        )?;
        let answer = match reply.kind {
            ReplyKind::Created { .. } | ReplyKind::Refused { .. } | ReplyKind::Canceled { .. } => {
                self.expected.pop_front()
            }
            _ => None,
        };
        match (reply.kind, answer) {
            (ReplyKind::Created { watch }, Some(Expected::Created(id, request, current))) => {
                ensure(
                    watch == id && current == reply.revision,
                    "another watcher was created",
                )?;
                ensure(
                    self.watchers
                        .insert(id, Seen::new(request, current))
                        .is_none(),
                    "twice",
                )
            }
            (ReplyKind::Refused { reason }, Some(Expected::Refused(text))) => {
                ensure(reason.to_string() == text, "another reason")
            }
            (ReplyKind::Canceled { watch }, Some(Expected::Canceled(id))) => {
                // It may have ended by compaction before.
                self.watchers.remove(&id);
                ensure(watch == id, "another watcher was canceled")
            }
            (ReplyKind::Events { watch, events, .. }, None) => {
                let seen = self
                    .watchers
                    .get_mut(&watch)
                    .ok_or("events of no watcher")?;
                seen.check_events(&self.past, reply.revision, &events)
            }
            (ReplyKind::Progress { watch: Some(watch) }, None) => {
                let seen = self
                    .watchers
                    .get_mut(&watch)
                    .ok_or("progress of no watcher")?;
                let asked = seen.request.progress_notify == ProgressNotify::Periodic;
                ensure(asked, "progress nobody asked for")?;
                seen.check_progress(&self.past, reply.revision)
            }
            (ReplyKind::Progress { watch: None }, None) => {
                self.progress_replies += 1;
                ensure(!self.watchers.is_empty(), "progress of no watcher")?;
                let mut watchers = self.watchers.values_mut();
                watchers.try_for_each(|seen| seen.check_progress(&self.past, reply.revision))
            }
            (ReplyKind::Compacted { watch, compacted }, None) => {
                let seen = self
                    .watchers
                    .remove(&watch)
                    .ok_or("the end of no watcher")?;
                ensure(
                    seen.needs_at_least() < compacted,
                    "nothing it needs is compacted",
                )?;
                ensure(
                    Some(compacted) <= self.past.compacted(),
                    "not yet compacted",
                )
            }
            (_, answer) => Err(format!("not the answer that was expected: {answer:?}")),
        }
    }
}

impl Seen {
    fn new(request: WatchRequest, current: Revision) -> Self {
        let (start, progress_from) = match request.start {
            WatchStart::Now => (current.next(), current),
            WatchStart::At(start) => (start, start.max(current)),
        };
        Self {
            request,
            start,
            progress_from,
            count: 0,
            last: None,
            header: current,
        }
    }

    fn needs_at_least(&self) -> Revision {
        self.last
            .map_or(self.start, |last| self.start.max(last.next()))
    }

    /// All events that the watcher is to get, be it now or later.
    fn wanted(&self, past: &Past) -> impl Iterator<Item = Change> {
        let filters = self.request.filters;
        past.all().into_iter().filter(move |change| {
            let filtered = match change.kind {
                ChangeKind::Put => filters.no_put,
                ChangeKind::Delete => filters.no_delete,
            };
            change.at.main >= self.start && self.request.range.contains(&change.key) && !filtered
        })
    }

    fn check_events(&mut self, past: &Past, header: Revision, events: &[EncodedEvent]) -> Verdict {
        ensure(!events.is_empty(), "an empty reply")?;
        ensure(header >= self.header, "a header went back")?;
        self.header = header;
        let wanted: Vec<Change> = self.wanted(past).collect();
        for event in events {
            let change = wanted
                .get(self.count)
                .ok_or("an event that never happened")?;
            self.check_event(past, change, event)?;
            self.count += 1;
            self.last = Some(change.at.main);
        }
        let last = self.last.ok_or("none")?;
        ensure(header >= last, "a header before its events")?;
        let whole = wanted
            .get(self.count)
            .is_none_or(|next| next.at.main > last);
        ensure(whole, "a revision in two replies")
    }

    fn check_event(&self, past: &Past, change: &Change, event: &EncodedEvent) -> Verdict {
        let event = Event::decode(event.0.clone()).map_err(|error| error.to_string())?;
        let deleted = change.kind == ChangeKind::Delete;
        ensure(
            (event.r#type() == EventType::Delete) == deleted,
            "another kind of event",
        )?;
        let kv = event.kv.ok_or("an event without a pair")?.encode_to_vec();
        ensure(kv == change.kv, "not the next event")?;
        let previous = event.prev_kv.map(|kv| kv.encode_to_vec());
        if self.request.prev_kv == PrevKv::Omit {
            return ensure(previous.is_none(), "a previous pair nobody asked for");
        }
        let replaced = past.replaced(change).map(|kv| kv.to_vec());
        let forgotten = previous.is_none() && change.at.main.previous() < past.compacted();
        ensure(
            previous == replaced || forgotten,
            "not what the event replaced",
        )
    }

    fn check_progress(&mut self, past: &Past, header: Revision) -> Verdict {
        ensure(header >= self.progress_from, "progress before the start")?;
        ensure(header >= self.header, "progress went back")?;
        self.header = header;
        let promised = self
            .wanted(past)
            .take_while(|change| change.at.main <= header)
            .count();
        ensure(promised <= self.count, "progress overtook an event")
    }
}

fn ensure(holds: bool, wrong: &str) -> Verdict {
    if holds { Ok(()) } else { Err(wrong.to_owned()) }
}
