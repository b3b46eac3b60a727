//! The server: doors, the way of a request through the log, and the threads that carry it.
//!
//! The way of a put, for a reader with ten minutes: [`grpc`] (`kv.rs`) parses it with `cairn_replica::request`,
//! [`member`] takes it through the log (`consensus_thread.rs`) to the store (`apply_thread.rs`, which
//! drives `cairn_replica::apply`), the reply goes back the way it came and the event goes to [`watching`].
//!
//! What needs no thread, socket or clock is in `cairn_replica`; `auto_compaction` takes time as an
//! argument; threads, sockets and clocks are in `member`, `serve`, `watching` and `start`.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "the server is where time, threads and sockets come in"
)]

pub mod api;
pub mod logging;
pub mod member;
pub mod metrics;
pub mod net;
pub mod settings;
pub mod start;
