//! A hub, its history and its clients, moved one step at a time.

use std::collections::{BTreeMap, VecDeque};

use cairn_index::Revision;
use cairn_mvcc::Change;
use cairn_watch::{CatchUp, History, Hub, StreamId, WatchId, WatchRequest};

use crate::client::{Client, Expected, Queue};
use crate::past::{Fault, Past, Write};

pub(crate) type Verdict = Result<(), String>;

/// Whether streams' queues lose what they took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queues {
    Sound,
    Lossy,
}

/// The world.
pub(crate) struct World {
    pub(crate) past: Past,
    pub(crate) hub: Hub<Past, Queue>,
    pub(crate) clients: BTreeMap<StreamId, Client>,
    queues: Queues,
    /// What the hub was not told of yet.
    pending: VecDeque<News>,
}

/// What the hub is to be told.
#[derive(Debug)]
enum News {
    /// The changes of a revision.
    Revision(Revision, Vec<Change>),
    /// A snapshot has brought the store to a revision.
    Installed(Revision),
}

impl World {
    pub(crate) fn new(fault: Fault, queues: Queues) -> Self {
        let past = Past::new(fault);
        let hub = Hub::new(past.clone(), past.current());
        Self {
            past,
            hub,
            clients: BTreeMap::new(),
            queues,
            pending: VecDeque::new(),
        }
    }

    pub(crate) fn open(&mut self, stream: StreamId, capacity: usize) {
        let queue = Queue::new(capacity, self.queues == Queues::Lossy);
        self.hub.open_stream(stream, queue.clone());
        self.clients
            .insert(stream, Client::new(self.past.clone(), queue));
    }

    pub(crate) fn close(&mut self, stream: StreamId) {
        self.hub.close_stream(stream);
        self.clients.remove(&stream);
    }

    pub(crate) fn write(&mut self, writes: &[Write]) {
        let changes = self.past.write(writes);
        if !changes.is_empty() {
            let news = News::Revision(self.past.current(), changes);
            self.pending.push_back(news);
        }
    }

    /// A snapshot takes the store some transactions further at once, with a compaction perhaps. The
    /// hub is told after what waits already.
    pub(crate) fn install(&mut self, transactions: &[Vec<Write>], compact: Option<Revision>) {
        for writes in transactions {
            self.past.write(writes);
        }
        if let Some(at) = compact {
            self.past.compact(at.min(self.past.current()));
        }
        let news = News::Installed(self.past.current());
        self.pending.push_back(news);
    }

    /// Tells the hub of one revision or installation.
    pub(crate) fn feed(&mut self) -> bool {
        match self.pending.pop_front() {
            None => return false,
            Some(News::Revision(revision, changes)) => self
                .hub
                .notify(revision, &changes)
                .expect("this history can be read"),
            Some(News::Installed(revision)) => self.hub.skip_to(revision),
        }
        true
    }

    /// The dispatcher's queue was full: the hub is not told of what waits, nor of this late.
    pub(crate) fn skip(&mut self) {
        self.hub.skip_to(self.past.current());
        let late = self.pending.pop_back();
        self.pending.clear();
        self.pending.extend(late);
    }

    pub(crate) fn watch(&mut self, stream: StreamId, request: WatchRequest) -> Option<WatchId> {
        let current = self.past.current();
        let client = self.clients.get_mut(&stream)?;
        match self.hub.watch(stream, request.clone()) {
            Ok(id) => {
                client.ids.insert(id);
                client
                    .expected
                    .push_back(Expected::Created(id, request, current));
                Some(id)
            }
            Err(refusal) => {
                client
                    .expected
                    .push_back(Expected::Refused(refusal.to_string()));
                None
            }
        }
    }

    /// Cancels a watcher. An id that is not in use has no answer.
    pub(crate) fn cancel(&mut self, stream: StreamId, id: WatchId) {
        self.hub.cancel(stream, id);
        if let Some(client) = self.clients.get_mut(&stream)
            && client.ids.remove(&id)
        {
            client.expected.push_back(Expected::Canceled(id));
        }
    }

    pub(crate) fn read(&mut self, stream: StreamId, replies: usize) -> Verdict {
        let Some(client) = self.clients.get_mut(&stream) else {
            return Ok(());
        };
        for _ in 0..replies {
            if !client.read()? {
                break;
            }
        }
        Ok(())
    }

    pub(crate) fn sync_step(&mut self) -> CatchUp {
        self.hub.sync_step().expect("this history can be read")
    }

    /// Lets everything settle, then checks that everybody has everything and is told so if he asks.
    pub(crate) fn settle(&mut self) -> Verdict {
        while self.feed() {}
        self.catch_up()?;
        let streams: Vec<StreamId> = self.clients.keys().copied().collect();
        for stream in streams {
            let client = &self.clients[&stream];
            client.check_complete()?;
            let before = client.progress_replies;
            let due = usize::from(client.live() > 0 && client.all_started());
            self.hub.request_progress(stream);
            self.read(stream, usize::MAX)?;
            if self.clients[&stream].progress_replies != before + due {
                return Err("a progress request of a settled stream has one answer".to_owned());
            }
        }
        Ok(())
    }

    /// Reads all streams and catches up until nobody is behind.
    pub(crate) fn catch_up(&mut self) -> Verdict {
        for _ in 0..10_000 {
            let streams: Vec<StreamId> = self.clients.keys().copied().collect();
            for stream in streams {
                self.read(stream, usize::MAX)?;
            }
            self.hub.retry_victims();
            if self.sync_step() == CatchUp::Done && self.hub.counts().victims == 0 {
                let streams: Vec<StreamId> = self.clients.keys().copied().collect();
                return streams
                    .into_iter()
                    .try_for_each(|stream| self.read(stream, usize::MAX));
            }
        }
        Err("somebody never catches up".to_owned())
    }
}
