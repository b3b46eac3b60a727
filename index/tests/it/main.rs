//! The index as the crates above use it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod model;
mod random_histories;
