//! The hub as its users see it: rules of single calls, and properties under any interleaving.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests, but not all of it inside test functions"
)]

mod client;
mod installs;
mod pace;
mod past;
mod properties;
mod rules;
mod scene;
mod script;
mod store;
mod world;
