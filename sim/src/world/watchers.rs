//! Watchers: each has one stream at one member, and another one when that is lost.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use cairn_history::{
    ClientId, MemberId, Revision, WatchId, WatchRequest, WatchResponse, WatchSays,
};
use cairn_proto::etcdserverpb as pb;
use cairn_watch::StreamId;
use prost::Message;

use super::{Event, MILLI, World};
use crate::member::{Loop, Stream};
use crate::planted::Planted;
use crate::schedule::WatchFrom;
use crate::watching::{Queue, QueueSink};

/// A long answer is cut here if the client asked for that, in bytes; the server allows more.
const RESPONSE_BYTES_MAX: usize = 300;

/// A client that watches.
pub(super) struct Watcher {
    request: WatchRequest,
    pace: u64,
    member: MemberId,
    /// Counts its streams: what an earlier one brings is too late.
    streams: u64,
    open: Option<Open>,
    /// From which revision on it needs events.
    next: Option<Revision>,
    /// Where its stream began.
    start: Option<Revision>,
    /// The last revision that it was told to be through with.
    told: Revision,
}

/// A stream as the client knows it.
#[derive(Clone, Copy)]
struct Open {
    watch: WatchId,
    /// The stream at the member, once the request has arrived.
    stream: Option<StreamId>,
}

/// A message to a watcher, decoded by it.
#[derive(Debug)]
pub(super) struct Heard(pb::WatchResponse);

impl Watcher {
    /// Whether its stream began above `current` and has nothing to bring yet, not even progress.
    fn waits_for_the_future(&self, current: i64) -> bool {
        self.start.is_some_and(|start| start.0 > current)
    }
}

