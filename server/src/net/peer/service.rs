//! The peer api: what other members ask of this one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use cairn_index::Revision;
use cairn_mvcc::ReadAt;
use cairn_proto::cairnpb::{
    Lineage, MembersRequest, MembersResponse, RaftEnd, RaftMessages, SnapshotChunk,
    SnapshotReceived, VersionRequest, VersionResponse,
};
use cairn_proto::etcdserverpb::{
    HashKvRequest, HashKvResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, MemberPromoteRequest, MemberPromoteResponse,
};
use cairn_proto::raftpb::MessageType;
use cairn_proto::stored::cairnpb::peer_server::{Peer, PeerServer};
use prometheus::IntCounter;
use prost::Message as _;
use tokio::sync::Semaphore;
use tokio_stream::Stream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::caller::{Caller, Refusal};
use super::lane::Frames;
use super::peers::Peers;
use super::snapshot_in::{SaveTimes, SnapshotIn};
use crate::logging::Chain;
use crate::member::{LeaderAnswer, LeaderQuestion, Member};
use crate::settings::ETCD_VERSION;
use cairn_replica::membership;

/// The header that names a stream's lane.
pub(super) const LANE: &str = "cairn-lane";

/// The largest frame: an entry is at most as long as a segment of the log.
const FRAME_BYTES_MAX: usize = 80 << 20;

/// The peer service of a member.
#[derive(Clone)]
pub(super) struct PeerService {
    member: Arc<Member>,
    peers: Peers,
    /// One database at a time: each takes the room of ours.
    receiving: Arc<Semaphore>,
}

impl PeerService {
    /// The service as tonic serves it.
    #[must_use]
    pub(super) fn server(member: &Arc<Member>, peers: Peers) -> PeerServer<Self> {
        let service = Self {
            peers,
            member: Arc::clone(member),
            receiving: Arc::new(Semaphore::new(1)),
        };
        PeerServer::new(service).max_decoding_message_size(FRAME_BYTES_MAX)
    }

    fn admit<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let caller = Caller::read(request.metadata().as_ref());
        let admitted = caller.and_then(|caller| self.peers.admit(&caller).map(|()| caller));
        admitted.map_err(|refusal| refused(request.metadata(), refusal))
    }

    /// Meets a caller that introduces itself, before it is admitted; our own lineage, for it.
    async fn meet(&self, headers: &MetadataMap, shown: Lineage) -> Result<Lineage, Refusal> {
        let caller = Caller::read(headers.as_ref())?;
        self.peers.meet(&caller, shown).await
    }

    /// Takes messages from a member until it has no more, or is no member any more.
    async fn receive(
        &self,
        caller: &Caller,
        mut frames: Streaming<RaftMessages>,
        has_entries: bool,
    ) -> Result<(), Status> {
        let received = self.peers.metrics().received(caller.member);
        let mut changes = self.peers.changes();
        loop {
            let frame = tokio::select! {
                frame = frames.message() => frame?,
                _ = changes.changed() => {
                    self.peers.admit(caller)?;
                    continue;
                }
            };
            let Some(mut frame) = frame else {
                return Ok(());
            };
            received.inc_by(frame.encoded_len() as u64);
            frame.messages.retain(|message| is_from(message, caller));
            self.peers.note_received(&frame);
            let delivered = self.peers.inbox().deliver(frame, has_entries).await;
            delivered.map_err(|_| Status::unavailable("the member is stopping"))?;
        }
    }
}

/// Says who is turned away and why, here and to the caller.
fn refused(headers: &MetadataMap, refusal: Refusal) -> Status {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let from = text("cairn-member-id").unwrap_or_default();
    let cluster = text("cairn-cluster-id").unwrap_or_default();
    tracing::warn!(from, cluster, %refusal, "refused a call of a peer");
    refusal.into()
}

