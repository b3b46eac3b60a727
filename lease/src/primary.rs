//! The leader's side: until when each lease lives.

use std::time::Duration;

use cairn_mvcc::LeaseId;

use crate::due_queue::DueQueue;
use crate::lease::{Lease, Timer};
use crate::leases::Leases;
use crate::moment::Moment;
use crate::renewal::Renewal;
use crate::term::Term;
use crate::ttl::Ttl;

/// How far what is replicated of a lease's remaining time may be behind, unless it is told otherwise;
/// etcd's number.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(300);

/// Leases in one log entry: applying it takes some milliseconds, in which nothing else is applied.
const ENTRY_LEASES_MAX: usize = 1000;
/// Keys in one log entry beyond which no lease is added.
const ENTRY_KEYS_MAX: usize = 4000;
/// Leases whose expiry may be under way: others' requests come between their entries, and what
/// expires at once is gone at the pace at which the log takes it.
const EXPIRING_MAX: usize = 4 * ENTRY_LEASES_MAX;
/// Time after which an expiry that could not be proposed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What the leader keeps beside the table.
#[derive(Debug)]
pub(crate) struct Primary {
    pub(crate) term: Term,
    /// How far what is replicated of a lease's time may be behind.
    checkpoint_interval: Duration,
    /// When to look whether a lease has expired.
    expiries: DueQueue,
    /// When to look whether a lease needs a checkpoint.
    checkpoints: DueQueue,
    /// Leases whose time is to begin at the next tick: log entries know no time.
    pub(crate) waiting: Vec<LeaseId>,
    /// Leases that a checkpoint was made of since the last tick.
    pub(crate) checkpointed: Vec<LeaseId>,
    /// How many expiries are under way.
    pub(crate) expiring: usize,
}

/// A lease that has expired, as the leader saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The lease.
    pub id: LeaseId,
    /// Which renewal of it expired.
    pub renewal: Renewal,
}

/// Leases that have expired, for one log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The term in which the entry must be for it to be applied.
    pub term: Term,
    /// The leases, in the order in which they expired.
    pub leases: Vec<Expired>,
}

/// What is left of a lease's time, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The lease.
    pub id: LeaseId,
    /// Which renewal of it is left so much of.
    pub renewal: Renewal,
    /// Time left.
    pub remaining: Ttl,
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renew {
    /// This member does not lead.
    NotLeader,
    /// There is no such lease.
    Unknown,
    /// The lease has expired: ask again when its expiry was applied or has failed.
    Expiring,
    /// A shorter time is in the log or under way there: put a renewal into the log, in this term,
    /// and ask again when it was applied.
    ThroughLog(Term),
    /// Renewed, if a majority now confirms that the term is still this one, and the lease is
    /// [still](Leases::is_still) the one that was renewed when this member has applied what was
    /// committed by then.
    Done(Renewed),
}

/// A renewal by the leader, which is not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// The term in which the leader must still lead.
    pub term: Term,
    /// The lease.
    pub id: LeaseId,
    /// The last renewal of it that is in the log.
    pub renewal: Renewal,
    /// Its time to live.
    pub ttl: Ttl,
}

/// The time of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// The time to live that was granted.
    pub granted: Ttl,
    /// What is left of it.
    pub left: Duration,
}

impl Primary {
    /// An expiry that was under way is no longer.
    pub(crate) fn leave_expiring(&mut self) {
        assert!(
            self.expiring > 0,
            "every lease that is expiring was counted"
        );
        self.expiring -= 1;
    }

    /// Begins the time of a lease, or takes it up.
    fn start(&mut self, id: LeaseId, lease: &mut Lease, now: Moment) {
        let until = match lease.timer {
            Timer::Until(until) => until,
            Timer::Waiting => now.plus_ttl(lease.replicated_time()),
            Timer::Expiring => return,
        };
        lease.timer = Timer::Until(until);
        self.expiries.push(until, id);
        self.schedule_checkpoint(id, lease, now);
    }

