//! A watch upstream, for all who joined it.

use std::sync::Arc;
use std::time::Duration;

use cairn_proto::etcdserverpb as pb;
use cairn_proto::etcdserverpb::watch_client::WatchClient;
use cairn_proto::etcdserverpb::watch_request::RequestUnion;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::class::Class;
use super::hub::Hub;
use super::watcher::{Delivered, Watcher};

/// How long to wait before a watch is made anew.
const AGAIN_MIN: Duration = Duration::from_millis(20);
const AGAIN_MAX: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Feed {
    class: Class,
    state: Mutex<State>,
    /// Somebody wants to know how far it is.
    asked: Notify,
    /// Somebody has left.
    left: Notify,
    /// All events up to this revision have been handed on.
    progress: watch::Sender<i64>,
}

/// Invariants:
/// 1. Events of revisions below `next` will not come any more; all others will.
/// 2. Whoever is in `watchers` has a `next` that is not below what this `next` was when it joined.
struct State {
    next: i64,
    watchers: Vec<Arc<Watcher>>,
    has_ended: bool,
}

/// Why a watch upstream is over.
enum Over {
    /// It can be made anew.
    Broken(String),
    /// Everybody is told.
    Canceled(Box<pb::WatchResponse>),
    /// Everybody's call ends.
    Refused(Status),
    /// Nobody is left.
    Unwatched,
}

impl Feed {
    pub(super) fn new(class: Class, next: i64) -> Arc<Self> {
        Arc::new(Self {
            class,
            state: Mutex::new(State {
                next,
                watchers: Vec::new(),
                has_ended: false,
            }),
            asked: Notify::new(),
            left: Notify::new(),
            progress: watch::channel(0).0,
        })
    }

    /// Lets a watcher in, unless it needs what the feed has brought already.
    pub(super) fn join(self: &Arc<Self>, watcher: &Arc<Watcher>) -> bool {
        let mut state = self.state.lock();
        if state.has_ended || state.next > watcher.next() {
            return false;
        }
        watcher.set_feed(Some(Arc::clone(self)));
        state.watchers.push(Arc::clone(watcher));
        true
    }

    /// Somebody has ended.
    pub(super) fn leave(&self) {
        self.left.notify_one();
    }

    pub(super) fn watchers(&self) -> usize {
        self.state.lock().watchers.len()
    }

    /// Asks upstream how far it is.
    pub(super) fn ask_progress(&self) {
        self.asked.notify_one();
    }

    /// How far it is, and when that changes.
    pub(super) fn progress(&self) -> watch::Receiver<i64> {
        self.progress.subscribe()
    }

    /// Watches until nobody is left.
    pub(super) async fn run(self: Arc<Self>, hub: Hub) {
        let mut wait = AGAIN_MIN;
        loop {
            let before = self.state.lock().next;
            let over = self.watch(&hub).await;
            match over {
                Over::Broken(why) => {
                    tracing::debug!(why, "a watch upstream broke: it goes on where it was");
                }
                Over::Canceled(end) => {
                    for watcher in self.end() {
                        watcher.tell_end(&end);
                    }
                    break;
                }
                Over::Refused(status) => {
                    for watcher in self.end() {
                        watcher.end();
                        watcher.outlet.end(status.clone());
                    }
                    break;
                }
                Over::Unwatched => break,
            }
            wait = if self.state.lock().next > before {
                AGAIN_MIN
            } else {
                (wait * 2).min(AGAIN_MAX)
            };
            tokio::time::sleep(wait).await;
            if self.is_unwatched() {
                break;
            }
        }
        hub.forget(&self.class, &self);
    }

    fn end(&self) -> Vec<Arc<Watcher>> {
        let mut state = self.state.lock();
        state.has_ended = true;
        std::mem::take(&mut state.watchers)
    }

    /// Whether nobody is left; nobody can join after that.
    fn is_unwatched(&self) -> bool {
        let mut state = self.state.lock();
        state.watchers.retain(|watcher| !watcher.has_ended());
        state.has_ended |= state.watchers.is_empty();
        state.has_ended
    }

