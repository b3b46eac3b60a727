//! Leases: keys attached to one are deleted when it is not kept alive.
//!
//! [`Leases`] is two things in one table. What is **replicated** (which leases there are, their time
//! to live, what was left of it at the last checkpoint, the keys attached) changes only by log
//! entries, without a clock, alike on every member. What only the **leader** knows (until when each
//! lease lives) is never in the log: it starts with [`Leases::promote`], ends with
//! [`Leases::demote`], and takes the time as an argument.
//!
//! # Fencing
//!
//! The promise is: *a lease whose renewal was answered with a time to live t does not expire before t
//! has passed since the renewal was asked for*, whatever stalls and whoever leads. (Clocks must run at
//! the same speed; they need not agree.) A leader that finds a lease expired proposes an entry with
//! its [`Term`] and the lease's [`Renewal`]. The promise then stands on five rules, the first two of
//! which are the caller's:
//!
//! 1. *An entry that carries a term is applied only if the log holds it in that term.* A stalled
//!    leader's expiry that another leader puts into the log for it does nothing.
//! 2. *A leader is promoted after it has applied an entry of its own term.* All entries of earlier
//!    terms that will ever be applied are before that one, so an old leader's expiry was applied, or
//!    never will be, before the new one answers the first renewal. And a renewal is answered only
//!    after a majority confirmed, later than the renewal was noted, that the term is still the
//!    current one: so whoever leads next is promoted later, and gives each lease its whole time. What
//!    was committed by then is applied, and the lease is looked at again ([`Leases::is_still`]): it may
//!    have been revoked, and another granted under its id.
//! 3. *While an expiry is under way its lease cannot be renewed* ([`Renew::Expiring`]): the answer
//!    waits until the entry is applied, or known not to be in the log, or the term has ended.
//! 4. *An expiry, and a checkpoint, does nothing if the lease's [`Renewal`] is another than it
//!    carries*: the lease was revoked and granted again, or renewed through the log, since the leader
//!    decided.
//! 5. *What shortens a lease at the next leader is a checkpoint, and a renewal undoes it through the
//!    log before it is answered* ([`Renew::ThroughLog`]). One that is still under way, and comes after
//!    the renewal, is of an earlier renewal then; and as checkpoints carry their term as expiries do,
//!    none comes later than that.
//!
//! Not here: the log, threads, and who waits for what.
#![forbid(unsafe_code)]

mod attachments;
mod due_queue;
mod error;
mod lease;
mod leases;
mod moment;
mod primary;
mod record;
mod renewal;
mod term;
mod ttl;

pub use cairn_mvcc::LeaseId;
pub use error::GrantError;
pub use leases::Leases;
pub use moment::Moment;
pub use primary::{CHECKPOINT_INTERVAL, Checkpoint, Expired, Expiry, Remaining, Renew, Renewed};
pub use renewal::Renewal;
pub use term::Term;
pub use ttl::{Ttl, TtlTooLarge};
