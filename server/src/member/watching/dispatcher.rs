//! The dispatcher's thread and how others reach it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use cairn_index::Revision;
use cairn_mvcc::{Change, Store};
use cairn_watch::{
    CatchUp, Hub, HubCounts, SinkBudget, StreamId, WatchId, WatchReply, WatchRequest,
};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, never, select};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::sink::{Queue, QueueSink};
use super::stream::{self, WatchAsks, WatchReplies};
use super::waking::{Gathering, wake_here};
use crate::logging::Chain;
use crate::member::V2;

/// Batches of changes that may wait. A batch is what one batch of the apply thread wrote; past this,
/// reading the store is cheaper than holding more.
const CHANGE_BATCHES_MAX: usize = 1024;
/// Requests of clients that may wait.
const REQUESTS_MAX: usize = 4096;
/// How often streams that were full are looked at again.
const VICTIM_RETRY: Duration = Duration::from_millis(5);
/// How long to wait before the store is read again after it could not be.
const READ_RETRY: Duration = Duration::from_millis(100);
/// How long a task waits when the queue of requests is full.
const REQUEST_RETRY: Duration = Duration::from_millis(1);

/// What clients ask of the hub.
pub(super) enum Request {
    Open(StreamId, QueueSink),
    Create(StreamId, Box<WatchRequest>),
    Refuse(StreamId, cairn_watch::WatchRefusal),
    Cancel(StreamId, WatchId),
    Progress(StreamId),
    ProgressTick(StreamId),
    Close(StreamId),
}

/// A question how far a stream is, which waits for a revision.
struct Question {
    from: Revision,
    stream: StreamId,
    kind: ProgressKind,
}

#[derive(Clone, Copy)]
enum ProgressKind {
    /// The client asks.
    Asked,
    /// An interval has ended.
    Periodic,
}

/// What the apply thread and the API hold of the dispatcher.
#[derive(Clone)]
pub(crate) struct WatchHandle {
    changes: Sender<Vec<Change>>,
    requests: Sender<Request>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    next_stream: AtomicU64,
    /// Whether changes were dropped since the dispatcher last looked.
    dropped: AtomicBool,
    counts: Mutex<HubCounts>,
    /// Events in the queues of all streams.
    pending_events: Arc<AtomicUsize>,
}

impl WatchHandle {
    /// Hands on what a batch of entries changed. Never waits.
    pub(crate) fn publish(&self, changes: Vec<Change>) {
        if let Err(TrySendError::Full(_)) = self.changes.try_send(changes) {
            self.shared.dropped.store(true, Ordering::Release);
            tracing::debug!("watchers are behind: they will read the store");
        }
    }

    /// Says that the store has changed without a list of what: watchers read it. Never waits.
    pub(crate) fn skip(&self) {
        self.shared.dropped.store(true, Ordering::Release);
        // A full queue wakes the dispatcher anyway.
        let _ = self.changes.try_send(Vec::new());
    }

    /// Opens a stream for a client.
    pub(crate) async fn open(&self) -> (WatchAsks, WatchReplies) {
        let id = StreamId::new(self.shared.next_stream.fetch_add(1, Ordering::Relaxed));
        let budget = Arc::new(SinkBudget::default());
        let (replies, queue) = mpsc::unbounded_channel::<WatchReply>();
        let pending = &self.shared.pending_events;
        let sink = QueueSink {
            replies,
            pending: Arc::clone(pending),
            budget: Arc::clone(&budget),
        };
        self.send(Request::Open(id, sink)).await;
        let queue = Queue::new(queue, Arc::clone(pending));
        stream::open(id, queue, budget, self.clone())
    }

    /// A task that must run on each thread that has streams, so that the dispatcher wakes their tasks
    /// together. It never ends.
    pub(crate) fn wake_tasks() -> impl Future<Output = ()> + Send {
        wake_here()
    }

    /// How many events wait for clients to take them.
    pub(crate) fn pending_events(&self) -> usize {
        self.shared.pending_events.load(Ordering::Relaxed)
    }

    /// How many streams and watchers there are.
    pub(crate) fn counts(&self) -> HubCounts {
        *self.shared.counts.lock()
    }

    pub(super) async fn send(&self, mut request: Request) {
        loop {
            match self.requests.try_send(request) {
                // A dispatcher that is gone has closed all streams.
                Ok(()) | Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(refused)) => request = refused,
            }
            tokio::time::sleep(REQUEST_RETRY).await;
        }
    }

    /// Closes a stream whose task is gone, from a destructor, which cannot wait.
    pub(super) fn close(&self, stream: StreamId) {
        let close = Request::Close(stream);
        if let Err(TrySendError::Full(close)) = self.requests.try_send(close) {
            let requests = self.requests.clone();
            // Rare, and bounded by the number of streams.
            let closer = thread::Builder::new().name("watch-close".to_owned());
            let _ = closer.spawn(move || requests.send(close));
        }
    }
}

/// The dispatcher's thread. It ends when every [`WatchHandle`] is gone.
pub(crate) struct Dispatcher {
    store: Store,
    hub: Hub<Store, QueueSink>,
    /// Questions how far a stream is, until the hub is as far as the store was when they came: what a
    /// client is told must not be older than what another was acknowledged.
    questions: VecDeque<Question>,
    changes: Receiver<Vec<Change>>,
    requests: Receiver<Request>,
    shared: Arc<Shared>,
    /// Who waits for keys of the second API.
    v2: Arc<V2>,
}

