//! Whether a member's database and its log belong together, and what to do if not.
//!
//! Each may be a good one and still not the other's: put back from a copy, lost, or another cluster's. The
//! log says whose it is; the database notes the cluster's ID when it is first opened beside a log.

use bytes::Bytes;
use cairn_backend::{Applied, CLUSTER_ID_KEY, DamagedRow, Table};
use cairn_consensus::{LogIndex, Node, NodeError};
use cairn_mvcc::Store;

use super::StartError;
use crate::settings::Settings;

/// Refuses a database that has applied entries of a log that is gone: a member that begins anew would
/// forget its votes and what it has acknowledged.
pub(super) fn check_log_is_there(applied: LogIndex, settings: &Settings) -> Result<(), StartError> {
    if applied == LogIndex::ZERO {
        return Ok(());
    }
    Err(format!(
        "the database in {} has applied entry {applied} of a log, but there is no log: {}",
        settings.data_dir.display(),
        without_log()
    )
    .into())
}

/// What is said of a log that is not that of the database.
pub(super) fn explain(error: NodeError, settings: &Settings) -> StartError {
    let data_dir = settings.data_dir.display();
    match error {
        NodeError::AppliedBeyondLog { .. } => {
            format!("{error}, in {data_dir}: {}", without_log()).into()
        }
        NodeError::SnapshotNotInstalled { .. } => format!(
            "{error}, in {data_dir}: the database is gone or of an earlier day. Give it another member's: \
             `etcdctl snapshot save FILE` from one, then `cairn rebuild --data-dir {data_dir} FILE`; or put \
             both back from one backup"
        )
        .into(),
        other => other.into(),
    }
}

fn without_log() -> &'static str {
    "give the --wal-dir that the member ran with, put back the log that belongs to it, or remove the member \
     from its cluster and add it again with an empty data directory"
}

/// Refuses a database of another cluster, or of another history, and notes whose it is.
pub(super) fn check_belongs(
    node: &Node,
    store: &Store,
    settings: &Settings,
) -> Result<(), StartError> {
    let data_dir = settings.data_dir.display();
    let cluster = node.wal().identity().cluster;
    let view = store.backend().read()?;
    let applied = Applied::read(&view)?;
    let ours = node.term_of(LogIndex::new(applied.index));
    if let Some(ours) = ours.filter(|ours| ours.get() != applied.term) {
        return Err(format!(
            "entry {} is of term {ours} in the log in {data_dir}, but of term {} in the database: they are \
             of different members. Put back the one that belongs to the other",
            applied.index, applied.term
        )
        .into());
    }
    let Some(stored) = view.get(Table::Meta, CLUSTER_ID_KEY)? else {
        let mut batch = store.write();
        let id = Bytes::copy_from_slice(&cluster.get().to_be_bytes());
        batch.backend().put(Table::Meta, CLUSTER_ID_KEY, id);
        return Ok(batch.end()?);
    };
    let stored = <[u8; 8]>::try_from(stored.as_ref()).map(u64::from_be_bytes);
    let stored =
        stored.map_err(|_| DamagedRow::new(Table::Meta, CLUSTER_ID_KEY, "not a number"))?;
    if stored == cluster.get() {
        return Ok(());
    }
    Err(format!(
        "the database in {data_dir} is of cluster {stored:x}, but its log is of cluster {cluster}: put back \
         the one that belongs to the other"
    )
    .into())
}
