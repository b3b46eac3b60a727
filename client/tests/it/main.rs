//! The client against real servers: this workspace's, and an etcd where one is installed.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests, but not all of it inside test functions, of real processes in real time"
)]

mod beside_go;
mod caches;
mod calls;
mod copies;
mod examples;
mod fake;
mod faults;
mod gate;
mod secured;
mod server;
mod sessions;
mod v2;
mod watches;
mod websockets;
