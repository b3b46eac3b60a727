//! Taking in the database of another member, beside this one's.
//!
//! When it is here, whole, checked, durable and indexed, the consensus thread gets it together with
//! raft's message. Whatever happens before leaves this member as it was.

use cairn_backend::Applied;
use cairn_mvcc::{Prepared, Store};
use cairn_proto::cairnpb::SnapshotChunk;
use cairn_proto::raftpb;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

/// Chunks that have come and are not yet written.
const CHUNKS_WAITING: usize = 4;

/// A database that has come whole.
pub(super) struct SnapshotIn {
    /// Raft's message, which it belongs to.
    pub(super) message: raftpb::Message,
    /// What it is to be installed from.
    pub(super) prepared: Prepared,
    /// Bytes of its keys and values.
    pub(super) bytes: u64,
}

/// Why it is of no use.
type ReceiveError = Box<dyn std::error::Error + Send + Sync>;

impl SnapshotIn {
    /// Takes in what `chunks` brings.
    pub(super) async fn receive(
        store: &Store,
        mut chunks: Streaming<SnapshotChunk>,
    ) -> Result<Self, Status> {
        let first = chunks.message().await?;
        let message = first.and_then(|chunk| chunk.message);
        let message = message.ok_or_else(|| Status::invalid_argument("no message of raft's"))?;
        let (sender, waiting) = mpsc::channel(CHUNKS_WAITING);
        let (writers_store, place) = (store.clone(), place(&message));
        let writing = tokio::task::spawn_blocking(move || write(&writers_store, place, waiting));
        let mut broken = Ok(());
        loop {
            match chunks.message().await {
                Ok(Some(chunk)) => {
                    // A writer that is gone says why below.
                    if sender.send(chunk.data).await.is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(status) => {
                    broken = Err(status);
                    break;
                }
            }
        }
        drop(sender);
        let written = writing
            .await
            .map_err(|error| Status::internal(error.to_string()))?;
        broken?;
        let (prepared, bytes) = written.map_err(|error| Status::data_loss(error.to_string()))?;
        Ok(Self {
            message,
            prepared,
            bytes,
        })
    }
}

fn place(message: &raftpb::Message) -> Applied {
    let metadata = message
        .snapshot
        .as_ref()
        .and_then(|it| it.metadata.as_ref());
    metadata.map_or_else(Applied::default, |metadata| Applied {
        index: metadata.index.unwrap_or_default(),
        term: metadata.term.unwrap_or_default(),
    })
}

fn write(
    store: &Store,
    announced: Applied,
    mut chunks: mpsc::Receiver<bytes::Bytes>,
) -> Result<(Prepared, u64), ReceiveError> {
    let mut receiver = store.backend().receive()?;
    while let Some(chunk) = chunks.blocking_recv() {
        receiver.write(&chunk)?;
    }
    let bytes = receiver.received_bytes();
    let applied = receiver.finish()?;
    if applied != announced {
        store.backend().discard_received(applied)?;
        return Err(format!("the database is of {applied}, the message of {announced}").into());
    }
    Ok((store.prepare_install(applied)?, bytes))
}