    fn schedule_checkpoint(&mut self, id: LeaseId, lease: &Lease, now: Moment) {
        if lease.replicated_time().duration() > self.checkpoint_interval {
            self.checkpoints
                .push(now.plus(self.checkpoint_interval), id);
        }
    }
}

impl Leases {
    /// Lets what is replicated of leases' times be behind by `interval` at most, from the next term on.
    pub const fn checkpoint_every(&mut self, interval: Duration) {
        self.checkpoint_interval = interval;
    }

    /// Begins to lead in `term`: all leases get the time that is replicated of them. The caller has
    /// applied an entry of this term.
    pub fn promote(&mut self, term: Term, now: Moment) {
        let mut primary = Primary {
            term,
            checkpoint_interval: self.checkpoint_interval,
            expiries: DueQueue::default(),
            checkpoints: DueQueue::default(),
            waiting: Vec::new(),
            checkpointed: Vec::new(),
            expiring: 0,
        };
        for (id, lease) in &mut self.table {
            lease.timer = Timer::Waiting;
            lease.checkpointing = false;
            primary.start(*id, lease, now);
        }
        self.primary = Some(primary);
    }

    /// Ceases to lead.
    pub fn demote(&mut self) {
        self.primary = None;
    }

    /// The term in which this member leads.
    #[must_use]
    pub fn leading(&self) -> Option<Term> {
        Some(self.primary.as_ref()?.term)
    }

    /// Starts the time of leases that were granted since the last tick. Call it before
    /// [`take_expired`](Self::take_expired) and [`take_checkpoints`](Self::take_checkpoints),
    /// several times a second.
    pub fn tick(&mut self, now: Moment) {
        let Some(primary) = &mut self.primary else {
            return;
        };
        for id in std::mem::take(&mut primary.waiting) {
            if let Some(lease) = self.table.get_mut(&id) {
                primary.start(id, lease, now);
            }
        }
        for id in std::mem::take(&mut primary.checkpointed) {
            if let Some(lease) = self.table.get(&id) {
                primary.schedule_checkpoint(id, lease, now);
            }
        }
        let table = &self.table;
        let running = || {
            table.iter().filter_map(|(id, lease)| match lease.timer {
                Timer::Until(until) => Some((until, *id)),
                Timer::Waiting | Timer::Expiring => None,
            })
        };
        primary.expiries.clear_out(table.len(), running);
        primary
            .checkpoints
            .clear_out(table.len(), || running().map(|(_, id)| (now, id)));
    }

    /// Leases that have expired, for one log entry; they cannot be renewed until it was applied, or
    /// [`expiry_failed`](Self::expiry_failed). Ask again until there is none.
    pub fn take_expired(&mut self, now: Moment) -> Option<Expiry> {
        let primary = self.primary.as_mut()?;
        let mut leases = Vec::new();
        let mut keys = 0;
        while leases.len() < ENTRY_LEASES_MAX
            && keys < ENTRY_KEYS_MAX
            && primary.expiring < EXPIRING_MAX
        {
            let Some(id) = primary.expiries.pop(now) else {
                break;
            };
            let Some(lease) = self.table.get_mut(&id) else {
                continue;
            };
            match lease.timer {
                Timer::Until(until) if until > now => primary.expiries.push(until, id),
                Timer::Until(_) => {
                    lease.timer = Timer::Expiring;
                    primary.expiring += 1;
                    keys += self.attachments.keys(id).take(ENTRY_KEYS_MAX).count();
                    leases.push(Expired {
                        id,
                        renewal: lease.renewal,
                    });
                }
                Timer::Waiting | Timer::Expiring => {}
            }
        }
        let term = primary.term;
        (!leases.is_empty()).then_some(Expiry { term, leases })
    }

    /// An expiry did not get into the log, or was refused there as a whole: it is tried again.
    ///
    /// Only for what is known. If it is not known whether an entry is in the log, its leases stay as
    /// they are until it is applied or the term has ended.
    pub fn expiry_failed(&mut self, expiry: &Expiry, now: Moment) {
        let Some(primary) = &mut self.primary else {
            return;
        };
        if primary.term != expiry.term {
            return;
        }
        for Expired { id, renewal } in &expiry.leases {
            if let Some(lease) = self.table.get_mut(id)
                && lease.renewal == *renewal
                && lease.timer == Timer::Expiring
            {
                primary.leave_expiring();
                lease.timer = Timer::Until(now);
                primary.expiries.push(now.plus(RETRY), *id);
            }
        }
    }

