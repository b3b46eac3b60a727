//! What a leader does about leases by itself: it ends those that have expired, and notes what is left
//! of the others.
//!
//! What it decides is `cairn_lease`'s; here is when it may, and the request that carries it into the
//! log. The driver brings the clock, proposes, and says what is known not to have been carried out.

use cairn_lease::{Checkpoint, Expiry, Leases, Moment, Term};

use crate::lease_request::LeaseRequest;
use crate::log_request::LogRequest;

/// What the leader decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// Leases have expired.
    Expiry(Expiry),
    /// What is left of leases.
    Checkpoints(Term, Vec<Checkpoint>),
}

impl Decided {
    /// The request that carries it out.
    #[must_use]
    pub fn request(&self) -> LogRequest {
        LogRequest::Lease(match self {
            Self::Expiry(expiry) => LeaseRequest::Expire(expiry.clone()),
            Self::Checkpoints(term, checkpoints) => LeaseRequest::Checkpoint {
                term: *term,
                leases: checkpoints.clone(),
            },
        })
    }

    /// Takes it back: it is certain that it neither was nor will be carried out.
    pub fn take_back(&self, leases: &mut Leases, now: Moment) {
        match self {
            Self::Expiry(expiry) => leases.expiry_failed(expiry, now),
            Self::Checkpoints(term, checkpoints) => leases.checkpoints_failed(*term, checkpoints),
        }
    }
}

/// Lets the leases follow who leads: `led` is the term in which this member leads, if it has applied
/// an entry of that term. Whether anything changed, which renewals may be waiting for.
pub fn follow_leadership(leases: &mut Leases, led: Option<Term>, now: Moment) -> bool {
    if leases.leading() == led {
        return false;
    }
    match led {
        Some(term) => leases.promote(term, now),
        None => leases.demote(),
    }
    true
}

/// What is due, each for one log entry; nothing if this member does not lead.
pub fn due(leases: &mut Leases, now: Moment) -> Vec<Decided> {
    let Some(term) = leases.leading() else {
        return Vec::new();
    };
    leases.tick(now);
    let expired = std::iter::from_fn(|| leases.take_expired(now));
    let mut due: Vec<Decided> = expired.map(Decided::Expiry).collect();
    let checkpoints = leases.take_checkpoints(now);
    if !checkpoints.is_empty() {
        due.push(Decided::Checkpoints(term, checkpoints));
    }
    due
}
