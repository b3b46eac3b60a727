//! How far a member is: written by its consensus and apply threads, read by every request.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

use cairn_backend::{Applied, Backend, ReadError};
use cairn_consensus::{LogIndex, MemberId, Term};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Where a member stands in the log, and who leads.
///
/// Single numbers, each moved by one thread and read by any: nothing here orders two of them. What
/// must be consistent (revision, index, data) is the store's own snapshot.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    term: AtomicU64,
    leader: AtomicU64,
    committed: AtomicU64,
    applied: AtomicU64,
    applied_term: AtomicU64,
    shown_term: AtomicU64,
    role: AtomicU8,
    leader_changes: AtomicU64,
    moved: Notify,
    leader_moved: Notify,
    /// When the present leader began to lead, as far as this member saw it.
    leader_since: Mutex<Option<Instant>>,
}

/// What a member is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It leads, and is the only voter: what it has applied is the latest there is.
    SoleVoter,
    /// It leads others.
    Leader,
    /// It follows, or looks for a leader.
    Follower,
    /// It follows without a vote.
    Learner,
}

impl Role {
    const fn code(self) -> u8 {
        match self {
            Self::Follower => 0,
            Self::Leader => 1,
            Self::SoleVoter => 2,
            Self::Learner => 3,
        }
    }

    const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Leader,
            2 => Self::SoleVoter,
            3 => Self::Learner,
            _ => Self::Follower,
        }
    }

    /// Whether it leads.
    pub(crate) const fn leads(self) -> bool {
        matches!(self, Self::SoleVoter | Self::Leader)
    }
}

impl Progress {
    /// How far a member is before it runs: its data is in `backend`, its log is of `term`.
    ///
    /// # Errors
    ///
    /// If the backend cannot be read.
    pub(crate) fn at_start(backend: &Backend, term: Term) -> Result<Self, ReadError> {
        let Applied {
            index,
            term: applied_term,
        } = Applied::read(&backend.read()?)?;
        let progress = Self::default();
        progress.set_applied(LogIndex::new(index), Term::new(applied_term));
        progress.shown_term.store(term.get(), Ordering::Release);
        Ok(progress)
    }

    /// Notes what the consensus thread sees.
    pub(crate) fn set_group(
        &self,
        role: Role,
        term: Term,
        leader: Option<MemberId>,
        committed: LogIndex,
    ) {
        self.term.store(term.get(), Ordering::Release);
        self.committed.store(committed.get(), Ordering::Release);
        self.role.store(role.code(), Ordering::Release);
        let leader = leader.map_or(0, MemberId::get);
        if self.leader.swap(leader, Ordering::AcqRel) == leader {
            return;
        }
        if leader != 0 {
            self.leader_changes.fetch_add(1, Ordering::Relaxed);
        }
        *self.leader_since.lock() = (leader != 0).then(Instant::now);
        self.leader_moved.notify_waiters();
    }

    /// Notes that everything up to `index` has been applied and can be read.
    pub(crate) fn set_applied(&self, index: LogIndex, term: Term) {
        self.applied_term.store(term.get(), Ordering::Release);
        self.shown_term.fetch_max(term.get(), Ordering::AcqRel);
        self.applied.store(index.get(), Ordering::Release);
        self.moved.notify_waiters();
    }

    /// Waits until everything up to `index` has been applied.
    pub(crate) async fn wait_applied(&self, index: LogIndex) {
        loop {
            let moved = self.moved.notified();
            if self.applied() >= index {
                return;
            }
            moved.await;
        }
    }

    /// Waits until `is_it` holds for who leads.
    pub(crate) async fn wait_leader(&self, is_it: impl Fn(Option<MemberId>) -> bool) {
        loop {
            let moved = self.leader_moved.notified();
            if is_it(self.leader()) {
                return;
            }
            moved.await;
        }
    }

    /// Since when the present leader leads, if there is one.
    pub(crate) fn leader_since(&self) -> Option<Instant> {
        *self.leader_since.lock()
    }

    /// The member's role.
    pub(crate) fn role(&self) -> Role {
        Role::from_code(self.role.load(Ordering::Acquire))
    }

    /// The current term. It may not be durable yet: clients are shown
    /// [another](Self::shown_term).
    pub(crate) fn term(&self) -> Term {
        Term::new(self.term.load(Ordering::Acquire))
    }

    /// Who leads, if anyone is known to.
    pub(crate) fn leader(&self) -> Option<MemberId> {
        MemberId::from_wire(self.leader.load(Ordering::Acquire))
    }

    /// How often another member, or one after none, began to lead.
    pub(crate) fn leader_changes(&self) -> u64 {
        self.leader_changes.load(Ordering::Relaxed)
    }

    /// The last entry known to be committed.
    pub(crate) fn committed(&self) -> LogIndex {
        LogIndex::new(self.committed.load(Ordering::Acquire))
    }

    /// The term that clients are shown: that of the last entry applied, as etcd does it. It does not
    /// go back, also not over a restart, after which entries are applied once more: till then it is
    /// what the log held on disk.
    pub(crate) fn shown_term(&self) -> Term {
        Term::new(self.shown_term.load(Ordering::Acquire))
    }

    /// The term of the last entry applied.
    pub(crate) fn applied_term(&self) -> Term {
        Term::new(self.applied_term.load(Ordering::Acquire))
    }

    /// The last entry applied.
    pub(crate) fn applied(&self) -> LogIndex {
        LogIndex::new(self.applied.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use cairn_backend::{BackendOptions, MemoryEngine};

    use super::*;

    #[test]
    fn a_member_starts_with_what_it_had_applied_and_shows_no_earlier_term() {
        let backend = Backend::open(MemoryEngine::new(), BackendOptions::default()).unwrap();
        let new = Progress::at_start(&backend, Term::new(0)).unwrap();
        assert_eq!((new.applied(), new.shown_term().get()), (LogIndex::ZERO, 0));
        let mut batch = backend.write();
        Applied { index: 17, term: 3 }.write(&mut batch);
        batch.end().unwrap();
        let progress = Progress::at_start(&backend, Term::new(5)).unwrap();
        assert_eq!(progress.applied(), LogIndex::new(17));
        assert_eq!(progress.applied_term(), Term::new(3));
        for (term, shown) in [(3, 5), (4, 5), (5, 5), (6, 6)] {
            progress.set_applied(LogIndex::new(20 + term), Term::new(term));
            assert_eq!(progress.applied_term(), Term::new(term));
            assert_eq!(progress.shown_term(), Term::new(shown));
        }
    }
}
