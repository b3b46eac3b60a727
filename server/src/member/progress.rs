//! How far a member is: written by its consensus and apply threads, read by every door.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

use cairn_consensus::{LogIndex, MemberId, Term};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Where a member stands in the log, and who leads.
///
/// Single numbers, each moved by one thread and read by any: nothing here orders two of them. What
/// must be consistent (revision, index, data) is the store's own snapshot.
#[derive(Debug, Default)]
pub struct Progress {
    term: AtomicU64,
    leader: AtomicU64,
    committed: AtomicU64,
    applied: AtomicU64,
    applied_term: AtomicU64,
    role: AtomicU8,
    leader_changes: AtomicU64,
    moved: Notify,
    leader_moved: Notify,
    /// When the present leader began to lead, as far as this member saw it.
    leader_since: Mutex<Option<Instant>>,
}

/// What a member is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
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
    pub const fn leads(self) -> bool {
        matches!(self, Self::SoleVoter | Self::Leader)
    }
}

impl Progress {
    /// Notes what the consensus thread sees.
    pub fn set_group(&self, role: Role, term: Term, leader: Option<MemberId>, committed: LogIndex) {
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
    pub fn set_applied(&self, index: LogIndex, term: Term) {
        self.applied_term.store(term.get(), Ordering::Release);
        self.applied.store(index.get(), Ordering::Release);
        self.moved.notify_waiters();
    }

    /// Waits until everything up to `index` has been applied.
    pub async fn wait_applied(&self, index: LogIndex) {
        loop {
            let moved = self.moved.notified();
            if self.applied() >= index {
                return;
            }
            moved.await;
        }
    }

    /// Waits until `is_it` holds for who leads.
    pub async fn wait_leader(&self, is_it: impl Fn(Option<MemberId>) -> bool) {
        loop {
            let moved = self.leader_moved.notified();
            if is_it(self.leader()) {
                return;
            }
            moved.await;
        }
    }

    /// Since when the present leader leads, if there is one.
    pub fn leader_since(&self) -> Option<Instant> {
        *self.leader_since.lock()
    }

    /// The member's role.
    pub fn role(&self) -> Role {
        Role::from_code(self.role.load(Ordering::Acquire))
    }

    /// The current term. It may not be durable yet: what clients are shown is the
    /// [term that was applied](Self::applied_term), as etcd does it.
    pub fn term(&self) -> Term {
        Term::new(self.term.load(Ordering::Acquire))
    }

    /// Who leads, if anyone is known to.
    pub fn leader(&self) -> Option<MemberId> {
        MemberId::from_wire(self.leader.load(Ordering::Acquire))
    }

    /// How often another member, or one after none, began to lead.
    pub fn leader_changes(&self) -> u64 {
        self.leader_changes.load(Ordering::Relaxed)
    }

    /// The last entry known to be committed.
    pub fn committed(&self) -> LogIndex {
        LogIndex::new(self.committed.load(Ordering::Acquire))
    }

    /// The term of the last entry applied since the start.
    pub fn applied_term(&self) -> Term {
        Term::new(self.applied_term.load(Ordering::Acquire))
    }

    /// The last entry applied.
    pub fn applied(&self) -> LogIndex {
        LogIndex::new(self.applied.load(Ordering::Acquire))
    }
}
