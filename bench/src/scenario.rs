//! The things that can be measured; each file holds one.
//!
//! Most are a [`Workload`](crate::load::Workload) for the load generator; watching and
//! restarting are runs of their own.

mod fill;
mod mixed;
mod put;
mod range;
mod restart;
mod scan;
mod txn;
mod watch;

pub use fill::{Fill, fill};
pub use mixed::Mixed;
pub use put::Puts;
pub use range::{Consistency, Ranges};
pub use restart::{Restart, RestartTimes};
pub use scan::{Scans, Transfer};
pub use txn::Txns;
pub use watch::{Pacing, WatchPlan};
