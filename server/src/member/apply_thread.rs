//! The apply thread: the only writer of the store.

use std::collections::HashMap;
use std::sync::Arc;

use cairn_consensus::Entry;
use crossbeam_channel::Receiver;

use super::Reply;
use super::housekeeping::Housekeeping;
use super::progress::Progress;
use super::request_ids::RequestId;
use crate::apply::{Applier, FatalError};
use crate::error::Error;
use crate::watching::WatchHandle;

/// What one turn of consensus hands on.
#[derive(Debug, Default)]
pub struct Committed {
    /// Requests that were proposed here and wait for their entry.
    pub waiting: Vec<(RequestId, Reply)>,
    /// Entries to apply.
    pub entries: Vec<Entry>,
}

/// The apply thread's state.
pub struct ApplyThread {
    /// The store's write side.
    pub applier: Applier,
    /// Where committed entries come from.
    pub committed: Receiver<Committed>,
    /// Where to say how far it is.
    pub progress: Arc<Progress>,
    /// Where changes go.
    pub watches: WatchHandle,
    /// Whom to tell of compactions and the log's length.
    pub housekeeping: Housekeeping,
}

/// Waiting requests at which those whose clients have given up are looked for.
const WAITING_SWEEP: usize = 16 * 1024;

impl ApplyThread {
    /// Applies what comes until the consensus thread is gone.
    ///
    /// # Errors
    ///
    /// [`FatalError`]: the process must stop.
    pub fn run(mut self) -> Result<(), FatalError> {
        let mut waiting: HashMap<RequestId, Reply> = HashMap::new();
        while let Ok(mut turn) = self.committed.recv() {
            waiting.extend(turn.waiting.drain(..));
            // One batch for all that waits: readers and replies see it together.
            while let Ok(more) = self.committed.try_recv() {
                waiting.extend(more.waiting);
                turn.entries.extend(more.entries);
            }
            if turn.entries.is_empty() {
                continue;
            }
            let applied = self.applier.apply(turn.entries)?;
            if let Some((index, term)) = applied.last {
                self.progress.set_applied(index, term);
            }
            for (id, result) in applied.replies {
                if let Some(reply) = waiting.remove(&id) {
                    // A client that is gone needs no answer.
                    let _ = reply.send(result.map_err(Error::from));
                }
            }
            if !applied.changes.is_empty() {
                self.watches.publish(applied.changes);
            }
            if applied.compaction {
                self.housekeeping.compact();
            }
            if waiting.len() > WAITING_SWEEP {
                waiting.retain(|_, reply| !reply.is_closed());
            }
        }
        Ok(())
    }
}
