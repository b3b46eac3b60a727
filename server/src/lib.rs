//! The server: what it offers, the way of a request through the log, and the threads that carry it.
//!
//! The modules stand on each other in this order, and `xtask/src/layers.rs` checks it:
//!
//! - `settings`: what the flags say, as data; `logging` and `metrics` beside it.
//! - `member`: a request's way through the log to the store and back, who asks, who watches.
//! - `api`: what clients are offered: gRPC, HTTP, and which of them a request gets.
//! - `net`: listeners and connections, TLS, the way to other members.
//! - `start`: all of it put together.
//!
//! The way of a put, for a reader with ten minutes: `api/grpc/kv.rs` parses it with
//! `cairn_replica::request`, `member` takes it through the log (`consensus_thread.rs`) to the store
//! (`apply_thread.rs`, which drives `cairn_replica::apply`), the reply goes back the way it came and the
//! event goes to `member/watching`. What needs no thread, socket or clock is in `cairn_replica`.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "the server is where time, threads and sockets come in"
)]

mod api;
mod commands;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod gateway;
mod grpc_proxy;
mod logging;
mod member;
mod metrics;
mod net;
mod settings;
mod start;

pub use start::{Embedded, StartError};

/// Runs this process: a command for data at rest, or a member.
#[must_use]
pub fn run() -> std::process::ExitCode {
    commands::run_process().unwrap_or_else(start::run)
}
