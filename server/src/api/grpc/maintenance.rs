//! The Maintenance service: what operators ask of one member.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_consensus::MemberId;
use cairn_index::Revision;
use cairn_migrate::{SnapshotPlan, Stopped};
use cairn_mvcc::ReadAt;
use cairn_proto::etcdserverpb::alarm_request::AlarmAction;
use cairn_proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeInfo,
    DowngradeRequest, DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse,
    MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest, SnapshotResponse, StatusRequest,
    StatusResponse, downgrade_request::DowngradeAction,
};
use cairn_proto::stored::maintenance_server::Maintenance;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::logging::Chain;
use crate::member::auth::Caller;
use crate::member::error::{Error, MaintenanceError};
use crate::member::{Member, Role};
use crate::settings;
use cairn_replica::apply::Outcome;
use cairn_replica::log_request::LogRequest;

/// The Maintenance service of a member.
#[derive(Clone)]
pub(super) struct MaintenanceService {
    member: Arc<Member>,
}

/// Bytes of the database in one message of a snapshot. A multiple of the page size, as clients of
/// etcd have always seen.
const SNAPSHOT_CHUNK_BYTES: usize = 32 << 10;
/// How long a client may take nothing. While a snapshot is sent no page that is freed can be used again.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(60);
/// Chunks that may wait for a slow client.
const SNAPSHOT_CHUNKS_AHEAD: usize = 16;

impl MaintenanceService {
    /// The service of `member`.
    pub(super) const fn new(member: Arc<Member>) -> Self {
        Self { member }
    }

    async fn check_admin<M>(&self, request: &Request<M>) -> Result<(), Status> {
        let caller = Caller::of_request(request);
        Ok(self.member.check_admin(&caller).await?)
    }

    /// Runs `work` off the workers' threads: it reads all of the database.
    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Member) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Status> {
        let member = Arc::clone(&self.member);
        let done = tokio::task::spawn_blocking(move || work(&member)).await;
        Ok(done.map_err(|error| Status::internal(error.to_string()))??)
    }
}

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    async fn alarm(
        &self,
        request: Request<AlarmRequest>,
    ) -> Result<Response<AlarmResponse>, Status> {
        let caller = Caller::of_request(&request);
        let request = request.into_inner();
        // Everybody may look; nobody but root raises and ends them.
        if request.action == i32::from(AlarmAction::Get) {
            self.member.check_somebody(&caller).await?;
        } else {
            self.member.check_admin(&caller).await?;
        }
        let request = LogRequest::Alarm(request);
        let Outcome::Alarm(alarms) = self.member.propose(request, &caller).await? else {
            return Err(Status::internal(
                "the answer does not belong to the request",
            ));
        };
        Ok(Response::new(AlarmResponse {
            header: Some(self.member.header(Some(self.member.store().current()))),
            alarms,
        }))
    }

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        self.member
            .check_somebody(&Caller::of_request(&request))
            .await?;
        let member = &self.member;
        let progress = member.progress();
        let leader = progress.leader();
        let mut errors = Vec::new();
        if leader.is_none() {
            errors.push("etcdserver: no leader".to_owned());
        }
        errors.extend(member.alarms().iter().map(|(alarm, by)| {
            // The text form of an alarm record, which is how etcd lists it here.
            format!("memberID:{} alarm:{}", by.get(), alarm.name())
        }));
        let membership = member.membership();
        let downgrade_info = DowngradeInfo {
            enabled: membership.downgrade().is_some(),
            target_version: membership.downgrade().unwrap_or_default().to_owned(),
        };
        let backend = member.store().backend();
        Ok(Response::new(StatusResponse {
            header: Some(member.header(Some(member.store().current()))),
            version: settings::ETCD_VERSION.to_owned(),
            db_size: to_wire_size(backend.size()),
            leader: leader.map_or(0, MemberId::get),
            raft_index: progress.committed().get(),
            raft_term: progress.shown_term().get(),
            raft_applied_index: progress.applied().get(),
            errors,
            db_size_in_use: to_wire_size(backend.size_in_use()),
            is_learner: progress.role() == Role::Learner,
            storage_version: settings::CLUSTER_VERSION.to_owned(),
            db_size_quota: member.limits().quota.bytes_max().map_or(-1, to_wire_size),
            downgrade_info: Some(downgrade_info),
        }))
    }

    async fn defragment(
        &self,
        request: Request<DefragmentRequest>,
    ) -> Result<Response<DefragmentResponse>, Status> {
        self.check_admin(&request).await?;
        self.off_thread(|member| {
            let metrics = &member.metrics;
            metrics.disk_defrag_inflight.set(1);
            let timer = metrics.disk_backend_defrag_duration_seconds.start_timer();
            let done = member.store().backend().defragment();
            timer.observe_duration();
            metrics.disk_defrag_inflight.set(0);
            done.map_err(|error| storage(&error))
        })
        .await?;
        Ok(Response::new(DefragmentResponse::default()))
    }

    async fn hash(&self, request: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        self.check_admin(&request).await?;
        let (hash, revision) = self
            .off_thread(|member| {
                let _timer = member.metrics.mvcc_hash_duration_seconds.start_timer();
                let revision = member.store().current();
                let hash = member
                    .store()
                    .backend()
                    .hash()
                    .map_err(|error| storage(&error))?;
                Ok((hash, revision))
            })
            .await?;
        Ok(Response::new(HashResponse {
            header: Some(self.member.header(Some(revision))),
            hash,
        }))
    }

    async fn hash_kv(
        &self,
        request: Request<HashKvRequest>,
    ) -> Result<Response<HashKvResponse>, Status> {
        self.check_admin(&request).await?;
        // Zero and less mean the current revision.
        let at = Revision::from_wire(request.into_inner().revision);
        let at = at.map_or(ReadAt::Latest, ReadAt::Revision);
        if let Some(remembered) = self.member.remembered_hash(at) {
            return Ok(Response::new(remembered));
        }
        Ok(Response::new(self.member.hash_kv(at).await?))
    }

    type SnapshotStream = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        self.check_admin(&request).await?;
        let (chunks, stream) = mpsc::channel(SNAPSHOT_CHUNKS_AHEAD);
        let member = Arc::clone(&self.member);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = send_snapshot(&member, &chunks) {
                // A client that went away is no fault of the server's.
                let _ = chunks.blocking_send(Err(Status::from(error)));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn move_leader(
        &self,
        request: Request<MoveLeaderRequest>,
    ) -> Result<Response<MoveLeaderResponse>, Status> {
        self.check_admin(&request).await?;
        let target = MemberId::from_wire(request.into_inner().target_id);
        self.member.move_leader(target).await?;
        Ok(Response::new(MoveLeaderResponse::default()))
    }

    async fn downgrade(
        &self,
        request: Request<DowngradeRequest>,
    ) -> Result<Response<DowngradeResponse>, Status> {
        self.check_admin(&request).await?;
        let DowngradeRequest { action, version } = request.into_inner();
        let action = DowngradeAction::try_from(action)
            .map_err(|_| Status::unknown("etcdserver: unknown method"))?;
        let version = self.member.downgrade(action, &version).await?;
        let header = Some(self.member.header(Some(self.member.store().current())));
        Ok(Response::new(DowngradeResponse { header, version }))
    }
}

