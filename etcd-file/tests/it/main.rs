//! The crate's promises, checked from outside.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests fail where they cannot go on"
)]

mod bolt;
mod damage;
mod logs;
mod rows;
