//! Consistent lists from a cache, as an API server of Kubernetes makes them: how long until the cache
//! is known to be as new as the store was when the list began.
//!
//! The cache asks for the store's revision, and then for its watch's progress; if the answer is older
//! than that revision, it asks again 100 ms later (`k8s.io/apiserver`, `progressRequestPeriod`).

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use cairn_proto::etcdserverpb::{
    PutRequest, RangeRequest, RangeResponse, WatchCreateRequest, WatchProgressRequest,
    WatchRequest, WatchResponse, watch_request::RequestUnion,
};
use prost::Message;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::connection::{Connection, Method, ReplyStream};
use crate::endpoint::Endpoint;
use crate::framing::frame;
use crate::latencies::{Latencies, LatencySummary};
use crate::progress::Progress;

/// How long a cache waits until it asks for progress again.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// The longest that a list may wait.
const LIST_MAX: Duration = Duration::from_secs(60);

/// One cache that is listed again and again, while others write what it does not hold.
#[derive(Clone, Copy, Debug)]
pub struct ConsistentLists {
    /// The server.
    pub endpoint: Endpoint,
    /// Clients that put, each as fast as it is answered.
    pub writers: usize,
    /// Not measured.
    pub warm_up: Duration,
    /// Measured.
    pub measure: Duration,
}

impl ConsistentLists {
    /// Runs it; how long the lists waited.
    ///
    /// # Errors
    ///
    /// If a request fails or the watch ends.
    pub fn run(&self, name: &str, progress: Progress) -> Result<LatencySummary> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        LocalSet::new().block_on(&runtime, self.run_local(name, progress))
    }

    async fn run_local(&self, name: &str, progress: Progress) -> Result<LatencySummary> {
        for number in 0..self.writers {
            let connection = Connection::open(self.endpoint).await?;
            tokio::task::spawn_local(write(connection, number));
        }
        let mut reader = Connection::open(self.endpoint).await?;
        let (mut requests, replies) = Connection::open(self.endpoint)
            .await?
            .stream(Method::Watch)
            .await?;
        requests.send(watch_request(RequestUnion::CreateRequest(
            WatchCreateRequest {
                key: Bytes::from_static(b"listed/"),
                range_end: Bytes::from_static(b"listed0"),
                ..WatchCreateRequest::default()
            },
        )))?;
        let cache = Rc::new(Cache::default());
        let fed = Rc::clone(&cache);
        tokio::task::spawn_local(async move {
            // Its end is seen by the lists, which wait in vain.
            drop(fed.feed(replies.begin().await?).await);
            anyhow::Ok(())
        });
        let read = frame(&RangeRequest {
            key: Bytes::from_static(b"listed/"),
            limit: 1,
            ..RangeRequest::default()
        });
        let ask = watch_request(RequestUnion::ProgressRequest(WatchProgressRequest {}));
        let bar = progress.bar(name);
        let (start, mut waited) = (Instant::now(), Latencies::new());
        let whole = self.warm_up + self.measure;
        while start.elapsed() < whole {
            bar.show(start.elapsed().as_secs_f64() / whole.as_secs_f64());
            let began = Instant::now();
            let answer = reader.fetch(Method::Range, read.clone()).await?;
            let revision = revision(&answer)?;
            while cache.revision.get() < revision {
                if began.elapsed() > LIST_MAX {
                    bail!("the watch does not reach revision {revision}");
                }
                requests.send(ask.clone())?;
                // It may be older: then the cache asks again.
                drop(tokio::time::timeout(ASK_AGAIN, cache.reach(revision)).await);
            }
            if start.elapsed() > self.warm_up {
                waited.record(began.elapsed());
            }
        }
        Ok(waited.summary())
    }
}

/// What a watch has said.
#[derive(Default)]
struct Cache {
    /// Up to which revision all is there.
    revision: Cell<i64>,
    changed: Notify,
}

impl Cache {
    async fn feed(&self, mut replies: ReplyStream) -> Result<()> {
        while let Some(message) = replies.next().await? {
            let response = WatchResponse::decode(message)?;
            let header = response.header.context("a response without a header")?;
            // What else comes says nothing of what is missing.
            let is_progress = response.events.is_empty() && !response.created;
            if is_progress && header.revision > self.revision.get() {
                self.revision.set(header.revision);
                self.changed.notify_one();
            }
        }
        bail!("the server ended the watch")
    }

    async fn reach(&self, revision: i64) {
        while self.revision.get() < revision {
            self.changed.notified().await;
        }
    }
}

/// Puts without end, until the connection does.
async fn write(mut connection: Connection, number: usize) -> Result<()> {
    let put = frame(&PutRequest {
        key: format!("written/{number}").into(),
        value: Bytes::from_static(&[b'v'; 256]),
        ..PutRequest::default()
    });
    loop {
        connection.call(Method::Put, put.clone()).await?;
    }
}

fn watch_request(request: RequestUnion) -> Bytes {
    frame(&WatchRequest {
        request_union: Some(request),
    })
}

fn revision(answer: &[Bytes]) -> Result<i64> {
    let message = answer.first().context("no answer")?;
    let header = RangeResponse::decode(message.clone())?.header;
    Ok(header.context("an answer without a header")?.revision)
}
