//! A watch as its consumer sees it.

use std::future::{IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::timeout;
use tokio_stream::Stream;

use super::core::{Spec, WatchKey};
use super::event::Update;
use super::hub::Hub;
use super::queue::Queue;
use crate::client::Client;
use crate::error::Error;
use crate::keys::Keys;
use crate::revision::Revision;
use crate::unfold::BoxFuture;

/// What a watch may hold for its consumer, unless told otherwise.
const QUEUE_BYTES: usize = 4 << 20;

/// A watch that is to begin; awaited, a [`Watch`].
#[derive(Clone, Debug)]
#[must_use = "a watch begins when it is awaited"]
pub struct WatchRequest {
    client: Client,
    spec: Spec,
    queue_bytes: usize,
}

/// A stream of [`Update`]s that goes on whatever happens to connections and members: it resumes
/// after the last change that it told, on whatever member answers, without a gap and without telling
/// anything twice.
///
/// It ends after [`Update::Compacted`], or with an error that no repetition would mend (a
/// permission that is missing). Dropping it ends it at the server. All watches of a client share
/// one gRPC stream; a consumer that is slow holds up no other and bounded memory.
#[derive(Debug)]
pub struct Watch {
    queue: Arc<Queue>,
    hub: Arc<Hub>,
    key: WatchKey,
    begun_after: Revision,
}

impl WatchRequest {
    pub(super) fn new(client: Client, keys: &Keys) -> Self {
        let namespace = client.namespace_prefix().clone();
        Self {
            spec: Spec {
                keys: keys.within(&namespace),
                namespace,
                from: None,
                with_previous: false,
                without_puts: false,
                without_deletes: false,
                with_progress: false,
            },
            client,
            queue_bytes: QUEUE_BYTES,
        }
    }

    /// Begins with the changes of this revision, which may be past or to come. Without it, what
    /// changes after the watch has begun is told.
    pub fn from(mut self, revision: Revision) -> Self {
        self.spec.from = Some(revision);
        self
    }

    /// Tells the version before each change, too.
    pub fn previous(mut self) -> Self {
        self.spec.with_previous = true;
        self
    }

    /// Tells from time to time up to where nothing is missing ([`Update::Progress`]), also where
    /// nothing happens: every ten minutes with etcd's defaults, and when [`Watch::request_progress`]
    /// asks.
    pub fn progress(mut self) -> Self {
        self.spec.with_progress = true;
        self
    }

    /// Leaves deletions out.
    pub fn puts_only(mut self) -> Self {
        self.spec.without_deletes = true;
        self
    }

    /// Leaves writes out.
    pub fn deletes_only(mut self) -> Self {
        self.spec.without_puts = true;
        self
    }

    /// How much is held for the consumer before the watch pauses, in bytes. 4 MiB by default.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }
}

impl IntoFuture for WatchRequest {
    type Output = Result<Watch, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let queue = Arc::new(Queue::new(self.queue_bytes));
            let hub = self.client.hub();
            let key = hub.add(&self.client, self.spec, Arc::clone(&queue));
            // From here on, dropping it ends the watch.
            let mut watch = Watch {
                queue,
                hub,
                key,
                begun_after: Revision::FIRST,
            };
            let begun = poll_fn(|cx| watch.queue.poll_created(cx));
            watch.begun_after = match timeout(self.client.request_timeout(), begun).await {
                Ok(begun) => begun?,
                Err(_) => {
                    let reason = "no member began the watch in time".to_owned();
                    return Err(Error::Unavailable { reason });
                }
            };
            Ok(watch)
        })
    }
}

impl Watch {
    /// The revision after which every change is told.
    #[must_use]
    pub fn begun_after(&self) -> Revision {
        self.begun_after
    }

    /// The next update; `None` after the end. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Update, Error>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Whether a server is being heard; if not, it goes on when there is one.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.hub.is_connected()
    }

    /// Asks the server up to where nothing is missing; the answer is an [`Update::Progress`] of
    /// every watch that was made with [`WatchRequest::progress`]. Servers older than 3.4.25 and
    /// 3.5.8 may answer with a revision whose changes are still to come.
    pub fn request_progress(&self) {
        self.hub.request_progress();
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Update, Error>>> {
        let taken = ready!(self.queue.poll_take(cx));
        if taken.resumes {
            self.hub.resume(self.key);
        }
        Poll::Ready(taken.item)
    }
}

impl Stream for Watch {
    type Item = Result<Update, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hub.remove(self.key);
    }
}