impl World<'_> {
    /// Lets a client watch; a client that watches already leaves that.
    pub(super) fn watch(
        &mut self,
        id: ClientId,
        request: &WatchRequest,
        from: WatchFrom,
        pace: u64,
    ) {
        self.disconnect(id);
        let start = match from {
            WatchFrom::Now => None,
            WatchFrom::Back(by) => Some(Revision((self.newest - by).max(1))),
            WatchFrom::Ahead(by) => Some(Revision(self.newest + by)),
        };
        let members = self.schedule.cluster.members;
        let streams = self.watchers.get(&id).map_or(0, |it| it.streams) + 1;
        let watcher = Watcher {
            request: request.clone(),
            pace,
            member: MemberId(1 + u64::from(id.0) % members),
            streams,
            open: None,
            next: start,
            start,
            told: Revision(0),
        };
        self.watchers.insert(id, watcher);
        self.subscribe(id, streams);
    }

    pub(super) fn subscribe(&mut self, id: ClientId, streams: u64) {
        let Some(watcher) = self.current_stream(id, streams) else {
            return;
        };
        let request = WatchRequest {
            start: watcher.next,
            ..watcher.request.clone()
        };
        let member = watcher.member;
        let watch = self.history.watch(id, member, self.now, request.clone());
        self.trace.note(
            self.now,
            format_args!("{id} watches at {member}: {watch} {request:?}"),
        );
        if let Some(watcher) = self.watchers.get_mut(&id) {
            watcher.start = watcher.next;
            watcher.open = Some(Open {
                watch,
                stream: None,
            });
        }
        let way = self.client_chance.between(100_000, 800_000);
        self.plan(way, Event::Subscribed(id, streams));
    }

    /// A watcher's request reaches its member.
    pub(super) fn subscribed(&mut self, id: ClientId, streams: u64) {
        let stream = StreamId::new(self.next_stream);
        let (planted, now) = (self.planted, self.now);
        let Some(watcher) = self
            .watchers
            .get_mut(&id)
            .filter(|it| it.streams == streams)
        else {
            return;
        };
        let Some(open) = &mut watcher.open else {
            return;
        };
        let Some(member) = self.members.get_mut(&watcher.member) else {
            return;
        };
        if now < member.paused_until {
            let until = member.paused_until;
            self.plan_at(until, Event::Subscribed(id, streams));
            return;
        }
        let Some(life) = &mut member.life else {
            self.lost(id, streams);
            return;
        };
        let mut start = watcher.next;
        if Planted::LateStart.is(planted)
            && start.is_some_and(|start| start.0 <= life.store.current().to_wire())
        {
            start = start.map(Revision::next);
        }
        let wire = pb::WatchCreateRequest::from(&WatchRequest {
            start,
            ..watcher.request.clone()
        });
        let Ok(request) = cairn_watch::WatchRequest::from_wire(&wire) else {
            return;
        };
        let queue = Rc::new(RefCell::new(Queue::default()));
        let sink = QueueSink {
            queue: Rc::clone(&queue),
            planted,
        };
        self.next_stream += 1;
        open.stream = Some(stream);
        let at_member = Stream {
            client: id,
            streams,
            queue,
            pace: watcher.pace,
            not_before: now,
            draining: false,
        };
        life.streams.insert(stream, at_member);
        life.hub.open_stream(stream, sink);
        // The client is told of a refusal.
        let _ = life.hub.watch(stream, request);
        let member = watcher.member;
        self.drain_streams(member);
        self.wake(member, Loop::Watch);
    }

    /// Sees to it that what waits in a member's streams is sent.
    pub(super) fn drain_streams(&mut self, id: MemberId) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let lives = member.lives;
        let Some(life) = &mut member.life else {
            return;
        };
        let mut due = Vec::new();
        for (stream, at_member) in &mut life.streams {
            if !at_member.draining && !at_member.queue.borrow().replies.is_empty() {
                at_member.draining = true;
                due.push((*stream, at_member.pace));
            }
        }
        for (stream, pace) in due {
            self.plan(pace + 20_000, Event::Drain(id, lives, stream));
        }
    }

    pub(super) fn drain(&mut self, id: MemberId, lives: u64, stream: StreamId) {
        let way = self.client_chance.between(100_000, 800_000);
        let Some(member) = self.members.get_mut(&id).filter(|it| it.lives == lives) else {
            return;
        };
        if self.now < member.paused_until {
            let until = member.paused_until;
            self.plan_at(until, Event::Drain(id, lives, stream));
            return;
        }
        let Some(life) = &mut member.life else {
            return;
        };
        let term = life.term;
        let Some(at_member) = life.streams.get_mut(&stream) else {
            return;
        };
        at_member.draining = false;
        let Some(reply) = at_member.queue.borrow_mut().replies.pop_front() else {
            return;
        };
        let header = pb::ResponseHeader {
            cluster_id: 0xC1,
            member_id: id.0,
            revision: 0,
            raft_term: term,
        };
        let at = cairn_history::Time(self.now.0 + way).max(at_member.not_before);
        at_member.not_before = at;
        let (client, streams) = (at_member.client, at_member.streams);
        for response in reply.into_responses(header, RESPONSE_BYTES_MAX) {
            let bytes = Bytes::from(response.encode_to_vec());
            let Ok(heard) = pb::WatchResponse::decode(bytes) else {
                continue;
            };
            self.plan_at(at, Event::Hear(client, streams, Box::new(Heard(heard))));
        }
        self.drain_streams(id);
    }

    pub(super) fn hear(&mut self, id: ClientId, streams: u64, heard: &Heard) {
        let now = self.now;
        let Some(watcher) = self
            .watchers
            .get_mut(&id)
            .filter(|it| it.streams == streams)
        else {
            return;
        };
        let Some(open) = watcher.open else {
            return;
        };
        let response = WatchResponse::from_wire(now, &heard.0);
        self.trace.note(
            now,
            format_args!("{id} hears on {}: {response:?}", open.watch),
        );
        match &response.says {
            WatchSays::Created => {
                watcher.next = watcher.next.or_else(|| Some(response.revision.next()));
            }
            WatchSays::Events { events, fragment } => {
                if let Some(last) = events.last().filter(|_| !fragment) {
                    watcher.next = Some(last.kv.mod_revision.next());
                }
            }
            WatchSays::Progress => {
                watcher.next = watcher.next.max(Some(response.revision.next()));
                watcher.told = watcher.told.max(response.revision);
            }
            WatchSays::Canceled { compacted, .. } => {
                watcher.next = compacted.or(watcher.next);
                let response_of = open.watch;
                self.history.hear(response_of, response);
                self.lost(id, streams);
                return;
            }
        }
        self.newest = self.newest.max(response.revision.0);
        self.history.hear(open.watch, response);
    }

    /// A watcher learns that its stream is lost, and looks for another member.
    pub(super) fn lost(&mut self, id: ClientId, streams: u64) {
        let other = self.any_member();
        let pause = self.client_chance.between(10, 300) * MILLI;
        let Some(watcher) = self
            .watchers
            .get_mut(&id)
            .filter(|it| it.streams == streams)
        else {
            return;
        };
        let from = watcher.member;
        watcher.member = other;
        watcher.streams += 1;
        let streams = watcher.streams;
        if let Some(open) = watcher.open.take() {
            self.history.hear_no_more(open.watch, self.now);
            let life = self.members.get_mut(&from).and_then(|it| it.life.as_mut());
            if let (Some(life), Some(stream)) = (life, open.stream) {
                life.hub.close_stream(stream);
                life.streams.remove(&stream);
            }
        }
        self.plan(pause, Event::Subscribe(id, streams));
    }

    pub(super) fn disconnect(&mut self, id: ClientId) {
        if let Some(watcher) = self.watchers.get(&id) {
            self.lost(id, watcher.streams);
        }
    }

    /// Watchers of those who were removed, and may never hear of it, give up.
    pub(super) fn disconnect_from_others(&mut self, members: &[MemberId]) {
        let astray = self
            .watchers
            .iter()
            .filter(|(_, it)| !members.contains(&it.member));
        for client in astray.map(|(client, _)| *client).collect::<Vec<_>>() {
            self.disconnect(client);
        }
    }

    /// All streams of a member that is gone are lost.
    pub(super) fn lose_streams(&mut self, id: MemberId) {
        let lost: Vec<_> = self
            .watchers
            .iter()
            .filter(|(_, it)| it.member == id && it.open.is_some_and(|open| open.stream.is_some()))
            .map(|(client, it)| (*client, it.streams))
            .collect();
        for (client, streams) in lost {
            let way = self.client_chance.between(100_000, 800_000);
            self.plan(way, Event::Lost(client, streams));
        }
    }

    pub(super) fn ask_progress(&mut self, id: ClientId) {
        let Some(watcher) = self.watchers.get(&id) else {
            return;
        };
        let (member, stream) = (watcher.member, watcher.open.and_then(|open| open.stream));
        let life = self
            .members
            .get_mut(&member)
            .and_then(|it| it.life.as_mut());
        if let (Some(life), Some(stream)) = (life, stream) {
            life.hub.request_progress(stream);
            self.drain_streams(member);
        }
    }

    /// Watchers that do not know yet all that happened up to `current`.
    pub(super) fn behind(&self, current: i64) -> Vec<ClientId> {
        self.watchers
            .iter()
            .filter(|(_, it)| it.told.0 < current || it.open.is_none())
            .filter(|(_, it)| !it.waits_for_the_future(current))
            .map(|(id, _)| *id)
            .collect()
    }

    fn current_stream(&self, id: ClientId, streams: u64) -> Option<&Watcher> {
        self.watchers.get(&id).filter(|it| it.streams == streams)
    }
}
