//! The rules against models, and as tables.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests fail where they cannot go on"
)]

mod ranges;
mod store;
