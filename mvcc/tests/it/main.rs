//! The store against a model, and against itself after crashes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail where they cannot go on"
)]

mod history;
mod model;
mod ranges;
mod restores;
mod script;
