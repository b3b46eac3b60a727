//! A member of the cluster, as its API sees it: what to ask, and the threads that answer.
//!
//! ```text
//! API ─── proposals ──► consensus thread ── committed entries ──► apply thread ──► replies
//!   │                     (raft; a thread writes its log)          (store's write side)
//!   └── reads ──► the store's snapshots                                  │ changes
//!                                                                   watch dispatcher
//! ```

mod access;
mod append_stats;
mod apply_thread;
pub(crate) mod auth;
mod auto_compaction;
mod backup;
mod consensus_thread;
mod corruption;
mod disk_space;
mod downgrade;
pub(crate) mod error;
mod housekeeping;
pub(crate) mod inbox;
mod leadership;
mod lease_keeper;
mod leases;
mod log_thread;
mod peer_activity;
mod progress;
mod reconfiguration;
mod refusals;
mod reply;
mod serving;
mod transport;
mod v2;
mod v2_expiry;
mod version_monitor;
mod wall_clock;
pub(crate) mod watching;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use cairn_auth::{AuthError, AuthInfo};
use cairn_consensus::Identity;
use cairn_index::Revision;
use cairn_mvcc::{CompactionPoint, RangeScan, ReadError, Store};
use cairn_proto::etcdserverpb::ResponseHeader;
use cairn_proto::stored::{self, EncodedKvsBuilder};
use crossbeam_channel::{Sender, TrySendError};
use tokio::sync::oneshot;

pub(crate) use append_stats::{AppendStats, FlowStats};
pub(crate) use apply_thread::ApplyThread;
pub(crate) use backup::{Backup, BackupParts};
pub(crate) use consensus_thread::{ConsensusInput, ConsensusThread, Request};
pub(crate) use disk_space::DiskSpace;
pub(crate) use downgrade::MinorVersion;
pub(crate) use housekeeping::{Housekeeper, Housekeeping, Tasks};
pub(crate) use lease_keeper::{LeaseKeeper, LeaseKeeping, LeaseTasks};
pub(crate) use leases::{LeaderAnswer, LeaderQuestion};
pub(crate) use log_thread::{LogHandle, LogThread};
pub(crate) use peer_activity::PeerActivity;
pub(crate) use progress::{Progress, Role};
pub(crate) use reconfiguration::Reconfiguration;
pub(crate) use refusals::Refusals;
pub(crate) use reply::{Reply, ReplyQueues};
pub(crate) use serving::Serving;
pub(crate) use transport::{NotConnected, PeerClient, Transport};
pub(crate) use v2::{V2, V2Error, Waiting, now as v2_now};

use crate::logging::Chain;
use crate::member::auth::{Auth, Caller, Permit};
use crate::member::error::{Error, MaintenanceError, ProposeError};
use crate::member::watching::WatchHandle;
use crate::metrics::Metrics;
use crate::settings::Quota;
use cairn_replica::alarms::{Alarm, Alarms};
use cairn_replica::apply::{Outcome, SnapshotReader, txn};
use cairn_replica::consensus::Proposal;
use cairn_replica::error::ApplyError;
use cairn_replica::log_request::{LogEntry, LogRequest};
use cairn_replica::membership::Membership;
use cairn_replica::request::{Range, RequestError, Txn};
use cairn_replica::request_ids::{RequestId, RequestIds};

/// Entries that may be committed and not applied before new requests are refused; etcd's number.
const APPLY_LAG_MAX: u64 = 5000;
/// Bytes of requests that may be under way: what the log writes in a second or so.
const IN_FLIGHT_BYTES_MAX: usize = 256 << 20;

/// How long a read may wait for its index before it counts as slow; etcd asks again after that.
const READ_INDEX_SLOW: Duration = Duration::from_millis(500);

/// What a member allows.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// `--max-request-bytes`.
    pub request_bytes_max: usize,
    /// `--max-txn-ops`.
    pub txn_operations_max: usize,
    /// `--quota-backend-bytes`.
    pub quota: Quota,
    /// `--election-timeout`.
    pub election_timeout: Duration,
    /// How long a request may take before its client is told that nothing is known of it.
    pub request_timeout: Duration,
    /// Time between two notices to a watcher that asked to be told its progress.
    pub watch_progress_interval: Duration,
    /// Which changes of the members are let through.
    pub reconfiguration: Reconfiguration,
}