/// Whether a message is its sender's own. A wish to move leadership names the one it is moved to,
/// and a snapshot comes with its data, by another way.
fn is_from(message: &cairn_proto::raftpb::Message, caller: &Caller) -> bool {
    match message.r#type() {
        MessageType::MsgTransferLeader => true,
        MessageType::MsgSnap => false,
        _ => message.from == Some(caller.member.get()),
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn raft(
        &self,
        request: Request<Streaming<RaftMessages>>,
    ) -> Result<Response<RaftEnd>, Status> {
        let caller = self.admit(&request)?;
        let lane = request.metadata().get(LANE);
        let has_entries = lane.is_some_and(|lane| lane.as_bytes() == b"entries");
        let received = self.receive(&caller, request.into_inner(), has_entries);
        let received = received.await;
        received.inspect_err(|_| self.peers.metrics().receive_failed(caller.member))?;
        Ok(Response::new(RaftEnd {}))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<SnapshotChunk>>,
    ) -> Result<Response<SnapshotReceived>, Status> {
        let metrics = self.peers.metrics();
        let admitted = self.admit(&request);
        let from = admitted
            .inspect_err(|_| metrics.stranger_sent_snapshot())?
            .member;
        let transfer = metrics.receiving_snapshot(from);
        let Ok(turn) = Arc::clone(&self.receiving).try_acquire_owned() else {
            return Err(Status::unavailable("a snapshot is being received already"));
        };
        self.member.serving.receiving();
        let receiving = SnapshotIn {
            store: self.member.store.clone(),
            inbox: self.peers.inbox().clone(),
            from,
            times: SaveTimes {
                whole: self
                    .member
                    .metrics
                    .snap_db_save_total_duration_seconds
                    .clone(),
                end: self.member.metrics.snap_db_fsync_duration_seconds.clone(),
            },
        };
        // A task of its own: if the connection breaks, this call is dropped, and what has come must
        // be cleared away before the next one has its turn.
        let received = tokio::spawn(async move {
            tracing::info!(%from, "receiving database snapshot");
            let received = receiving.receive(request.into_inner()).await;
            match &received {
                Ok(bytes) => {
                    tracing::info!(%from, bytes, "received database snapshot");
                    transfer.succeeded();
                }
                Err(error) => {
                    let error = Chain(error);
                    tracing::warn!(%from, %error, "failed to receive database snapshot");
                }
            }
            drop(turn);
            received
        });
        let bytes = received
            .await
            .map_err(|error| Status::internal(error.to_string()))??;
        Ok(Response::new(SnapshotReceived { bytes }))
    }

    async fn members(
        &self,
        request: Request<MembersRequest>,
    ) -> Result<Response<MembersResponse>, Status> {
        // Who asks this may not be a member yet.
        if request.into_inner().linearizable {
            self.member.linearizable().await?;
        }
        let identity = self.peers.identity();
        let members = self.member.membership();
        Ok(Response::new(MembersResponse {
            cluster_id: identity.cluster.get(),
            member_id: identity.member.get(),
            members: members.iter().map(membership::Member::to_wire).collect(),
            removed_ids: members
                .removed()
                .map(cairn_consensus::MemberId::get)
                .collect(),
        }))
    }

    async fn version(
        &self,
        mut request: Request<VersionRequest>,
    ) -> Result<Response<VersionResponse>, Status> {
        let VersionRequest { lineage, met } = std::mem::take(request.get_mut());
        let lineage = match lineage {
            None => None,
            Some(shown) => {
                let met = self.meet(request.metadata(), shown).await;
                Some(met.map_err(|refusal| refused(request.metadata(), refusal))?)
            }
        };
        let caller = self.admit(&request)?;
        self.peers.hear(caller.member, met).await?;
        let identity = self.peers.identity();
        let members = self.member.membership();
        Ok(Response::new(VersionResponse {
            cluster_id: identity.cluster.get(),
            member_id: identity.member.get(),
            server_version: ETCD_VERSION.to_owned(),
            cluster_version: members.version().unwrap_or_default().to_owned(),
            lineage,
            met: self.peers.met(),
        }))
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        self.admit(&request)?;
        // The member that was asked by a client has checked whether that one may.
        let members = self.member.promote_here(request.into_inner().id).await?;
        let header = Some(self.member.header(None));
        Ok(Response::new(MemberPromoteResponse { header, members }))
    }

    async fn lease_keep_alive(
        &self,
        request: Request<LeaseKeepAliveRequest>,
    ) -> Result<Response<LeaseKeepAliveResponse>, Status> {
        self.admit(&request)?;
        let question = LeaderQuestion::KeepAlive(request.into_inner());
        match self.member.answer_as_leader(question).await? {
            LeaderAnswer::KeepAlive(answer) => Ok(Response::new(answer)),
            LeaderAnswer::TimeToLive(_) => Err(Status::internal("another question's answer")),
        }
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        self.admit(&request)?;
        let question = LeaderQuestion::TimeToLive(request.into_inner());
        match self.member.answer_as_leader(question).await? {
            LeaderAnswer::TimeToLive(answer) => Ok(Response::new(answer)),
            LeaderAnswer::KeepAlive(_) => Err(Status::internal("another question's answer")),
        }
    }

    async fn hash_kv(
        &self,
        request: Request<HashKvRequest>,
    ) -> Result<Response<HashKvResponse>, Status> {
        self.admit(&request)?;
        let at = Revision::from_wire(request.into_inner().revision);
        let at = at.map_or(ReadAt::Latest, ReadAt::Revision);
        Ok(Response::new(self.member.hash_kv(at).await?))
    }
}

/// A lane's frames, counted as they leave.
pub(super) struct CountedFrames {
    frames: Frames,
    bytes: IntCounter,
}

pub(super) const fn counted(frames: Frames, bytes: IntCounter) -> CountedFrames {
    CountedFrames { frames, bytes }
}

impl Stream for CountedFrames {
    type Item = RaftMessages;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<RaftMessages>> {
        let polled = Pin::new(&mut self.frames).poll_next(context);
        if let Poll::Ready(Some(frame)) = &polled {
            self.bytes.inc_by(frame.encoded_len() as u64);
        }
        polled
    }
}
