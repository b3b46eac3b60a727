//! What a member needs of the network between members.

use cairn_consensus::MemberId;
use cairn_proto::cairnpb::peer_client;
use cairn_proto::raftpb;
use cairn_replica::membership::Membership;
use http::{Request, Response};
use tonic::body::Body;
use tower::util::BoxService;

/// A client of another member's peer service.
pub(crate) type PeerClient =
    peer_client::PeerClient<BoxService<Request<Body>, Response<Body>, hyper::Error>>;

/// The way to the other members.
pub(crate) trait Transport: Send + Sync {
    /// Sends messages; those that it returns never left. Never waits.
    ///
    /// A message that it has taken is not returned, even if its connection breaks: nobody knows then
    /// whether it has arrived, and a proposal that comes twice would be two.
    fn send(&self, messages: Vec<raftpb::Message>) -> Vec<raftpb::Message>;

    /// Links up with the members as they are now.
    fn set_members(&self, members: &Membership);

    /// A client of a member's peer service, over the link to it.
    ///
    /// # Errors
    ///
    /// [`NotConnected`].
    fn client(&self, member: MemberId) -> Result<PeerClient, NotConnected>;

    /// Notes that this member was removed, once what it has still to say to others has left.
    fn note_removed_soon(&self);
}

/// A member cannot be asked at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no connection to member {0}")]
pub(crate) struct NotConnected(pub MemberId);
