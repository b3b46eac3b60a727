//! The checks, proved: histories of a correct store pass, whatever happens to its clients; each rule
//! finds the histories that break it.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests, but not all of it inside test functions"
)]

mod accepted;
mod cluster;
mod mutated;
mod naive_store;
mod orders;
mod story;
mod watchers;
mod world;
