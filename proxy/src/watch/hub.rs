//! All feeds, and who joins which.

use std::collections::HashMap;
use std::sync::Arc;

use cairn_proto::etcdserverpb as pb;
use cairn_proto::etcdserverpb::kv_client::KvClient;
use parking_lot::Mutex;
use tonic::Status;

use super::class::Class;
use super::feed::Feed;
use super::watcher::Watcher;
use crate::metrics::Metrics;
use crate::namespace::Namespace;
use crate::relay::Relay;

/// A handle; clones are the same hub.
#[derive(Clone)]
pub(crate) struct Hub(Arc<Shared>);

struct Shared {
    relay: Relay,
    namespace: Namespace,
    metrics: Arc<Metrics>,
    feeds: Mutex<HashMap<Class, Vec<Arc<Feed>>>>,
}

impl Hub {
    pub(crate) fn new(relay: Relay, namespace: Namespace, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Shared {
            relay,
            namespace,
            metrics,
            feeds: Mutex::default(),
        }))
    }

    pub(super) fn relay(&self) -> &Relay {
        &self.0.relay
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// The header of a read that begins after this is called, by whoever the class is of: the present
    /// revision, and that he may read there.
    ///
    /// # Errors
    ///
    /// The cluster's.
    pub(super) async fn present(&self, class: &Class) -> Result<pb::ResponseHeader, Status> {
        // Where there are users, the whole range says whether it may be watched.
        let is_anonymous = class.credentials.is_anonymous();
        let range = pb::RangeRequest {
            key: class.key.clone(),
            range_end: if is_anonymous {
                "".into()
            } else {
                class.range_end.clone()
            },
            limit: 1,
            keys_only: true,
            ..pb::RangeRequest::default()
        };
        let mut kv = KvClient::new(self.0.relay.clone());
        let answer = kv.range(class.credentials.call(range)).await?;
        let header = answer.into_inner().header;
        header.ok_or_else(|| Status::unavailable("an answer without a header"))
    }

    /// Lets a watcher hear all events from its next revision on.
    pub(super) fn join(&self, watcher: &Arc<Watcher>) {
        let mut feeds = self.0.feeds.lock();
        let equal = feeds.entry(watcher.class.clone()).or_default();
        if !equal.iter().any(|feed| feed.join(watcher)) {
            let feed = Feed::new(watcher.class.clone(), watcher.next());
            feed.join(watcher);
            equal.push(Arc::clone(&feed));
            tokio::spawn(feed.run(self.clone()));
        }
        self.count(&feeds);
    }

    /// Lets a watcher join again when its client has read what waits for it.
    pub(super) fn come_back(&self, watcher: Arc<Watcher>) {
        let hub = self.clone();
        tokio::spawn(async move {
            watcher.outlet.drained().await;
            if !watcher.has_ended() {
                hub.join(&watcher);
            }
        });
    }

    /// A feed is over.
    pub(super) fn forget(&self, class: &Class, feed: &Arc<Feed>) {
        let mut feeds = self.0.feeds.lock();
        if let Some(equal) = feeds.get_mut(class) {
            equal.retain(|other| !Arc::ptr_eq(other, feed));
            if equal.is_empty() {
                feeds.remove(class);
            }
        }
        self.count(&feeds);
    }

    pub(super) fn count_events(&self, saved: usize) {
        self.0.metrics.events_coalescing.inc_by(saved as u64);
    }

    fn count(&self, feeds: &HashMap<Class, Vec<Arc<Feed>>>) {
        let shared = feeds.values().flatten();
        let shared: usize = shared.map(|feed| feed.watchers().saturating_sub(1)).sum();
        let shared = i64::try_from(shared).unwrap_or(i64::MAX);
        self.0.metrics.watchers_coalescing.set(shared);
    }
}
