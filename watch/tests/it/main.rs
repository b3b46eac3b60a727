//! The hub as its users see it: rules of single calls, and properties under any interleaving.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests, but not all of it inside test functions"
)]

mod client;
mod past;
mod properties;
mod script;
mod world;
