//! The store against a model, and against itself after crashes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail where they cannot go on"
)]

mod any_bytes;
mod compaction;
mod hashes;
mod history;
mod installs;
mod model;
mod ranges;
mod restores;
mod scans;
mod script;
mod transactions;
