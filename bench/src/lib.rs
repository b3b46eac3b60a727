//! Load for any etcd endpoint, and side-by-side runs of two servers.
//!
//! A run is a [`load::LoadPlan`] with a workload of [`scenario`], or a scenario with a run of its
//! own (watching, restarting). Its result is a [`measurement::Measurement`], shown by [`report`]
//! and [`plot`]. Requests are encoded once and sent by the `h2` crate directly: a load generator
//! on a whole gRPC client costs more processor time than the server that it measures. What speaks
//! JSON, and the second API, are called over HTTP/1.1, and watched over WebSockets.
//!
//! Not here: correctness. The generator counts errors, and looks once whether a scan is whole.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "a load generator measures the time that passes and sleeps in it"
)]

pub mod access;
pub mod cluster;
pub mod compare;
pub mod conditions;
pub mod connection;
pub mod disk_sync;
pub mod endpoint;
pub mod framing;
pub mod gap;
pub mod http1;
pub mod interrupt;
pub mod key_space;
pub mod latencies;
pub mod load;
pub mod machine;
pub mod measurement;
pub mod median;
pub mod plot;
pub mod probe;
pub mod progress;
pub mod pulse;
pub mod report;
pub mod running_server;
pub mod scenario;
pub mod server_command;
pub mod server_process;
mod socket;
pub mod target;
pub mod template;
pub mod tls;
pub mod user;
pub mod web_socket;
pub mod wire;
