//! Whole clusters in one thread, driven by one seed.
//!
//! The members run the production code: raft's driver and the log on a disk that tears and loses,
//! apply, the store on an engine that loses what was not committed, the hub. The simulator's are
//! clock, disk, network and chance, and the loops that stand for the server's threads. A seed gives a
//! [`Schedule`], a schedule gives the same run each time, to the byte.
//!
//! What is not here: sockets, TLS, the server's own threads and LMDB. `docs/SIMULATION.md` says how
//! to play a seed again.
#![forbid(unsafe_code)]

mod api;
mod chance;
mod check;
mod generator;
mod invariants;
mod member;
mod network;
mod planted;
mod profile;
mod rules;
mod schedule;
mod trace;
mod watching;
mod world;

pub use check::{Failure, Options, Report, keep_panics, play, shrink};
pub use generator::generate;
pub use invariants::Violation;
pub use planted::Planted;
pub use profile::{PROFILES, Profile};
pub use schedule::{
    Action, Ask, Change, Cluster, Direction, Leaves, Millis, OfLease, RuleChange, Schedule, Step,
    WatchFrom, Whom,
};
pub use trace::Line;
