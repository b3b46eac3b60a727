//! The stored tree against a naive one, and its rules one by one.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail where they cannot go on"
)]

mod model;
mod rules;
mod scripts;
mod subject;
