//! The stream that watches share: opened while there is a watch, and again when it is lost.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cairn_proto::etcdserverpb as pb;
use parking_lot::Mutex;
use pb::watch_request::RequestUnion;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;
use tracing::Instrument as _;

use super::core::{Acceptance, Core, Output, Sink, Spec, WatchKey};
use super::event::Update;
use super::queue::Queue;
use super::way::Way;
use crate::balance::{EndpointId, retry};
use crate::client::{Client, StreamPlace};
use crate::error::Error;
use crate::transport::CallFailure;

/// How long to wait before members are tried again, when none took the stream.
const PAUSE: Duration = Duration::from_millis(100);

/// The streams of a client: one for calls to any endpoint, and one for each that was named.
#[derive(Debug, Default)]
pub(crate) struct Hubs {
    hubs: Mutex<BTreeMap<Option<EndpointId>, Arc<Hub>>>,
}

impl Hubs {
    pub(crate) fn of(&self, only: Option<EndpointId>) -> Arc<Hub> {
        Arc::clone(self.hubs.lock().entry(only).or_default())
    }
}

/// A stream and the task that drives it, which is there while there are watches.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    state: Mutex<State>,
    /// A server has answered on the stream that is open.
    is_connected: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    key_next: u64,
    /// To the task. Each watch sends a bounded number of commands that wait.
    commands: Option<UnboundedSender<Command>>,
}

#[derive(Debug)]
enum Command {
    Add(WatchKey, Spec, Arc<Queue>),
    Remove(WatchKey),
    Resume(WatchKey),
    RequestProgress,
}

impl Hub {
    pub(super) fn add(
        self: &Arc<Self>,
        client: &Client,
        spec: Spec,
        queue: Arc<Queue>,
    ) -> WatchKey {
        let mut state = self.state.lock();
        let key = WatchKey(state.key_next);
        state.key_next += 1;
        // A task ends with its runtime; the client may be used in another.
        state.commands.take_if(|commands| commands.is_closed());
        let commands = state.commands.get_or_insert_with(|| {
            let (commands, receiver) = unbounded_channel();
            let driver = Driver {
                client: client.clone(),
                hub: Arc::clone(self),
                core: Core::default(),
                queues: Queues::default(),
                commands: receiver,
            };
            let span = tracing::debug_span!(parent: None, "etcd_watches");
            tokio::spawn(driver.run().instrument(span));
            commands
        });
        // Its receiver goes under the lock, with the sender, or with the runtime.
        let _ = commands.send(Command::Add(key, spec, queue));
        key
    }

    pub(super) fn remove(&self, key: WatchKey) {
        self.send(Command::Remove(key));
    }

    pub(super) fn resume(&self, key: WatchKey) {
        self.send(Command::Resume(key));
    }

    /// Whether a server is being heard.
    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Relaxed)
    }

    pub(crate) fn request_progress(&self) {
        self.send(Command::RequestProgress);
    }

    fn send(&self, command: Command) {
        if let Some(commands) = &self.state.lock().commands {
            let _ = commands.send(command);
        }
    }
}

/// The queues of the watches.
#[derive(Default)]
struct Queues(HashMap<WatchKey, Arc<Queue>>);

impl Sink for Queues {
    fn accept(&mut self, watch: WatchKey, output: Output) -> Acceptance {
        let Some(queue) = self.0.get(&watch) else {
            return Acceptance::Taken;
        };
        let is_last = matches!(
            output,
            Output::Failed(_) | Output::Update(Update::Compacted(_))
        );
        let acceptance = queue.push(output);
        if is_last {
            self.0.remove(&watch);
        }
        acceptance
    }
}

impl Drop for Queues {
    /// Who waits hears that nobody serves the watch any more.
    fn drop(&mut self) {
        for queue in self.0.values() {
            let reason = "the runtime in which watches are served has ended".to_owned();
            queue.push(Output::Failed(Error::Unavailable { reason }));
        }
    }
}

struct Driver {
    client: Client,
    hub: Arc<Hub>,
    core: Core,
    queues: Queues,
    commands: UnboundedReceiver<Command>,
}

/// Why a stream is no longer served.
enum End {
    /// Nobody watches.
    Idle,
    /// The server refuses its token.
    Token,
    Lost(CallFailure),
}

/// What the streams before have come to.
#[derive(Default)]
struct Past {
    failed: u32,
    avoided: Vec<EndpointId>,
}

