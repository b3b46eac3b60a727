//! Answers to clients who ask how far their stream is.
//!
//! An answer covers all that was acknowledged to anybody before the client asked: the present revision is
//! asked for first, and the answer waits until every feed of the stream has passed it. What a feed has
//! brought up to there is in the client's queue before the answer is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cairn_proto::etcdserverpb::{ResponseHeader, WatchResponse};
use tokio::time::Instant;

use super::hub::Hub;
use super::outlet::Outlet;
use super::watcher::Watcher;

/// How often a feed is asked that has not answered: a watcher that catches up gets no answer.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How long a client is kept in mind that has no answer; it asks again.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Answers a client who has these watchers.
pub(super) async fn answer(
    hub: Hub,
    watchers: Arc<parking_lot::Mutex<BTreeMap<i64, Arc<Watcher>>>>,
    outlet: Outlet,
) {
    let until = Instant::now() + ANSWER_MAX;
    let asked: Vec<_> = watchers.lock().values().cloned().collect();
    let Some(first) = asked.first() else {
        return;
    };
    let Ok(present) = hub.present(&first.class).await else {
        return;
    };
    let mut covered = i64::MAX;
    for watcher in &asked {
        match passed(watcher, present.revision, until).await {
            Some(Passed::At(revision)) => covered = covered.min(revision),
            Some(Passed::Ended) => {}
            None => return,
        }
    }
    if covered == i64::MAX {
        return;
    }
    let is_early = asked
        .iter()
        .any(|watcher| watcher.asked_from.is_some_and(|from| from > covered));
    if !is_early {
        outlet.send(&WatchResponse {
            header: Some(ResponseHeader {
                revision: covered,
                ..present
            }),
            watch_id: -1,
            ..WatchResponse::default()
        });
    }
}

enum Passed {
    At(i64),
    Ended,
}

/// Returns when all events of a watcher up to `revision` are in its client's queue.
async fn passed(watcher: &Arc<Watcher>, revision: i64, until: Instant) -> Option<Passed> {
    while Instant::now() < until {
        if watcher.has_ended() {
            return Some(Passed::Ended);
        }
        let Some(feed) = watcher.feed() else {
            // It is behind.
            tokio::time::sleep(ASK_AGAIN).await;
            continue;
        };
        let mut progress = feed.progress();
        let reached = *progress.borrow_and_update();
        if reached >= revision {
            // Only if it has been of this feed all along is it as far.
            let is_same = watcher.feed().is_some_and(|now| Arc::ptr_eq(&now, &feed));
            if is_same {
                return Some(Passed::At(reached));
            }
            continue;
        }
        feed.ask_progress();
        let _ = tokio::time::timeout(ASK_AGAIN, progress.changed()).await;
    }
    None
}
