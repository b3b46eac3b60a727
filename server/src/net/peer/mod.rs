//! Members among themselves: who they are, how they are reached, and what is on its way to them.
//!
//! One thread, with a runtime of its own, does all of it, so that no load of clients delays a
//! heartbeat. To each other member there is a link (`link.rs`): one HTTP/2 connection with two
//! streams of raft's messages, one for entries (`lane.rs`), so that heartbeats and votes never wait
//! behind them. What a member sends us comes in over its own link to us, at the peer service
//! (`service.rs`), and goes into the member's inbox, from which the consensus thread takes it.
//!
//! Raft counts every message as one that may be lost. So nothing here waits or tries again: a lane
//! that is full, or whose member cannot be reached, drops what is given to it and says so.

mod caller;
mod connection;
mod join;
mod lane;
mod link;
mod meeting;
mod pages;
mod peers;
mod service;
mod snapshot_in;
mod snapshot_out;

pub(crate) use connection::{Connection, Connector, Pings};
pub(crate) use join::{JoinError, RemoteCluster, ask_all_for_members, ask_for_members};
pub(crate) use meeting::Meetings;
pub(crate) use peers::{Network, Peers, PeersParts};

use std::sync::Arc;

use tonic::service::Routes;

use crate::api::router::{Api, ApiParts};
use crate::member::Member;

/// What other members get at the addresses for them, and a few pages.
pub(crate) fn api(parts: &ApiParts, member: &Arc<Member>, peers: Peers) -> Arc<Api> {
    let service = Routes::new(service::PeerService::server(member, peers)).into_axum_router();
    let pages = pages::pages(Arc::clone(member), parts.http().clone());
    ApiParts::of_services(service, pages)
}
