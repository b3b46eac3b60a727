//! The apply thread: the only writer of the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use cairn_consensus::Entry;
use crossbeam_channel::{Receiver, Sender};

use super::consensus_thread::ConsensusInput;
use super::housekeeping::Housekeeping;
use super::lease_keeper::LeaseKeeping;
use super::progress::Progress;
use super::reply::{Reply, ReplyDesks};
use crate::auth::Auth;
use crate::error::Error;
use crate::metrics::ApplyMetrics;
use crate::peer::Peers;
use crate::watching::WatchHandle;
use cairn_replica::apply::{Applier, FatalError};
use cairn_replica::request_ids::RequestId;

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
    /// The ways back to who waits.
    pub desks: ReplyDesks,
    /// Whose tokens the entries change.
    pub auth: Arc<Auth>,
    /// Where changes go.
    pub watches: WatchHandle,
    /// What is counted.
    pub metrics: ApplyMetrics,
    /// Who waits to hear what became of changes of the group.
    pub consensus: Sender<ConsensusInput>,
    /// Whom to tell who the members are.
    pub peers: Peers,
    /// Whom to tell that expiries came through.
    pub leases: LeaseKeeping,
    /// Whom to tell of compactions and the log's length.
    pub housekeeping: Housekeeping,
}

/// Waiting requests at which those whose clients have given up are looked for.
const WAITING_SWEEP: usize = 16 * 1024;
/// Entries applied in one go. Their answers leave together, and while they are on their way the next
/// ones are applied; more in one go would leave the doors idle, fewer would share less.
const GO_ENTRIES: usize = 128;

impl ApplyThread {
    /// Applies what comes until the consensus thread is gone.
    ///
    /// # Errors
    ///
    /// [`FatalError`]: the process must stop.
    pub fn run(mut self) -> Result<(), FatalError> {
        let mut waiting: HashMap<RequestId, Reply> = HashMap::new();
        while let Ok(turn) = self.committed.recv() {
            waiting.extend(turn.waiting);
            let mut entries = turn.entries.into_iter().peekable();
            while entries.peek().is_some() {
                self.go(entries.by_ref().take(GO_ENTRIES), &mut waiting)?;
            }
            if waiting.len() > WAITING_SWEEP {
                waiting.retain(|_, reply| !reply.is_closed());
            }
        }
        Ok(())
    }

    /// Applies `entries`; readers, watchers and replies see them together.
    fn go(
        &mut self,
        entries: impl Iterator<Item = Entry>,
        waiting: &mut HashMap<RequestId, Reply>,
    ) -> Result<(), FatalError> {
        let begun = Instant::now();
        let applied = self.applier.apply(entries)?;
        self.metrics.count(&applied, begun.elapsed());
        // Before anyone hears that the entries are applied: who waits for a token's finds it then.
        self.auth.change_tokens(applied.tokens);
        if let Some((index, term)) = applied.last {
            self.progress.set_applied(index, term);
        }
        if !applied.conf_changes.is_empty() {
            self.peers.set_members(&self.applier.membership().load());
        }
        for done in applied.conf_changes {
            // Before the reply leaves: a next change must not overtake this one on its way to raft. A
            // consensus thread that is gone asks for no answer.
            let _ = self.consensus.send(ConsensusInput::ConfChangeDone(done));
        }
        for (id, result) in applied.replies {
            if let Some(reply) = waiting.remove(&id) {
                self.desks.add(reply, result.map_err(Error::from));
            }
        }
        self.desks.send();
        for index in &applied.unreadable {
            tracing::warn!(
                index = index.get(),
                "passed over a log entry that does not decode"
            );
        }
        if !applied.changes.is_empty() {
            self.watches.publish(applied.changes);
        }
        if applied.leases.settled {
            self.leases.applied();
        }
        if applied.compaction {
            self.housekeeping.compact();
        }
        Ok(())
    }
}