/// A running member.
pub(crate) struct Member {
    /// Who it is.
    pub identity: Identity,
    /// What it holds.
    pub store: Store,
    /// Its continuous backup, if there is one.
    pub backup: Option<Arc<Backup>>,
    /// The way into the log.
    pub consensus: Sender<ConsensusInput>,
    /// How far it is.
    pub progress: Arc<Progress>,
    /// Whether clients are served.
    pub serving: Serving,
    /// Numbers for requests.
    pub request_ids: Arc<RequestIds>,
    /// The alarms that are on.
    pub alarms: Arc<ArcSwap<Alarms>>,
    /// Users, what they may do and how they are known.
    pub auth: Arc<Auth>,
    /// Who the members are.
    pub membership: Arc<ArcSwap<Membership>>,
    /// Since when other members have been reachable.
    pub activity: Arc<PeerActivity>,
    /// The watch dispatcher.
    pub watches: WatchHandle,
    /// The room on disk.
    pub space: Arc<DiskSpace>,
    /// Compaction, and what else goes on behind.
    pub housekeeping: Housekeeping,
    /// The leases, and their time.
    pub leases: LeaseKeeping,
    /// Who waits for keys of the second API.
    pub v2: Arc<V2>,
    /// What it allows.
    pub limits: Limits,
    /// Bytes of requests under way.
    pub in_flight: Arc<AtomicUsize>,
    /// The other members.
    pub peers: Arc<dyn Transport>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Member {
    /// The store.
    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    /// How far the member is.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The alarms that are on.
    pub(crate) fn alarms(&self) -> Guard<Arc<Alarms>> {
        self.alarms.load()
    }

    /// Who the members are.
    pub(crate) fn membership(&self) -> Guard<Arc<Membership>> {
        self.membership.load()
    }

    /// Whether this member follows without a vote. From a promotion on, as soon as it is applied, it
    /// does not.
    pub(crate) fn is_learner(&self) -> bool {
        let membership = self.membership.load();
        membership
            .get(self.identity.member)
            .is_some_and(|member| member.is_learner)
    }

    /// The watch dispatcher.
    pub(crate) const fn watches(&self) -> &WatchHandle {
        &self.watches
    }

    /// Who waits for keys of the second API, and what was done with them.
    pub(crate) fn v2(&self) -> &V2 {
        &self.v2
    }

    /// What the member allows.
    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The header of an answer; without a revision it carries none.
    pub(crate) fn header(&self, revision: Option<Revision>) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.identity.cluster.get(),
            member_id: self.identity.member.get(),
            revision: revision.map_or(0, Revision::to_wire),
            raft_term: self.progress.shown_term().get(),
        }
    }

    /// Adds who answers to a header that carries the revision alone.
    pub(crate) fn fill(&self, header: &mut Option<ResponseHeader>) {
        let revision = header.take().map_or(0, |header| header.revision);
        *header = Some(ResponseHeader {
            revision,
            ..self.header(None)
        });
    }

    /// Takes a request of `caller`'s through the log, and answers when it has been applied here. Every
    /// member checks then whether the caller may ask for that.
    ///
    /// # Errors
    ///
    /// [`ProposeError`] if it did not get there or nothing is known of it, otherwise what applying it
    /// said.
    pub(crate) async fn propose(
        &self,
        request: LogRequest,
        caller: &Caller,
    ) -> Result<Outcome, Error> {
        self.check_apply_lag()?;
        let auth_info = self.auth_info(caller).await?;
        let id = self.request_ids.next();
        let data = request.encode(id, auth_info.as_ref());
        drop(request);
        let bytes_max = self.limits.request_bytes_max;
        let answer = self.propose_data(id, data.clone(), bytes_max).await;
        match (answer, auth_info) {
            (Err(Error::Apply(ApplyError::Auth(AuthError::AuthOldRevision))), Some(auth_info)) => {
                self.propose_again(data, &auth_info, caller).await
            }
            (answer, _) => answer,
        }
    }

    /// Takes a request through the log that was refused because the rules under which `before` was let
    /// in were replaced by an entry that this member had yet to apply. It has by now, so whoever is
    /// known without a signed revision is let in under the new ones, once; etcd leaves that to clients.
    #[cold]
    async fn propose_again(
        &self,
        data: Bytes,
        before: &AuthInfo,
        caller: &Caller,
    ) -> Result<Outcome, Error> {
        let auth_info = self.auth_info(caller).await?;
        let request = LogEntry::decode(data).ok().and_then(|entry| entry.request);
        let Some(request) = request.filter(|_| auth_info.as_ref() != Some(before)) else {
            return Err(AuthError::AuthOldRevision.into());
        };
        let id = self.request_ids.next();
        let data = request.encode(id, auth_info.as_ref());
        drop(request);
        let bytes_max = self.limits.request_bytes_max;
        self.propose_data(id, data, bytes_max).await
    }

    /// Refuses what comes while too much is committed and not applied.
    fn check_apply_lag(&self) -> Result<(), Error> {
        let committed = self.progress.committed();
        if committed.get() > self.progress.applied().get() + APPLY_LAG_MAX {
            return Err(ProposeError::TooManyRequests.into());
        }
        Ok(())
    }

    /// Takes an entry's data, of at most `bytes_max` bytes, through the log.
    async fn propose_data(
        &self,
        id: RequestId,
        data: Bytes,
        bytes_max: usize,
    ) -> Result<Outcome, Error> {
        let bytes = data.len();
        if bytes > bytes_max {
            return Err(RequestError::TooLarge { bytes, bytes_max }.into());
        }
        let _under_way = InFlight::enter(self, bytes)?;
        let (reply, answer) = Reply::channel();
        let proposal = Proposal::Request(data);
        let request = Request {
            id,
            proposal,
            reply,
        };
        self.submit(request, answer).await
    }

    /// Hands a request to the log and waits for what applying it says.
    async fn submit(
        &self,
        request: Request,
        answer: oneshot::Receiver<Result<Outcome, Error>>,
    ) -> Result<Outcome, Error> {
        let begun = Instant::now();
        match self.consensus.try_send(ConsensusInput::Propose(request)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(ProposeError::TooManyRequests.into()),
            Err(TrySendError::Disconnected(_)) => return Err(ProposeError::Stopped.into()),
        }
        match tokio::time::timeout(self.limits.request_timeout, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(ProposeError::Stopped.into()),
            Err(_) => {
                self.metrics.server_proposals_failed_total.inc();
                Err(self.why_timed_out(begun).into())
            }
        }
    }

    /// Returns when a read of this member's store will see all that was acknowledged before the call.
    ///
    /// A sole voter that leads has applied whatever it acknowledged, since replies leave after
    /// applying: there is nothing to wait for. Anyone else asks the log.
    ///
    /// # Errors
    ///
    /// [`ProposeError`] if no leader confirms it in time.
    pub(crate) async fn linearizable(&self) -> Result<(), Error> {
        if self.progress.role() == Role::SoleVoter {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        if self
            .consensus
            .try_send(ConsensusInput::ReadIndex(reply))
            .is_err()
        {
            return Err(ProposeError::Stopped.into());
        }
        let confirmed = async {
            let index = answer.await.map_err(|_| ProposeError::NoLeader)?;
            self.progress.wait_applied(index).await;
            Ok(())
        };
        let begun = Instant::now();
        let result = tokio::time::timeout(self.limits.request_timeout, confirmed).await;
        let took = begun.elapsed();
        if took > READ_INDEX_SLOW {
            self.metrics.server_slow_read_indexes_total.inc();
            tracing::warn!(?took, expected_duration = ?READ_INDEX_SLOW, "a read waited long for its index");
        }
        match result {
            Ok(result) => result,
            Err(_) => {
                self.metrics.server_read_indexes_failed_total.inc();
                Err(ProposeError::Timeout.into())
            }
        }
    }

    /// Reads a range that is known to be small, or that can be held as a whole.
    ///
    /// # Errors
    ///
    /// That `caller` may not, or [`ReadError`].
    pub(crate) async fn range(
        &self,
        range: &Range,
        caller: &Caller,
    ) -> Result<stored::RangeResponse, Error> {
        let permit = self.permit_range(&range.query.range, caller).await?;
        let response = self.read_range(range);
        self.confirm(permit)?;
        Ok(response?)
    }

    /// Reads a range bit by bit, for somebody who was allowed to.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub(crate) fn scan(&self, range: &Range, _: &Permit) -> Result<RangeScan, ReadError> {
        self.store.scan(&range.query)
    }

    fn read_range(&self, range: &Range) -> Result<stored::RangeResponse, ReadError> {
        self.metrics.mvcc_range_total.inc();
        let mut kvs = EncodedKvsBuilder::new();
        let summary = self
            .store
            .range(&range.query, &mut |kv| kvs.push(kv.encoded))?;
        Ok(txn::range_response(&summary, kvs.finish()))
    }

    /// Answers a transaction that only reads, from one state.
    ///
    /// # Errors
    ///
    /// That `caller` may not, what a check of the transaction says, or [`ReadError`].
    pub(crate) async fn read_txn(
        &self,
        request: &Txn,
        caller: &Caller,
    ) -> Result<stored::TxnResponse, Error> {
        let checked = self.permit(caller, |permission| {
            permission.txn(request, &|_| Vec::new())
        });
        let permit = checked.await?;
        let answer = self.answer_read_txn(request);
        self.confirm(permit)?;
        answer
    }

    fn answer_read_txn(&self, request: &Txn) -> Result<stored::TxnResponse, Error> {
        let state = SnapshotReader::new(&self.store);
        let chosen = txn::choose(request, &state)?;
        chosen.check(&state, &|_| true)?;
        Ok(chosen.read(&state)?)
    }

    /// Refuses what needs `cost` bytes if there is no room; the first refusal raises the alarm.
    ///
    /// # Errors
    ///
    /// [`ProposeError::NoSpace`].
    pub(crate) fn check_space(&self, cost: u64) -> Result<(), Error> {
        if self
            .limits
            .quota
            .has_room(self.store.backend().size_in_use(), cost)
            && !self.space.is_low()
            && !self.alarms.load().is_on(Alarm::NoSpace)
        {
            return Ok(());
        }
        self.housekeeping.no_space();
        Err(ProposeError::NoSpace.into())
    }

    /// Waits until what was compacted at `point` is gone from the database, and that is on disk.
    ///
    /// # Errors
    ///
    /// [`MaintenanceError::Storage`], or [`ProposeError::Stopped`].
    pub(crate) async fn wait_compacted(&self, point: CompactionPoint) -> Result<(), Error> {
        self.housekeeping
            .wait_compacted(point)
            .await
            .map_err(|_| ProposeError::Stopped)?;
        let backend = self.store.backend().clone();
        let committed = tokio::task::spawn_blocking(move || backend.force_commit()).await;
        committed
            .map_err(|_| ProposeError::Stopped)?
            .map_err(|error| MaintenanceError::Storage(Chain(&error).to_string()))?;
        Ok(())
    }
}

/// Counts a request as under way until it is dropped.
struct InFlight<'a> {
    member: &'a Member,
    bytes: usize,
}

impl<'a> InFlight<'a> {
    fn enter(member: &'a Member, bytes: usize) -> Result<Self, ProposeError> {
        let before = member.in_flight.fetch_add(bytes, Ordering::Relaxed);
        member.metrics.server_proposals_pending.inc();
        let entered = Self { member, bytes };
        if before + bytes > IN_FLIGHT_BYTES_MAX {
            return Err(ProposeError::TooManyRequests);
        }
        Ok(entered)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.member.metrics.server_proposals_pending.dec();
        self.member
            .in_flight
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