    async fn watch(self: &Arc<Self>, hub: &Hub) -> Over {
        let (requests, receiver) = mpsc::channel(4);
        let from = self.state.lock().next;
        let create = RequestUnion::CreateRequest(self.class.create(from));
        if requests.try_send(request(create)).is_err() {
            return Over::Broken("no room for a request".to_owned());
        }
        let call = self.class.credentials.call(ReceiverStream::new(receiver));
        let mut client =
            WatchClient::new(hub.relay().clone()).max_decoding_message_size(usize::MAX);
        let mut answers = tokio::select! {
            opened = client.watch(call) => match opened {
                Ok(answers) => answers.into_inner(),
                Err(status) => return over(status),
            },
            () = self.unwatched() => return Over::Unwatched,
        };
        loop {
            tokio::select! {
                answer = next(&mut answers) => match answer {
                    Ok(answer) => {
                        if let Some(over) = self.take(hub, answer) {
                            return over;
                        }
                    }
                    Err(status) => return over(status),
                },
                () = self.asked.notified() => {
                    let progress = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
                    // A full queue asks already.
                    let _ = requests.try_send(request(progress));
                }
                () = self.unwatched() => return Over::Unwatched,
            }
        }
    }

    async fn unwatched(&self) {
        while !self.is_unwatched() {
            self.left.notified().await;
        }
    }

    /// Hands an answer on; why the watch is over, if it is.
    fn take(&self, hub: &Hub, answer: pb::WatchResponse) -> Option<Over> {
        if answer.canceled {
            return Some(Over::Canceled(Box::new(answer)));
        }
        if !answer.events.is_empty() {
            self.deliver(hub, &answer);
            return None;
        }
        let told = answer.header.as_ref().map_or(0, |header| header.revision);
        if !answer.created {
            let mut state = self.state.lock();
            state.next = state.next.max(told + 1);
            for watcher in &state.watchers {
                // An answer to one who asked is that one's alone.
                if answer.watch_id >= 0 {
                    watcher.tell_progress(answer.header, told);
                }
            }
            drop(state);
            self.progress.send_if_modified(|progress| {
                let has_grown = told > *progress;
                *progress = told.max(*progress);
                has_grown
            });
        }
        None
    }

    fn deliver(&self, hub: &Hub, answer: &pb::WatchResponse) {
        let mut events = answer.events.clone();
        for event in &mut events {
            for kv in event.kv.iter_mut().chain(&mut event.prev_kv) {
                hub.namespace().shown(kv);
            }
        }
        let mut lagging = Vec::new();
        let mut state = self.state.lock();
        let before = state.watchers.len();
        state
            .watchers
            .retain(|watcher| match watcher.deliver(answer.header, &events) {
                Delivered::Queued => true,
                Delivered::Ended => false,
                Delivered::Full => {
                    watcher.set_feed(None);
                    lagging.push(Arc::clone(watcher));
                    false
                }
            });
        if let Some(kv) = answer.events.last().and_then(|event| event.kv.as_ref()) {
            state.next = state.next.max(kv.mod_revision + 1);
        }
        let is_unwatched = state.watchers.is_empty();
        drop(state);
        hub.count_events(before.saturating_sub(1) * events.len());
        for watcher in lagging {
            hub.come_back(watcher);
        }
        if is_unwatched {
            self.leave();
        }
    }
}

async fn next(answers: &mut Streaming<pb::WatchResponse>) -> Result<pb::WatchResponse, Status> {
    let answer = answers.message().await?;
    answer.ok_or_else(|| Status::unavailable("the watch ended"))
}

/// What an error says: whether there is any use in asking again.
fn over(status: Status) -> Over {
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled
            if !status.message().contains("no leader") =>
        {
            Over::Broken(status.to_string())
        }
        _ => Over::Refused(status),
    }
}

fn request(union: RequestUnion) -> pb::WatchRequest {
    pb::WatchRequest {
        request_union: Some(union),
    }
}
