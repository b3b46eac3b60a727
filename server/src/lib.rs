//! The server: doors, the way of a request through the log, and the threads that carry it.
//!
//! The way of a put, for a reader with ten minutes: [`grpc`] (`kv.rs`) parses it with [`request`],
//! [`member`] takes it through the log (`consensus_thread.rs`) to the store (`apply_thread.rs`, which
//! drives [`apply`]), the reply goes back the way it came and the event goes to [`watching`].
//!
//! `apply`, `request`, `alarms`, `membership`, `quota` and `auto_compaction` take time and chance as
//! arguments; threads, sockets and clocks are in `member`, `serve`, `watching` and `start`.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "the server is where time, threads and sockets come in"
)]

pub mod alarms;
pub mod apply;
pub mod auto_compaction;
pub mod doors;
pub mod error;
pub mod fatal;

pub mod grpc;
pub mod http;
pub mod identity;
pub mod lock_file;
pub mod log_request;
pub mod logging;
pub mod member;
pub mod membership;
pub mod metrics;
pub mod quota;
pub mod request;
pub mod serve;
pub mod settings;
pub mod start;
pub mod status;
pub mod watching;
