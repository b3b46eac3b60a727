//! Runs the generator against a tiny HTTP/2 server in this process: no etcd is needed.
#![expect(
    clippy::unwrap_used,
    reason = "a test server that cannot answer fails its test"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "a load generator measures the time that passes"
)]

mod load;
mod tiny_server;
