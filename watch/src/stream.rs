//! A client's stream: its sink, and the watchers that share it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use cairn_index::Revision;
use cairn_proto::stored::EncodedEvent;

use crate::event::EventList;
use crate::reply::{ReplyKind, WatchReply};
use crate::sink::{Full, Sink};
use crate::watcher::{WatchId, WatcherKey};

/// The name of a stream, given by whoever opens it and never twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

impl StreamId {
    /// The id with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// The name of a stream in its hub: its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamKey(pub(crate) usize);

/// What became of a reply that the client did not ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The sink took it.
    Taken,
    /// The sink is full.
    Refused,
}

/// A stream.
#[derive(Debug)]
pub(crate) struct Stream<S> {
    sink: S,
    /// The ids in use. An id without a watcher is one whose watcher ended by compaction: it stays
    /// taken until the client cancels it.
    pub(crate) ids: BTreeMap<WatchId, Option<WatcherKey>>,
    next_id: i64,
    /// Whether the sink was full, and nothing more is tried until it has room again.
    pub(crate) blocked: bool,
    pub(crate) victims: BTreeSet<WatcherKey>,
    /// The events of the last reply, to count them once when many replies share them. Weak, so that
    /// an idle stream keeps no events alive.
    last_events: Option<Weak<[EncodedEvent]>>,
}

impl<S: Sink> Stream<S> {
    pub(crate) const fn new(sink: S) -> Self {
        Self {
            sink,
            ids: BTreeMap::new(),
            next_id: 0,
            blocked: false,
            victims: BTreeSet::new(),
            last_events: None,
        }
    }

    /// The next id that is free, from 0 up; those that clients chose are passed over.
    pub(crate) fn take_free_id(&mut self) -> WatchId {
        while self.ids.contains_key(&WatchId::new(self.next_id)) {
            self.next_id += 1;
        }
        let id = WatchId::new(self.next_id);
        self.next_id += 1;
        id
    }

    pub(crate) fn answer(&mut self, revision: Revision, kind: ReplyKind) {
        self.sink.answer(WatchReply::new(revision, kind));
    }

    /// Sends what the client did not ask for. A sink that is full once is not tried again before it
    /// has room: that keeps a watcher's place in one hand. Progress that finds no room is given up
    /// and blocks nothing, for nobody would be behind who had the stream looked at again.
    pub(crate) fn send(&mut self, revision: Revision, kind: ReplyKind) -> Sent {
        if self.blocked {
            return Sent::Refused;
        }
        let owed = !matches!(kind, ReplyKind::Progress { .. });
        let reply = match &kind {
            ReplyKind::Events { events, .. } if self.shares_last(events) => {
                WatchReply::sharing_events(revision, kind)
            }
            ReplyKind::Events { events, .. } => {
                self.last_events = Some(Arc::downgrade(events));
                WatchReply::new(revision, kind)
            }
            _ => WatchReply::new(revision, kind),
        };
        match self.sink.try_send(reply) {
            Ok(()) => Sent::Taken,
            Err(Full) => {
                self.blocked = owed;
                self.last_events = None;
                Sent::Refused
            }
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.sink.has_room()
    }

    fn shares_last(&self, events: &EventList) -> bool {
        // The allocation of a `Weak` is not reused while it lives, so equal addresses are equal lists.
        let address = Arc::as_ptr(events).cast::<EncodedEvent>();
        self.last_events
            .as_ref()
            .is_some_and(|last| last.as_ptr().cast::<EncodedEvent>() == address)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sink::REPLY_OVERHEAD_BYTES;
    use crate::watcher::Fragments;

    /// Remembers what each reply weighed, and has room for so many.
    struct Scales {
        weights: Vec<usize>,
        capacity: usize,
    }

    impl Sink for Scales {
        fn try_send(&mut self, reply: WatchReply) -> Result<(), Full> {
            if self.weights.len() == self.capacity {
                return Err(Full);
            }
            self.answer(reply);
            Ok(())
        }

        fn answer(&mut self, reply: WatchReply) {
            self.weights.push(reply.weight());
        }

        fn has_room(&self) -> bool {
            self.weights.len() < self.capacity
        }
    }

    fn events(list: &EventList) -> ReplyKind {
        let (watch, fragments) = (WatchId::new(0), Fragments::Refused);
        ReplyKind::Events {
            watch,
            events: list.clone(),
            fragments,
        }
    }

    #[test]
    fn events_that_a_stream_gets_many_times_in_a_row_weigh_once() {
        let mut stream = Stream::new(Scales {
            weights: Vec::new(),
            capacity: 6,
        });
        let [one, other] =
            [100, 200].map(|len| EventList::from([EncodedEvent(Bytes::from(vec![0; len]))]));
        for list in [&one, &one, &one, &other, &one] {
            assert_eq!(stream.send(Revision::FIRST, events(list)), Sent::Taken);
        }
        let own = REPLY_OVERHEAD_BYTES;
        let with = |list: &EventList| own + size_of::<EncodedEvent>() + list[0].0.len();
        assert_eq!(
            stream.sink.weights,
            [with(&one), own, own, with(&other), with(&one)]
        );
    }

    #[test]
    fn a_sink_that_was_full_is_left_alone_until_it_has_room() {
        let mut stream = Stream::new(Scales {
            weights: Vec::new(),
            capacity: 1,
        });
        let list = EventList::from([EncodedEvent(Bytes::new())]);
        assert_eq!(stream.send(Revision::FIRST, events(&list)), Sent::Taken);
        assert_eq!(stream.send(Revision::FIRST, events(&list)), Sent::Refused);
        stream.sink.capacity = 2;
        assert_eq!(stream.send(Revision::FIRST, events(&list)), Sent::Refused);
        assert!(stream.has_room() && stream.blocked);
        // Answers pass by: the client asked for them.
        stream.answer(
            Revision::FIRST,
            ReplyKind::Canceled {
                watch: WatchId::new(0),
            },
        );
        assert_eq!(stream.sink.weights.len(), 2);
    }

    #[test]
    fn progress_that_finds_no_room_does_not_block_the_stream() {
        let mut stream = Stream::new(Scales {
            weights: Vec::new(),
            capacity: 1,
        });
        let progress = || ReplyKind::Progress { watch: None };
        assert_eq!(stream.send(Revision::FIRST, progress()), Sent::Taken);
        assert_eq!(stream.send(Revision::FIRST, progress()), Sent::Refused);
        stream.sink.capacity = 2;
        assert_eq!(stream.send(Revision::FIRST, progress()), Sent::Taken);
    }
}
