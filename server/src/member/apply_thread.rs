//! The apply thread: the only writer of the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use cairn_backend::{Applied as Place, ReadError};
use cairn_consensus::{Entry, LogIndex, RawEntry, Term};
use cairn_mvcc::{InstallError, Prepared, Store};
use crossbeam_channel::{Receiver, Sender};

use super::backup::Backup;
use super::consensus_thread::ConsensusInput;
use super::housekeeping::Housekeeping;
use super::lease_keeper::LeaseKeeping;
use super::progress::Progress;
use super::reply::{Reply, ReplyQueues};
use crate::logging::Chain;
use crate::member::Transport;
use crate::member::auth::Auth;
use crate::member::error::{Error, ProposeError};
use crate::member::watching::WatchHandle;
use crate::metrics::ApplyMetrics;
use crate::settings::Quota;
use cairn_consensus::MemberId;
use cairn_replica::apply::{Applied, Applier, FatalError};
use cairn_replica::request_ids::RequestId;

/// What one round of consensus hands on.
#[derive(Default)]
pub(crate) struct Committed {
    /// Another member's database, to take the place of this one's before all else.
    pub install: Option<Box<Prepared>>,
    /// Databases that nobody will install. They are deleted after what is to be installed before.
    pub useless: Vec<Prepared>,
    /// Requests that were proposed here and wait for their entry.
    pub waiting: Vec<(RequestId, Reply)>,
    /// Entries to apply.
    pub entries: Vec<Entry>,
}

