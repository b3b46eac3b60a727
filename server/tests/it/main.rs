//! The server as its clients see it: the built binary, real sockets, plain gRPC clients.
//!
//! The tables of cases say what etcd does. With `CAIRN_TEST_SERVER` naming another server's binary,
//! such as etcd's own, the tests run against that.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests, but not all of it inside test functions, of a real process in real time"
)]

mod absurd_clients;
mod auth;
mod auth_calls;
mod auth_leases;
mod auth_tokens;
mod backups;
mod certificates;
mod cluster;
mod cluster_harness;
mod compaction;
mod corruption;
mod damage;
mod damaged_directories;
mod damaged_rows;
mod discovery;
mod etcd_data;
mod etcd_edges;
mod flags;
mod forgetting;
mod full_disk;
mod gate;
mod gateway;
mod gateway_absurd;
mod gateway_streams;
mod gateway_tls;
mod gateway_websockets;
mod gateways;
mod harness;
mod http_client;
mod learners;
mod leases;
mod locks;
mod maintenance;
mod metadata;
mod metrics;
mod operators_mistakes;
mod plain_words;
mod proxies;
mod quotas;
mod ranges;
mod raw_ranges;
mod rebuilding;
mod requests;
mod restarts;
mod services;
mod snapshots;
mod stopping;
mod streams_half_closed;
mod tls;
mod transactions;
mod v2;
mod wall_clocks;
mod watches;
