//! A client for etcd's API that resumes what a lost connection interrupts.
//!
//! It works against etcd 3.4 to 3.7 and against Cairn, and needs a tokio runtime.
//!
//! ```no_run
//! use cairn_client::{Client, Keys};
//!
//! # async fn run() -> Result<(), cairn_client::Error> {
//! let client = Client::connect(["http://127.0.0.1:2379"]).await?;
//!
//! client.put("greeting", "hello").await?;
//! if let Some(kv) = client.get("greeting").await? {
//!     println!("{:?} since revision {}", kv.text(), kv.mod_revision);
//! }
//! let all = client.range(Keys::prefix("gree")).await?;
//! println!("{} keys at revision {}", all.count, all.header.revision);
//! # Ok(())
//! # }
//! ```
//!
//! | to | see |
//! |---|---|
//! | connect, with TLS and users | [`ConnectOptions`], [`Tls`] |
//! | read and write keys | [`Client::get`], [`Client::range`], [`Client::put`], [`Client::delete`], [`Client::txn`] |
//! | hear of changes | [`Client::watch`] |
//! | have keys at hand that stay fresh | [`Client::cache`] |
//! | keep keys as long as a program lives | [`Client::leases`], [`Leases::keep`] |
//! | lock, elect, queue, wait for each other | [`Client::session`], [`Client::election`], [`Client::queue`], [`Client::stm`] |
//! | look after members, users and alarms | [`Client::cluster`], [`Client::auth`], [`Client::maintenance`] |
//! | tell errors apart | [`Error`], [`EtcdError`] |
//!
//! Nothing here knows Cairn's server: of the workspace it stands on the wire types alone.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "a client lives in time; what decides by it takes it as an argument"
)]

mod auth;
mod balance;
pub mod blocking;
#[cfg(feature = "cache")]
mod cache;
mod client;
mod clock;
mod cluster;
mod concurrency;
mod connect;
mod counters;
mod error;
mod etcd_error;
mod into_bytes;
mod keys;
#[cfg(feature = "v2")]
mod keys_api;
mod kv;
mod lease;
mod maintenance;
mod mirror;
mod revision;
mod rpc;
mod token;
mod transport;
mod unfold;
mod watch;

/// The wire types, for [`Client::call`].
pub use cairn_proto as proto;

pub use auth::{Auth, AuthStatus, Permission, Right};
#[cfg(feature = "cache")]
pub use cache::{Cache, CacheRequest, Callback, Change, Changes, Entry, Health, Snapshot};
pub use client::Client;
pub use cluster::{Cluster, Member};
pub use concurrency::{
    Barrier, DoubleBarrier, Election, Entered, Isolation, Leadership, Lock, PriorityQueue, Queue,
    ReadLock, Session, Stm, WriteLock,
};
#[cfg(feature = "json")]
pub use concurrency::{Service, ServiceEndpoint};
#[cfg(feature = "tls")]
pub use connect::Tls;
pub use connect::{ConnectOptions, Connecting, Connector, Endpoint, Socket};
pub use counters::Counters;
pub use error::{Error, ServerError};
pub use etcd_error::{Code, EtcdError};
pub use into_bytes::IntoBytes;
pub use keys::Keys;
#[cfg(feature = "v2")]
pub use keys_api::{
    DeleteOptions, GetOptions, KeysApi, Node, SetOptions, V2Error, V2Response, V2Watcher,
    WatcherOptions,
};
pub use kv::{
    Compact, Compare, CompareNumber, CompareValue, Delete, DeleteResponse, Get, Header, InTxn,
    KeyValue, Op, OpResponse, Order, Put, PutResponse, Range, RangeChunks, RangeResponse, SortBy,
    Txn, TxnResponse,
};
pub use lease::{Grant, LeaseGuard, Leases, Remaining};
pub use maintenance::{
    AlarmMember, AlarmType, DowngradeAction, HashKvResponse, Maintenance, SnapshotResponse,
    StatusResponse,
};
pub use mirror::Mirror;
pub use revision::{LeaseId, Revision};
pub use rpc::{Effect, Rpc};
#[cfg(feature = "relay")]
pub use transport::RelayedBody;
pub use watch::{Event, Update, Watch, WatchRequest};

#[cfg(all(doctest, feature = "cache"))]
#[doc = include_str!("../README.md")]
struct ReadMe;
