//! Tests of leases against the real store: rules one by one, and whole groups of members against a
//! naive model.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests, but not all of it inside test functions"
)]

mod group;
mod member;
mod properties;
mod rules;
