//! The client against real servers: this workspace's, and an etcd where one is installed.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests, but not all of it inside test functions, of real processes in real time"
)]

mod caches;
mod calls;
mod gate;
mod server;
mod sessions;
mod watches;
