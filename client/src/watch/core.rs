//! The watches of one gRPC stream, as a state machine without I/O.
//!
//! A watch is asked for from a revision, `next`; whatever happens to streams, it is asked for again
//! from there. It moves only past what was handed over whole: the last revision of an answer whose
//! fragments are all there, or a revision that the server says nothing is missing up to.
//!
//! Invariants, checked against a history in tests:
//! 1. What is handed over for a watch has revisions at or above its `next`, and moves it past them.
//! 2. A watch is known to the stream by one number at a time; numbers are never used again on a
//!    stream, so that an answer that was on its way when a watch was cancelled finds nobody.
//! 3. A watch that is paused is unknown to the stream and holds nothing here.

use std::collections::BTreeMap;

use bytes::Bytes;
use cairn_proto::etcdserverpb as pb;
use pb::watch_request::RequestUnion;

use super::answer::Answer;
use super::event::{Event, Update};
use crate::error::{Error, ServerError};
use crate::etcd_error::{Code, EtcdError};
use crate::keys::Keys;
use crate::revision::Revision;

/// A watch, as long as its consumer has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WatchKey(pub(crate) u64);

/// What a watch was asked to be.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// With the namespace.
    pub(crate) keys: Keys,
    pub(crate) namespace: Bytes,
    pub(crate) from: Option<Revision>,
    pub(crate) with_previous: bool,
    pub(crate) without_puts: bool,
    pub(crate) without_deletes: bool,
    /// Whether the consumer wants to hear of progress.
    pub(crate) with_progress: bool,
}

/// What happened to a watch.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    /// The server has it: everything after the revision will be told.
    Created(Revision),
    Update(Update),
    /// It ended, and cannot be continued.
    Failed(Error),
}

/// What becomes of something that is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acceptance {
    Taken,
    /// The consumer has enough: the watch is paused, and what was handed over is dropped.
    Full,
}

/// Who consumes.
pub(crate) trait Sink {
    /// Hands something over. Only events may be refused.
    fn accept(&mut self, watch: WatchKey, output: Output) -> Acceptance;
}

#[derive(Debug)]
struct Watched {
    spec: Spec,
    /// Where it goes on; unknown as long as it is to begin with "now" and the server has not said
    /// when that is.
    next: Option<Revision>,
    place: Place,
    /// Events of an answer whose last fragment is yet to come.
    fragments: Vec<Event>,
    has_begun: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// There is no stream, or the watch is not asked for yet.
    Apart,
    /// On the stream, by this number.
    Streamed(i64),
    Paused,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Core {
    watches: BTreeMap<WatchKey, Watched>,
    by_number: BTreeMap<i64, WatchKey>,
    is_open: bool,
    number_next: i64,
    /// The watches of the stream must be asked for again on another: its token is no longer good.
    needs_token: bool,
}

impl Core {
    pub(crate) fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    /// Whether the server refused the token that the stream was opened with.
    pub(crate) fn needs_token(&self) -> bool {
        self.needs_token
    }

    /// Adds a watch; returns what to send.
    pub(crate) fn add(&mut self, key: WatchKey, spec: Spec) -> Option<pb::WatchRequest> {
        let watched = Watched {
            next: spec.from,
            spec,
            place: Place::Apart,
            fragments: Vec::new(),
            has_begun: false,
        };
        self.watches.insert(key, watched);
        self.ask(key)
    }

    /// Ends a watch; returns what to send.
    pub(crate) fn remove(&mut self, key: WatchKey) -> Option<pb::WatchRequest> {
        let watched = self.watches.remove(&key)?;
        self.leave(watched.place)
    }

    /// Goes on with a watch that was paused; returns what to send.
    pub(crate) fn resume(&mut self, key: WatchKey) -> Option<pb::WatchRequest> {
        let watched = self.watches.get_mut(&key)?;
        if watched.place != Place::Paused {
            return None;
        }
        watched.place = Place::Apart;
        self.ask(key)
    }

    /// A stream was opened; returns what to send on it.
    pub(crate) fn opened(&mut self) -> Vec<pb::WatchRequest> {
        self.is_open = true;
        self.number_next = 0;
        self.needs_token = false;
        let keys: Vec<WatchKey> = self.watches.keys().copied().collect();
        keys.into_iter().filter_map(|key| self.ask(key)).collect()
    }