/// Sends the database in chunks, as a file of etcd's, then the SHA-256 of all of it, which is what
/// clients check. It is read while it is sent: nothing is copied aside.
fn send_snapshot(
    member: &Member,
    chunks: &mpsc::Sender<Result<SnapshotResponse, Status>>,
) -> Result<(), Error> {
    let durations = &member.metrics.disk_backend_snapshot_duration_seconds;
    let _timer = durations.start_timer();
    // Counted as one that sends, so that what frees many pages waits.
    let held = member.store().backend().send();
    let held = held.map_err(|error| storage(&error))?;
    let plan = SnapshotPlan::new(held.view()).map_err(|error| storage(&error))?;
    let total_bytes = plan.bytes();
    tracing::info!(
        total_bytes,
        "sending a snapshot of the database to a client"
    );
    let mut sending = Sending {
        chunks,
        version: plan.version().map_or_else(String::new, |it| it.to_string()),
        remaining: total_bytes,
        chunk: Vec::with_capacity(SNAPSHOT_CHUNK_BYTES),
        digest: Sha256::new(),
    };
    plan.write(|page| sending.take(page))
        .map_err(|error| storage(&error))?;
    sending.finish();
    Ok(())
}

/// A snapshot on its way to a client.
struct Sending<'a> {
    chunks: &'a mpsc::Sender<Result<SnapshotResponse, Status>>,
    version: String,
    remaining: u64,
    /// What is to be sent next.
    chunk: Vec<u8>,
    digest: Sha256,
}

impl Sending<'_> {
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Stopped> {
        self.digest.update(bytes);
        while !bytes.is_empty() {
            let room = SNAPSHOT_CHUNK_BYTES - self.chunk.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
            if self.chunk.len() == SNAPSHOT_CHUNK_BYTES {
                self.send_chunk()?;
            }
        }
        Ok(())
    }

    fn finish(mut self) {
        if !self.chunk.is_empty() && self.send_chunk().is_err() {
            return;
        }
        let digest = Bytes::copy_from_slice(&self.digest.clone().finalize());
        let _ = self.send(digest);
    }

    fn send_chunk(&mut self) -> Result<(), Stopped> {
        let next = Vec::with_capacity(SNAPSHOT_CHUNK_BYTES);
        let chunk = std::mem::replace(&mut self.chunk, next);
        self.remaining -= chunk.len() as u64;
        self.send(chunk.into())
    }

    /// Sends, unless the client is gone or takes nothing for long.
    fn send(&self, blob: Bytes) -> Result<(), Stopped> {
        let message = SnapshotResponse {
            header: None,
            remaining_bytes: self.remaining,
            blob,
            version: self.version.clone(),
        };
        let sent = tokio::time::timeout(SNAPSHOT_PATIENCE, self.chunks.send(Ok(message)));
        match Handle::current().block_on(sent) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Stopped),
            Err(_) => {
                tracing::warn!("a client takes nothing of its snapshot; no more is sent to it");
                Err(Stopped)
            }
        }
    }
}

fn storage(error: &(dyn std::error::Error + 'static)) -> Error {
    MaintenanceError::Storage(Chain(error).to_string()).into()
}

fn to_wire_size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
