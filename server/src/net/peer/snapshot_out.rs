//! Sending this member's database to one that is too far behind the log.
//!
//! It goes over a connection of its own, so that it delays nothing else; a thread of its own reads it,
//! a few chunks ahead at most. Who takes no chunk for long is given up, as the view that is sent keeps
//! storage from being used again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_backend::{Applied, Backend, ReadError, SnapshotError, SnapshotSender};
use cairn_consensus::MemberId;
use cairn_proto::cairnpb::SnapshotChunk;
use cairn_proto::raftpb;
use cairn_replica::membership::Membership;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::caller::Caller;
use super::connection::ConnectionError;
use super::peers::{PeerClient, PeersParts};
use crate::logging::Chain;
use crate::settings::Url;

/// Chunks that are read and not yet taken; each about 1 MiB.
const CHUNKS_AHEAD: usize = 4;
/// How long a receiver may take for one chunk.
const CHUNK_PATIENCE: Duration = Duration::from_secs(30);

/// Why a database did not arrive.
#[derive(Debug, thiserror::Error)]
enum SendError {
    /// Nobody is there.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The receiver says no, or the connection broke.
    #[error("{}", .0.message())]
    Refused(#[from] Status),
    /// The receiver does not go on.
    #[error("the receiver takes nothing")]
    Stuck,
    /// The receiver wants no more; what it says tells why.
    #[error("the receiver has gone")]
    Gone,
    /// There is nothing to send.
    #[error(transparent)]
    Begin(#[from] SnapshotError),
    /// The database cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The reading thread panicked.
    #[error(transparent)]
    Panicked(#[from] tokio::task::JoinError),
}

/// One sending.
pub(super) struct SnapshotOut {
    pub(super) parts: Arc<PeersParts>,
    pub(super) to: MemberId,
    pub(super) urls: Vec<Url>,
    /// Raft's message, which the database belongs to.
    pub(super) message: raftpb::Message,
}

impl SnapshotOut {
    /// Sends it, and tells the consensus thread how that ended.
    pub(super) async fn run(self) {
        let begun = Instant::now();
        let (to, inbox) = (self.to, self.parts.inbox.clone());
        let transfer = self.parts.metrics.sending_snapshot(to);
        tracing::info!(to = %to, "sending database snapshot");
        let sent = self.send().await;
        match &sent {
            Ok(bytes) => {
                let took = begun.elapsed();
                tracing::info!(to = %to, bytes, ?took, "sent database snapshot");
                transfer.succeeded();
            }
            Err(error) => {
                let error = Chain(error);
                tracing::warn!(to = %to, %error, "failed to send database snapshot");
            }
        }
        inbox.snapshot_sent(to, sent.is_ok());
    }

    async fn send(self) -> Result<u64, SendError> {
        let parts = &self.parts;
        let present = parts.meetings.present();
        let headers = Caller::headers(parts.identity, present, self.to, &parts.peer_urls);
        let connector = &self.parts.network.connector;
        let connection = connector.connect(&self.urls, headers).await?;
        let (chunks, taken) = mpsc::channel(CHUNKS_AHEAD);
        let backend = self.parts.backend.clone();
        let (message, runtime) = (self.message, Handle::current());
        let reading = tokio::task::spawn_blocking(move || {
            let mut feed = Feed { chunks, runtime };
            feed.all_of(&backend, message)
        });
        let sent = PeerClient::new(connection)
            .snapshot(ReceiverStream::new(taken))
            .await;
        match (sent, reading.await?) {
            // Its word counts: it may have come as far by itself, and want no more.
            (Ok(answer), _) => Ok(answer.into_inner().bytes),
            (Err(status), Ok(()) | Err(SendError::Gone)) => Err(status.into()),
            // What went wrong here explains what the other side says.
            (Err(_), Err(error)) => Err(error),
        }
    }
}

/// The reading end.
struct Feed {
    chunks: mpsc::Sender<SnapshotChunk>,
    runtime: Handle,
}

impl Feed {
    fn all_of(&mut self, backend: &Backend, message: raftpb::Message) -> Result<(), SendError> {
        let mut sender = backend.send()?;
        let first = SnapshotChunk {
            message: Some(standing_for(message, &sender)?),
            total_bytes: sender.expected_bytes(),
            data: Bytes::new(),
        };
        self.push(first)?;
        while let Some(data) = sender.next_chunk()? {
            self.push(SnapshotChunk {
                data,
                ..SnapshotChunk::default()
            })?;
        }
        Ok(())
    }

    fn push(&self, chunk: SnapshotChunk) -> Result<(), SendError> {
        let pushed = async {
            let pushed = tokio::time::timeout(CHUNK_PATIENCE, self.chunks.send(chunk)).await;
            pushed
                .map_err(|_| SendError::Stuck)?
                .map_err(|_| SendError::Gone)
        };
        self.runtime.block_on(pushed)
    }
}

/// The message for what is really sent: that is never older than what raft has offered.
fn standing_for(
    mut message: raftpb::Message,
    sender: &SnapshotSender,
) -> Result<raftpb::Message, SendError> {
    let Applied { index, term } = sender.applied();
    let state = Membership::restore(sender.view())?.conf_state();
    let ids = |members: Vec<MemberId>| members.into_iter().map(MemberId::get).collect();
    message.snapshot = Some(raftpb::Snapshot {
        data: None,
        metadata: Some(raftpb::SnapshotMetadata {
            conf_state: Some(raftpb::ConfState {
                voters: ids(state.voters),
                learners: ids(state.learners),
                auto_leave: Some(false),
                ..raftpb::ConfState::default()
            }),
            index: Some(index),
            term: Some(term),
        }),
    });
    Ok(message)
}