    /// The stream is gone.
    pub(crate) fn lost(&mut self) {
        self.is_open = false;
        self.by_number.clear();
        for watched in self.watches.values_mut() {
            watched.fragments = Vec::new();
            if let Place::Streamed(_) = watched.place {
                watched.place = Place::Apart;
            }
        }
    }

    /// Ends all watches with an error.
    pub(crate) fn fail_all(&mut self, error: &Error, sink: &mut impl Sink) {
        for key in std::mem::take(&mut self.watches).into_keys() {
            sink.accept(key, Output::Failed(error.clone()));
        }
        self.by_number.clear();
    }

    /// The server sent something; returns what to send.
    pub(crate) fn received(
        &mut self,
        answer: Answer,
        sink: &mut impl Sink,
    ) -> Option<pb::WatchRequest> {
        let revision = answer.revision;
        if answer.watch_id == PROGRESS_OF_ALL && !answer.created && !answer.canceled {
            if let Some(revision) = revision {
                self.progress_of_all(revision, sink);
            }
            return None;
        }
        // An answer to a watch that was cancelled meanwhile finds nobody.
        let key = self.by_number.get(&answer.watch_id).copied();
        let key = key.or_else(|| self.refused_at_once(&answer));
        let key = key?;
        if answer.canceled {
            self.cancelled(key, answer, sink)
        } else if answer.created {
            self.created(key, revision, sink);
            None
        } else {
            self.told(key, answer, sink)
        }
    }

    /// etcd refuses some watches under number -1: which one is known if only one is open to that.
    /// The first that was asked for and not answered is it, as requests are answered in order.
    fn refused_at_once(&self, answer: &Answer) -> Option<WatchKey> {
        if !(answer.canceled && answer.created && answer.watch_id == PROGRESS_OF_ALL) {
            return None;
        }
        let waiting = self.by_number.values().copied();
        let mut waiting = waiting.filter(|key| {
            self.watches
                .get(key)
                .is_some_and(|watched| !watched.has_begun)
        });
        waiting.next()
    }

    /// Asks for a watch, if there is a stream and the watch is to be on it.
    fn ask(&mut self, key: WatchKey) -> Option<pb::WatchRequest> {
        let watched = self.watches.get_mut(&key)?;
        if !self.is_open || watched.place != Place::Apart {
            return None;
        }
        self.number_next += 1;
        let number = self.number_next;
        watched.place = Place::Streamed(number);
        watched.has_begun = false;
        self.by_number.insert(number, key);
        Some(create_request(watched, number))
    }

    fn leave(&mut self, place: Place) -> Option<pb::WatchRequest> {
        let Place::Streamed(number) = place else {
            return None;
        };
        self.by_number.remove(&number);
        Some(pb::WatchRequest {
            request_union: Some(RequestUnion::CancelRequest(pb::WatchCancelRequest {
                watch_id: number,
            })),
        })
    }

    fn created(&mut self, key: WatchKey, revision: Option<Revision>, sink: &mut impl Sink) {
        let Some(watched) = self.watches.get_mut(&key) else {
            return;
        };
        watched.has_begun = true;
        let Some(revision) = revision else { return };
        // The header's revision was read before the watch began: all that is later is told.
        let from = *watched.next.get_or_insert_with(|| revision.next());
        sink.accept(
            key,
            Output::Created(from.previous().unwrap_or(Revision::FIRST)),
        );
    }

    /// Events, or word that there are none.
    fn told(
        &mut self,
        key: WatchKey,
        answer: Answer,
        sink: &mut impl Sink,
    ) -> Option<pb::WatchRequest> {
        let watched = self.watches.get_mut(&key)?;
        if let Some(error) = answer.broken {
            sink.accept(key, Output::Failed(error));
            return self.remove(key);
        }
        if answer.events.is_empty() && watched.fragments.is_empty() && !answer.fragment {
            if let Some(revision) = answer.revision {
                watched.progress(key, revision, sink);
            }
            return None;
        }
        if watched.fragments.is_empty() {
            watched.fragments = answer.events;
        } else {
            watched.fragments.extend(answer.events);
        }
        if answer.fragment {
            return None;
        }
        let events = std::mem::take(&mut watched.fragments);
        match watched.hand_over(key, events, sink) {
            Ok(Acceptance::Taken) => None,
            Ok(Acceptance::Full) => {
                let place = std::mem::replace(&mut watched.place, Place::Paused);
                self.leave(place)
            }
            Err(error) => {
                sink.accept(key, Output::Failed(error));
                self.remove(key)
            }
        }
    }

