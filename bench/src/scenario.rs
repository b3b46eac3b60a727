//! The things that can be measured; each file holds one.
//!
//! Most are a [`Workload`](crate::load::Workload) for the load generator; watching and
//! restarting are runs of their own.

mod consistent_list;
mod fill;
mod http;
mod keyed;
mod lease;
mod mixed;
mod put;
mod range;
mod restart;
mod scan;
mod txn;
mod watch;

pub use consistent_list::ConsistentLists;
pub use fill::{Fill, fill};
pub use http::{HttpKeyed, json_puts, json_reads, v2_gets, v2_sets};
pub use keyed::Keyed;
pub use lease::{Grants, Renewals};
pub use mixed::Mixed;
pub use put::puts;
pub use range::{Consistency, pages, reads};
pub use restart::{Restart, RestartTimes};
pub use scan::{Scans, Transfer};
pub use txn::txns;
pub use watch::{Pacing, Transport, WatchPlan};
