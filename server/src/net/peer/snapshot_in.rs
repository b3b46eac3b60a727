//! Taking in the database of another member, beside this one's.
//!
//! When it is here, whole, checked, durable and indexed, the consensus thread gets it together with
//! raft's message. Whatever happens before leaves this member as it was, and of the database nothing:
//! the next one begins anew.

use cairn_backend::Applied;
use cairn_consensus::MemberId;
use cairn_mvcc::{InstallError, Prepared, ReceiveError, Store};
use cairn_proto::cairnpb::SnapshotChunk;
use cairn_proto::raftpb;
use cairn_replica::state::check_received;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

use crate::logging::Chain;
use crate::member::inbox::InboxSender;
use crate::metrics::Histogram;

/// Chunks that have come and are not yet written.
const CHUNKS_WAITING: usize = 4;

/// Where a database goes.
#[derive(Clone)]
pub(super) struct SnapshotIn {
    /// The store that it may take the place of.
    pub(super) store: Store,
    /// The way to the consensus thread.
    pub(super) inbox: InboxSender,
    /// Who sends it.
    pub(super) from: MemberId,
    /// What is measured of it.
    pub(super) times: SaveTimes,
}

/// How long taking in a database takes.
#[derive(Clone)]
pub(super) struct SaveTimes {
    /// From its first byte until it is durable and checked.
    pub(super) whole: Histogram,
    /// The part of that after its last byte.
    pub(super) end: Histogram,
}

impl SnapshotIn {
    /// Takes in what `chunks` brings and hands it on; the bytes of its keys and values.
    ///
    /// A database that is not ahead of this member's has nothing to bring. Raft gets its message all
    /// the same: so the sender learns how far this member is.
    ///
    /// # Errors
    ///
    /// What the sender is told; nothing was handed on.
    pub(super) async fn receive<S>(self, mut chunks: S) -> Result<u64, Status>
    where
        S: Stream<Item = Result<SnapshotChunk, Status>> + Unpin,
    {
        let first = chunks.next().await.transpose()?;
        let message = first.and_then(|chunk| chunk.message);
        let message = message.ok_or_else(|| Status::invalid_argument("no message of raft's"))?;
        if message.from != Some(self.from.get()) {
            return Err(Status::invalid_argument("the message is not its sender's"));
        }
        let announced = place(&message);
        if self.is_as_far_as(announced)? {
            self.inbox.only_message(message);
            return Ok(0);
        }
        match self.write(announced, chunks).await {
            Ok((prepared, bytes)) => {
                self.inbox.snapshot(message, prepared);
                Ok(bytes)
            }
            // Entries have brought this member as far while the database was under way.
            Err(_) if self.is_as_far_as(announced)? => {
                self.inbox.only_message(message);
                Ok(0)
            }
            Err(status) => Err(status),
        }
    }

    /// Whether the store stands for `announced`, or for more.
    fn is_as_far_as(&self, announced: Applied) -> Result<bool, Status> {
        let view = self.store.backend().read();
        let ours = view.and_then(|view| Applied::read(&view));
        let ours = ours.map_err(|error| Status::internal(Chain(&error).to_string()))?;
        Ok(announced == ours || announced.index < ours.index)
    }

    /// Writes what comes to the disk, in a thread of its own.
    async fn write<S>(&self, announced: Applied, mut chunks: S) -> Result<(Prepared, u64), Status>
    where
        S: Stream<Item = Result<SnapshotChunk, Status>> + Unpin,
    {
        let (sender, waiting) = mpsc::channel(CHUNKS_WAITING);
        let store = self.store.clone();
        let times = self.times.clone();
        let writing =
            tokio::task::spawn_blocking(move || write(&store, announced, waiting, &times));
        let mut broken = Ok(());
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) => {
                    // A writer that is gone says why below.
                    if sender.send(chunk.data).await.is_err() {
                        break;
                    }
                }
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
        match (written, broken) {
            // What has come whole is good, however the sender ended.
            (Ok(written), _) => Ok(written),
            (Err(_), Err(status)) => Err(status),
            (Err(error), Ok(())) => Err(Status::data_loss(Chain(&error).to_string())),
        }
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

/// Builds the database, and prepares its installation. What fails leaves nothing.
fn write(
    store: &Store,
    announced: Applied,
    mut chunks: mpsc::Receiver<bytes::Bytes>,
    times: &SaveTimes,
) -> Result<(Prepared, u64), ReceiveError> {
    let _whole = times.whole.start_timer();
    let mut receiving = store.receive()?;
    while let Some(chunk) = chunks.blocking_recv() {
        receiving.write(&chunk)?;
    }
    let bytes = receiving.received_bytes();
    let _end = times.end.start_timer();
    let prepared = receiving.finish(announced)?;
    // Before the log is told to begin after it.
    if let Err(unfit) = check_received(store, &prepared) {
        drop(prepared);
        let discarded = store.backend().discard_received(announced);
        discarded.map_err(InstallError::from)?;
        return Err(unfit.into());
    }
    Ok((prepared, bytes))
}

#[cfg(test)]
mod tests;