impl Driver {
    async fn run(mut self) {
        let mut past = Past::default();
        loop {
            while let Ok(command) = self.commands.try_recv() {
                self.apply(command);
            }
            if self.core.is_empty() {
                if self.retire() {
                    return;
                }
                continue;
            }
            match Way::open(&self.client, &past.avoided).await {
                Ok((way, place)) => {
                    let serving = async move {
                        let served = self.serve(way).await;
                        (self, served)
                    };
                    let served = match &place.attacher {
                        Some(attacher) => attacher.run(serving.in_current_span()).await,
                        None => Some(serving.await),
                    };
                    // That task ends before its time with the runtime alone.
                    let Some((driver, (end, has_answered))) = served else {
                        return;
                    };
                    self = driver;
                    self.hub.is_connected.store(false, Ordering::Relaxed);
                    self.core.lost();
                    if has_answered {
                        past = Past::default();
                    }
                    self.after(end, &place, &mut past).await;
                }
                Err(Error::Unavailable { reason }) => {
                    tracing::warn!(reason, "watches wait for a member");
                    past.avoided.clear();
                    sleep(PAUSE).await;
                }
                Err(error) => self.core.fail_all(&error, &mut self.queues),
            }
        }
    }

    /// Ends the task, if no watch came meanwhile.
    fn retire(&mut self) -> bool {
        let mut state = self.hub.state.lock();
        let retires = self.commands.is_empty();
        if retires {
            state.commands = None;
        }
        retires
    }

    async fn after(&mut self, end: End, place: &StreamPlace, past: &mut Past) {
        match end {
            End::Idle => return,
            End::Token => self.client.refuse_token(place),
            End::Lost(failure) => {
                tracing::debug!(%failure, "the watch stream was lost");
                if let Err(error) = self.client.stream_failed(place, &failure)
                    && is_final(&error)
                {
                    self.core.fail_all(&error, &mut self.queues);
                    return;
                }
                past.avoided.push(place.id);
            }
        }
        past.failed = past.failed.saturating_add(1);
        let wait = retry::wait_after(past.failed, self.client.endpoint_count());
        if wait > Duration::ZERO {
            past.avoided.clear();
            sleep(wait).await;
        }
    }

    /// Serves one stream to its end; also returns whether the server ever answered.
    async fn serve(&mut self, mut way: Way) -> (End, bool) {
        let mut has_answered = false;
        for request in self.core.opened() {
            if let Err(failure) = way.send(&request).await {
                return (End::Lost(failure), has_answered);
            }
        }
        loop {
            let to_send = tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.apply(command),
                    None => return (End::Idle, has_answered),
                },
                answer = way.next() => match answer {
                    Ok(Some(answer)) => {
                        if !has_answered {
                            has_answered = true;
                            self.hub.is_connected.store(true, Ordering::Relaxed);
                        }
                        self.core.received(answer, &mut self.queues)
                    }
                    Ok(None) => {
                        let failure = CallFailure::Lost("the server ended the stream".to_owned());
                        return (End::Lost(failure), has_answered);
                    }
                    Err(failure) => return (End::Lost(failure), has_answered),
                },
            };
            if let Some(request) = to_send
                && let Err(failure) = way.send(&request).await
            {
                return (End::Lost(failure), has_answered);
            }
            if self.core.needs_token() {
                return (End::Token, has_answered);
            }
            if self.core.is_empty() && self.commands.is_empty() {
                return (End::Idle, has_answered);
            }
        }
    }

    fn apply(&mut self, command: Command) -> Option<pb::WatchRequest> {
        match command {
            Command::Add(key, spec, queue) => {
                self.queues.0.insert(key, queue);
                self.core.add(key, spec)
            }
            Command::Remove(key) => {
                self.queues.0.remove(&key);
                self.core.remove(key)
            }
            Command::Resume(key) => self.core.resume(key),
            Command::RequestProgress => Some(pb::WatchRequest {
                request_union: Some(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})),
            }),
        }
    }
}

/// Whether another stream would fare no better.
fn is_final(error: &Error) -> bool {
    use crate::etcd_error::Code;
    matches!(
        error.code(),
        Some(
            Code::PermissionDenied
                | Code::Unauthenticated
                | Code::Unimplemented
                | Code::InvalidArgument
        )
    )
}
