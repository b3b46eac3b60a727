//! Tests of the backend through its public face, over both engines.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail where they cannot go on"
)]

mod disk;
mod engines;
mod snapshot;
mod suite;
