//! Members among themselves: who they are, how they are reached, and what is on its way to them.
//!
//! One thread, with a runtime of its own, does all of it, so that no load of clients delays a
//! heartbeat. To each other member there is a link ([`link`](self)): one HTTP/2 connection with two
//! streams of raft's messages, one for entries ([`Lane`]), so that heartbeats and votes never wait
//! behind them. What a member sends us comes in over its own link to us, at the peer door
//! ([`PeerService`]), and goes into the [`Inbox`], from which the consensus thread takes it.
//!
//! Raft counts every message as one that may be lost. So nothing here waits or tries again: a lane
//! that is full, or whose member cannot be reached, drops what is given to it and says so.

mod caller;
mod connection;
mod inbox;
mod join;
mod lane;
mod link;
mod pages;
mod peers;
mod service;
mod snapshot_in;
mod snapshot_out;

pub use caller::{Caller, Refusal};
pub use connection::{Connection, ConnectionError, Connector, Pings};
pub use inbox::{Arrived, Delivery, Inbox, InboxSender, PeerEvent, inbox};
pub use join::{JoinError, MemberInfo, RemoteCluster, ask_all_for_members, ask_for_members};
pub use lane::Lane;
pub use pages::pages;
pub use peers::{Network, NotConnected, PeerClient, Peers, PeersParts};
pub use service::PeerService;