impl Dispatcher {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system's, if it refuses a thread.
    pub(crate) fn start(
        store: Store,
        v2: Arc<V2>,
    ) -> io::Result<(WatchHandle, thread::JoinHandle<()>)> {
        let (change_sender, changes) = bounded(CHANGE_BATCHES_MAX);
        let (request_sender, requests) = bounded(REQUESTS_MAX);
        let shared = Arc::new(Shared::default());
        let handle = WatchHandle {
            changes: change_sender,
            requests: request_sender,
            shared: Arc::clone(&shared),
        };
        let observed = store.current();
        let hub = Hub::new(store.clone(), observed);
        let dispatcher = Self {
            store,
            hub,
            questions: VecDeque::new(),
            changes,
            requests,
            shared,
            v2,
        };
        let thread = thread::Builder::new().name("watch".to_owned());
        Ok((handle, thread.spawn(move || dispatcher.run())?))
    }

    fn run(mut self) {
        let gathering = Gathering::begin();
        let mut wait = None;
        loop {
            // With nothing to catch up, sleep until something comes.
            let timeout = wait.map_or_else(never, crossbeam_channel::after);
            select! {
                recv(self.changes) -> changes => match changes {
                    Ok(changes) => self.notify(&changes),
                    Err(_) => return,
                },
                recv(self.requests) -> request => match request {
                    Ok(request) => self.answer(request),
                    Err(_) => return,
                },
                recv(timeout) -> _ => {}
            }
            gathering.send();
            self.drain(&gathering);
            wait = self.carry_on();
            self.answer_questions();
            gathering.send();
            *self.shared.counts.lock() = self.hub.counts();
        }
    }

    /// Takes what else waits, changes first: they are what clients wait for.
    fn drain(&mut self, gathering: &Gathering) {
        const REQUESTS_IN_A_ROW: usize = 256;

        for _ in 0..REQUESTS_IN_A_ROW {
            while let Ok(changes) = self.changes.try_recv() {
                self.notify(&changes);
                gathering.send();
            }
            match self.requests.try_recv() {
                Ok(request) => self.answer(request),
                Err(_) => return,
            }
        }
    }

    fn notify(&mut self, changes: &[Change]) {
        if let Err(error) = self.v2.notify(&self.store, changes) {
            let error = Chain(&error);
            tracing::error!(%error, "an event of the v2 keys cannot be read");
        }
        for changes in changes.chunk_by(|one, other| one.at.main == other.at.main) {
            let Some(first) = changes.first() else {
                continue;
            };
            let revision = first.at.main;
            self.skip_gap(revision);
            if let Err(error) = self.hub.notify(revision, changes) {
                let error = Chain(&error);
                tracing::warn!(%error, "an event's previous value could not be read");
            }
        }
    }

    /// Batches that the queue had no room for leave a gap before the next one.
    fn skip_gap(&mut self, revision: Revision) {
        if let Some(before) = revision.previous()
            && self.hub.observed() < before
        {
            self.hub.skip_to(before);
        }
    }

    fn answer(&mut self, request: Request) {
        match request {
            Request::Open(stream, sink) => self.hub.open_stream(stream, sink),
            // The hub has told the client of a refusal.
            Request::Create(stream, request) => drop(self.hub.watch(stream, *request)),
            Request::Refuse(stream, refusal) => self.hub.refuse(stream, refusal),
            Request::Cancel(stream, watch) => self.hub.cancel(stream, watch),
            Request::Progress(stream) => self.ask(stream, ProgressKind::Asked),
            Request::ProgressTick(stream) => self.ask(stream, ProgressKind::Periodic),
            Request::Close(stream) => self.hub.close_stream(stream),
        }
    }

    /// What the store has published is on its way to the hub, or was dropped and is caught up with.
    fn ask(&mut self, stream: StreamId, kind: ProgressKind) {
        if self.questions.len() >= REQUESTS_MAX {
            // Whoever gets no answer asks again.
            return;
        }
        self.questions.push_back(Question {
            from: self.store.current(),
            stream,
            kind,
        });
        self.answer_questions();
    }

    /// Answers in the order in which was asked, which is that of the revisions.
    fn answer_questions(&mut self) {
        let observed = self.hub.observed();
        while let Some(question) = self.questions.pop_front_if(|it| it.from <= observed) {
            match question.kind {
                ProgressKind::Asked => self.hub.request_progress(question.stream),
                ProgressKind::Periodic => self.hub.progress_tick(question.stream),
            }
        }
    }

    /// A piece of catching up. Returns when to come back if nothing else happens.
    fn carry_on(&mut self) -> Option<Duration> {
        if self.hub.counts().victims > 0 {
            self.hub.retry_victims();
        }
        // Dropped changes with nothing behind them would leave no gap to be seen.
        if self.shared.dropped.swap(false, Ordering::Acquire) {
            self.hub.skip_to(self.store.current());
            if let Err(error) = self.v2.skip(&self.store) {
                let error = Chain(&error);
                tracing::error!(%error, "the events of the v2 keys cannot be read");
            }
        }
        let synced = self.hub.sync_step();
        // A step makes victims of those whose client does not keep up.
        let has_victims = self.hub.counts().victims > 0;
        match synced {
            Ok(CatchUp::More) => Some(Duration::ZERO),
            Ok(CatchUp::Done) if has_victims => Some(VICTIM_RETRY),
            Ok(CatchUp::Done) => None,
            Err(error) => {
                let error = Chain(&error);
                tracing::warn!(%error, "watchers cannot read the store");
                Some(READ_RETRY)
            }
        }
    }
}
