//! The time of the second API's nodes: the leader looks twice a second whether one has expired.
//!
//! Only then is there a log entry; what it ends is decided when it is applied.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_mvcc::Store;
use cairn_replica::apply::Outcome;
use cairn_replica::consensus::Proposal;
use cairn_replica::log_request::LogRequest;
use cairn_replica::request_ids::RequestIds;
use cairn_v2::Request as V2Request;
use crossbeam_channel::Sender;
use tokio::sync::oneshot;

use super::consensus_thread::{ConsensusInput, Request};
use super::lease_keeper::LeaseTasks;
use super::progress::Progress;
use super::reply::Reply;
use super::v2;
use crate::logging::Chain;
use crate::member::error::Error;

/// How often to look; etcd's time.
const INTERVAL: Duration = Duration::from_millis(500);

/// Looks for what has expired.
pub(super) struct V2Expiry {
    /// Where the deadlines are.
    store: Store,
    /// The way into the log.
    consensus: Sender<ConsensusInput>,
    /// Whether this member leads.
    progress: Arc<Progress>,
    /// Numbers for its requests.
    request_ids: Arc<RequestIds>,
    /// When it looked last.
    looked: Option<Instant>,
    /// What it proposed, until it knows what became of it.
    under_way: Option<oneshot::Receiver<Result<Outcome, Error>>>,
}

impl V2Expiry {
    pub(super) fn new(tasks: &LeaseTasks) -> Self {
        Self {
            store: tasks.store.clone(),
            consensus: tasks.consensus.clone(),
            progress: Arc::clone(&tasks.progress),
            request_ids: Arc::clone(&tasks.request_ids),
            looked: None,
            under_way: None,
        }
    }

    /// Proposes to end what has expired, if it is time to look, this member leads, and the last such
    /// request is answered.
    pub(super) fn look(&mut self) {
        if let Some(answer) = &mut self.under_way {
            if matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
                return;
            }
            self.under_way = None;
            // There may be more than one request ends.
            self.looked = None;
        }
        let is_time = self
            .looked
            .is_none_or(|looked| looked.elapsed() >= INTERVAL);
        if !is_time || !self.progress.role().leads() {
            return;
        }
        self.looked = Some(Instant::now());
        let now = v2::now();
        match cairn_v2::due(&self.store, now) {
            Ok(false) => {}
            Ok(true) => self.propose(&V2Request::sync(now)),
            Err(error) => {
                let error = Chain(&error);
                tracing::warn!(%error, "cannot look what has expired of the v2 keys");
            }
        }
    }

    fn propose(&mut self, sync: &V2Request) {
        let id = self.request_ids.next();
        let data = LogRequest::V2(Box::new(sync.clone())).encode(id, None);
        let (reply, answer) = Reply::channel();
        let request = Request {
            id,
            proposal: Proposal::Request(data),
            reply,
        };
        let sent = self.consensus.try_send(ConsensusInput::Propose(request));
        if sent.is_ok() {
            self.under_way = Some(answer);
        }
    }
}