    fn progress_of_all(&mut self, revision: Revision, sink: &mut impl Sink) {
        for key in self.by_number.values() {
            if let Some(watched) = self.watches.get_mut(key)
                && watched.has_begun
            {
                // Servers before 3.4.25 and 3.5.8 say so too early, so that nothing may be
                // left out because of it: the consumer is told, and `next` stays.
                let is_news = watched.next.is_some_and(|next| next <= revision.next());
                if watched.spec.with_progress && is_news {
                    sink.accept(*key, Output::Update(Update::Progress(revision)));
                }
            }
        }
    }

    fn cancelled(
        &mut self,
        key: WatchKey,
        answer: Answer,
        sink: &mut impl Sink,
    ) -> Option<pb::WatchRequest> {
        let watched = self.watches.get_mut(&key)?;
        if let Place::Streamed(number) = watched.place {
            self.by_number.remove(&number);
        }
        watched.place = Place::Apart;
        watched.fragments = Vec::new();
        let reason = answer.cancel_reason;
        let output = match Revision::new(answer.compact_revision) {
            Some(compacted) => Output::Update(Update::Compacted(compacted)),
            None if is_about_token(&reason) => {
                // Another stream, with another token, will have it.
                self.needs_token = true;
                return None;
            }
            // Before it began: refused. Later: a server that is leaving.
            None if watched.has_begun && reason.is_empty() => return self.ask(key),
            None => Output::Failed(refusal(&reason).into()),
        };
        self.watches.remove(&key);
        sink.accept(key, output);
        None
    }
}

/// The number under which etcd sends what belongs to no watch, or to all.
const PROGRESS_OF_ALL: i64 = -1;

fn is_about_token(reason: &str) -> bool {
    [EtcdError::InvalidAuthToken, EtcdError::AuthOldRevision]
        .iter()
        .any(|error| reason.contains(error.text().trim_start_matches("etcdserver: ")))
}

/// A server's reason for ending a watch; etcd writes gRPC's words before its own.
fn refusal(reason: &str) -> ServerError {
    let text = reason
        .rsplit_once("desc = ")
        .map_or(reason, |(_, text)| text);
    let code = EtcdError::from_text(text).map_or(Code::Cancelled, EtcdError::code);
    let text = if text.is_empty() {
        "the server refused the watch"
    } else {
        text
    };
    ServerError::new(code, text.to_owned())
}

fn create_request(watched: &Watched, number: i64) -> pb::WatchRequest {
    let spec = &watched.spec;
    let mut filters = Vec::new();
    if spec.without_puts {
        filters.push(pb::watch_create_request::FilterType::Noput.into());
    }
    if spec.without_deletes {
        filters.push(pb::watch_create_request::FilterType::Nodelete.into());
    }
    pb::WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(pb::WatchCreateRequest {
            key: spec.keys.key.clone(),
            range_end: spec.keys.end.clone(),
            start_revision: watched.next.map_or(0, Revision::get),
            // Keeps `next` near the present where nothing happens, so that a compaction of the
            // past does not meet it.
            progress_notify: true,
            filters,
            prev_kv: spec.with_previous,
            watch_id: number,
            fragment: true,
        })),
    }
}

impl Watched {
    fn progress(&mut self, key: WatchKey, revision: Revision, sink: &mut impl Sink) {
        // That nothing came is news, too; what is yet to come is none of a watch of the future.
        let is_news = self.next.is_none_or(|next| next <= revision.next());
        if !is_news {
            return;
        }
        self.next = Some(revision.next());
        if self.spec.with_progress {
            sink.accept(key, Output::Update(Update::Progress(revision)));
        }
    }

    /// Hands over what was not handed over before.
    fn hand_over(
        &mut self,
        key: WatchKey,
        mut events: Vec<Event>,
        sink: &mut impl Sink,
    ) -> Result<Acceptance, Error> {
        if let Some(next) = self.next {
            events.retain(|event| event.revision() >= next);
        }
        if !self.spec.namespace.is_empty() {
            for event in &mut events {
                event.strip(&self.spec.namespace)?;
            }
        }
        let Some(revision) = events.last().map(Event::revision) else {
            return Ok(Acceptance::Taken);
        };
        let update = Update::Events { events, revision };
        let acceptance = sink.accept(key, Output::Update(update));
        if acceptance == Acceptance::Taken {
            self.next = Some(revision.next());
        }
        Ok(acceptance)
    }
}

#[cfg(test)]
mod tests;