    /// Leases of whose time much more has passed than is replicated, for one log entry; none if
    /// there are none. Each is handed out once until its checkpoint was applied, or
    /// [`checkpoints_failed`](Self::checkpoints_failed).
    pub fn take_checkpoints(&mut self, now: Moment) -> Vec<Checkpoint> {
        let mut taken = Vec::new();
        let Some(primary) = &mut self.primary else {
            return taken;
        };
        while taken.len() < ENTRY_LEASES_MAX {
            let Some(id) = primary.checkpoints.pop(now) else {
                break;
            };
            let Some(lease) = self.table.get_mut(&id) else {
                continue;
            };
            let Timer::Until(until) = lease.timer else {
                continue;
            };
            if lease.checkpointing {
                continue;
            }
            let left = until.since(now);
            let replicated = lease.replicated_time().duration();
            let behind = replicated.saturating_sub(left);
            let interval = primary.checkpoint_interval;
            if behind < interval {
                // Renewed since; a lease that is renewed often needs no checkpoint at all.
                if replicated > interval {
                    let due = now.plus(interval - behind);
                    primary.checkpoints.push(due, id);
                }
                continue;
            }
            if let Some(remaining) = Ttl::covering(left) {
                lease.checkpointing = true;
                taken.push(Checkpoint {
                    id,
                    renewal: lease.renewal,
                    remaining,
                });
            }
        }
        taken
    }

    /// Checkpoints that were taken in `term` did not get into the log: they are due again later. Only
    /// for what is known, as with [`expiry_failed`](Self::expiry_failed).
    pub fn checkpoints_failed(&mut self, term: Term, checkpoints: &[Checkpoint]) {
        let Some(primary) = &mut self.primary else {
            return;
        };
        if primary.term != term {
            return;
        }
        for Checkpoint { id, .. } in checkpoints {
            if let Some(lease) = self.table.get_mut(id) {
                lease.checkpointing = false;
                primary.checkpointed.push(*id);
            }
        }
    }

    /// Renews a lease.
    pub fn renew(&mut self, id: LeaseId, now: Moment) -> Renew {
        let Some(primary) = &self.primary else {
            return Renew::NotLeader;
        };
        let Some(lease) = self.table.get_mut(&id) else {
            return Renew::Unknown;
        };
        match lease.timer {
            Timer::Expiring => return Renew::Expiring,
            Timer::Until(until) if until <= now => return Renew::Expiring,
            Timer::Until(_) | Timer::Waiting => {}
        }
        if lease.remaining.is_some() || lease.checkpointing {
            return Renew::ThroughLog(primary.term);
        }
        lease.timer = Timer::Until(now.plus_ttl(lease.ttl));
        Renew::Done(Renewed {
            term: primary.term,
            id,
            renewal: lease.renewal,
            ttl: lease.ttl,
        })
    }

    /// Whether the lease that was renewed is there: not if it was revoked since, nor if another was
    /// granted under its id, or it was renewed through the log.
    #[must_use]
    pub fn is_still(&self, renewed: &Renewed) -> bool {
        let lease = self.table.get(&renewed.id);
        lease.is_some_and(|lease| lease.renewal == renewed.renewal)
    }

    /// The time of a lease. `None` if there is no such lease, or this member does not lead.
    #[must_use]
    pub fn remaining(&self, id: LeaseId, now: Moment) -> Option<Remaining> {
        self.primary.as_ref()?;
        let lease = self.table.get(&id)?;
        let left = match lease.timer {
            Timer::Waiting => lease.replicated_time().duration(),
            Timer::Until(until) => until.since(now),
            Timer::Expiring => Duration::ZERO,
        };
        Some(Remaining {
            granted: lease.ttl,
            left,
        })
    }
}