/// Why the apply thread cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyFailure {
    /// An entry could not be applied.
    #[error(transparent)]
    Apply(#[from] FatalError),
    /// What was installed could not be read.
    #[error("the installed database cannot be read: {0}")]
    Reload(#[from] ReadError),
    /// The log begins after a database that cannot be installed, and what comes then is not this
    /// member's history.
    #[error("the database of another member cannot be installed: {0}")]
    Install(#[from] InstallError),
}

/// The apply thread's state.
pub(crate) struct ApplyThread {
    /// The store.
    pub store: Store,
    /// The store's write side.
    pub applier: Applier,
    /// Where committed entries come from.
    pub committed: Receiver<Committed>,
    /// Where to say how far it is.
    pub progress: Arc<Progress>,
    /// The ways back to who waits.
    pub queues: ReplyQueues,
    /// Whose tokens the entries change.
    pub auth: Arc<Auth>,
    /// Where changes go.
    pub watches: WatchHandle,
    /// What is counted.
    pub metrics: ApplyMetrics,
    /// Who waits to hear what became of changes of the group.
    pub consensus: Sender<ConsensusInput>,
    /// Whose thread it is.
    pub member: MemberId,
    /// Whom to tell who the members are.
    pub peers: Arc<dyn Transport>,
    /// Whom to tell that expiries came through.
    pub leases: LeaseKeeping,
    /// Whom to tell of compactions, the log's length and a full database.
    pub housekeeping: Housekeeping,
    /// The limit of the database.
    pub quota: Quota,
    /// The continuous backup, which takes part in all that is applied; it ends with the sender.
    pub backup: Option<(Arc<Backup>, Sender<()>)>,
}

/// Waiting requests at which those whose clients have given up are looked for.
const WAITING_SWEEP: usize = 16 * 1024;
/// Entries applied in one go. Their answers leave together, and while they are on their way the next
/// ones are applied; more in one go would leave the API idle, fewer would share less.
const GO_ENTRIES: usize = 128;

impl ApplyThread {
    /// Applies what comes until the consensus thread is gone.
    ///
    /// # Errors
    ///
    /// [`ApplyFailure`]: the process must stop.
    pub(crate) fn run(mut self) -> Result<(), ApplyFailure> {
        let mut waiting: HashMap<RequestId, Reply> = HashMap::new();
        while let Ok(handed) = self.committed.recv() {
            if let Some(prepared) = handed.install {
                self.install(*prepared, &mut waiting)?;
            }
            for prepared in handed.useless {
                self.discard(prepared);
            }
            waiting.extend(handed.waiting);
            let mut entries = handed.entries.into_iter().peekable();
            while entries.peek().is_some() {
                self.go(entries.by_ref().take(GO_ENTRIES), &mut waiting)?;
            }
            if waiting.len() > WAITING_SWEEP {
                waiting.retain(|_, reply| !reply.is_closed());
            }
        }
        Ok(())
    }

    /// Makes this member's data another's, unless it is as far by itself.
    fn install(
        &mut self,
        prepared: Prepared,
        waiting: &mut HashMap<RequestId, Reply>,
    ) -> Result<(), ApplyFailure> {
        if prepared.applied().index <= self.applier.applied().get() {
            self.discard(prepared);
            return Ok(());
        }
        let begun = Instant::now();
        self.metrics.installing(true);
        let installed = self.store.install(prepared)?;
        self.applier.reload(installed.leases)?;
        let Place { index, term } = installed.applied;
        self.progress
            .set_applied(LogIndex::new(index), Term::new(term));
        if let Some((backup, _)) = &self.backup {
            backup.tail.reset(LogIndex::new(index), Term::new(term));
        }
        self.tell_members();
        self.leases.applied();
        self.watches.skip();
        self.metrics.installing(false);
        // A compaction that was under way there goes on here.
        self.housekeeping.compact();
        // Some of their entries are in what was installed, and what came of them is nowhere.
        for (_, reply) in waiting.drain() {
            self.queues.add(reply, Err(ProposeError::Timeout.into()));
        }
        self.queues.send();
        let revision = installed.current.to_wire();
        let took = begun.elapsed();
        tracing::info!(index, revision, ?took, "applied snapshot");
        Ok(())
    }

    fn discard(&self, prepared: Prepared) {
        let place = prepared.applied();
        drop(prepared);
        if let Err(error) = self.store.backend().discard_received(place) {
            let error = Chain(&error);
            tracing::warn!(%error, "cannot delete a database that was received");
        }
    }

    fn tell_members(&self) {
        let members = self.applier.membership().load_full();
        self.peers.set_members(&members);
        if members.was_removed(self.member) {
            self.peers.note_removed_soon();
        }
    }

    /// Applies `entries`, and gives the backup a copy: their data is shared.
    fn apply(&mut self, entries: impl Iterator<Item = Entry>) -> Result<Applied, FatalError> {
        let Some((backup, _)) = &self.backup else {
            return self.applier.apply(entries);
        };
        let mut copies = Vec::with_capacity(GO_ENTRIES);
        let copied = entries.inspect(|entry| copies.push(RawEntry::from(entry.clone())));
        let applied = self.applier.apply(copied)?;
        // The first ones may have been applied before.
        let skipped = copies.len().saturating_sub(applied.revisions.len());
        let revisions = applied.revisions.iter().map(|revision| revision.number());
        backup.applied(copies.into_iter().skip(skipped).zip(revisions));
        Ok(applied)
    }

    /// Applies `entries`; readers, watchers and replies see them together.
    fn go(
        &mut self,
        entries: impl Iterator<Item = Entry>,
        waiting: &mut HashMap<RequestId, Reply>,
    ) -> Result<(), FatalError> {
        let begun = Instant::now();
        let applied = self.apply(entries)?;
        self.metrics.count(&applied, begun.elapsed());
        // Before anyone hears that the entries are applied: who waits for a token's finds it then.
        self.auth.change_tokens(applied.tokens);
        if let Some((index, term)) = applied.last {
            self.progress.set_applied(index, term);
        }
        if !applied.conf_changes.is_empty() {
            self.tell_members();
        }
        for done in applied.conf_changes {
            // Before the reply leaves: a next change must not overtake this one on its way to raft. A
            // consensus thread that is gone asks for no answer.
            let _ = self.consensus.send(ConsensusInput::ConfChangeDone(done));
        }
        for (id, result) in applied.replies {
            if let Some(reply) = waiting.remove(&id) {
                self.queues.add(reply, result.map_err(Error::from));
            }
        }
        self.queues.send();
        if !applied.changes.is_empty() {
            // Writes that were under way may pass a limit that no request has seen passed.
            if !self.quota.has_room(self.store.backend().size_in_use(), 0) {
                self.housekeeping.no_space();
            }
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
