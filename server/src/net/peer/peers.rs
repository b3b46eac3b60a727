//! All other members, as the rest of this one sees them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use cairn_backend::Backend;
use cairn_consensus::{Identity, MemberId};
use cairn_proto::cairnpb::{self, RaftMessages, peer_client};
use cairn_proto::raftpb::{self, MessageType};
use cairn_replica::membership::Membership;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tonic::body::Body;
use tower::ServiceExt;
use tower::util::BoxService;

use super::caller::{Caller, Refusal};
use super::connection::{Connection, Connector};
use super::link::{Link, Peer};
use super::meeting::Meetings;
use super::snapshot_out::SnapshotOut;
use crate::member::inbox::InboxSender;
use crate::member::{self, AppendStats, NotConnected, PeerActivity, Transport};
use crate::metrics::PeerMetrics;
use crate::settings::Url;

/// A client of another member's peer service, over one connection.
pub(super) type PeerClient = peer_client::PeerClient<Connection>;

/// Members that are in no list yet and may be kept in mind: those that a joining member was told of,
/// or that have called. Far more than a cluster has.
const REMOTES_MAX: usize = 64;

/// The way to other members.
#[derive(Clone)]
pub(crate) struct Network {
    /// Makes connections.
    pub connector: Connector,
    /// The runtime of the peers' thread, in which they live.
    pub runtime: Handle,
}

/// What links are made of.
pub(crate) struct PeersParts {
    /// This member.
    pub identity: Identity,
    /// Where it can be reached.
    pub peer_urls: Vec<String>,
    /// How to reach others.
    pub network: Network,
    /// Where news go.
    pub inbox: InboxSender,
    /// This member's database, for those that need it.
    pub backend: Backend,
    /// Where it is noted who can be reached.
    pub activity: Arc<PeerActivity>,
    /// What is counted.
    pub metrics: PeerMetrics,
    /// What this member's directory has been, and what it has met.
    pub meetings: Meetings,
}

/// The links to all other members.
///
/// Invariants:
/// 1. There is a link to every member but this one, and to those remotes that were not removed.
/// 2. A member that was removed never gets a link again.
#[derive(Clone)]
pub(crate) struct Peers(Arc<Inner>);

struct Inner {
    parts: Arc<PeersParts>,
    table: ArcSwap<BTreeMap<MemberId, Arc<Peer>>>,
    /// Held while the table is made anew.
    remotes: Mutex<BTreeMap<MemberId, Vec<Url>>>,
    members: ArcSwap<Membership>,
    /// Tells open calls that the members have changed.
    changed: watch::Sender<()>,
    removed: watch::Sender<bool>,
}

impl Peers {
    /// No links yet.
    #[must_use]
    pub(crate) fn new(parts: PeersParts) -> Self {
        Self(Arc::new(Inner {
            parts: Arc::new(parts),
            table: ArcSwap::default(),
            remotes: Mutex::default(),
            members: ArcSwap::default(),
            changed: watch::Sender::new(()),
            removed: watch::Sender::new(false),
        }))
    }

    /// This member.
    #[must_use]
    pub(crate) fn identity(&self) -> Identity {
        self.0.parts.identity
    }

    /// Where news go.
    pub(super) fn inbox(&self) -> &InboxSender {
        &self.0.parts.inbox
    }

    /// What is counted.
    pub(super) fn metrics(&self) -> &PeerMetrics {
        &self.0.parts.metrics
    }

    fn appends(&self) -> &AppendStats {
        self.0.parts.activity.appends()
    }

    /// Counts what came from the leader.
    pub(super) fn note_received(&self, frame: &RaftMessages) {
        for append in frame.messages.iter().filter(|it| is_append(it)) {
            self.appends().received(append.encoded_len());
        }
    }

    fn send_snapshot(&self, to: MemberId, peer: Option<&Arc<Peer>>, message: raftpb::Message) {
        let parts = &self.0.parts;
        match peer {
            Some(peer) => {
                let out = SnapshotOut {
                    parts: Arc::clone(parts),
                    to,
                    urls: peer.urls(),
                    message,
                };
                parts.network.runtime.spawn(out.run());
            }
            None => parts.inbox.snapshot_sent(to, false),
        }
    }

    /// Links up with members that this one's data does not know yet.
    pub(crate) fn add_remotes(&self, members: impl IntoIterator<Item = (MemberId, Vec<Url>)>) {
        let mut remotes = self.0.remotes.lock();
        for (id, urls) in members {
            if remotes.len() < REMOTES_MAX && !urls.is_empty() {
                remotes.insert(id, urls);
            }
        }
        self.rebuild(&remotes);
    }

    /// Returns when this member has been told that it was removed from the cluster.
    pub(crate) async fn removed(&self) {
        let mut removed = self.0.removed.subscribe();
        // The sender lives as long as this.
        let _ = removed.wait_for(|removed| *removed).await;
    }

    /// Meets a caller that shows what its directory has been; what ours has been.
    pub(super) async fn meet(
        &self,
        caller: &Caller,
        shown: cairnpb::Lineage,
    ) -> Result<cairnpb::Lineage, Refusal> {
        self.check(caller)?;
        let meetings = &self.0.parts.meetings;
        meetings.meet(caller.member, Some(shown)).await?;
        Ok(meetings.own())
    }

    /// Whom this member has met, for others.
    pub(super) fn met(&self) -> Vec<cairnpb::Met> {
        self.0.parts.meetings.met()
    }

    /// Hears whom another member has met. If that puts one in doubt whose messages come in, these end.
    pub(super) async fn hear(&self, by: MemberId, met: Vec<cairnpb::Met>) -> Result<(), Refusal> {
        let members = self.0.members.load_full();
        let meetings = &self.0.parts.meetings;
        let heard = meetings.hear(by, met, &members, self.identity().member);
        if heard.await? {
            let _ = self.0.changed.send(());
        }
        Ok(())
    }

    fn check(&self, caller: &Caller) -> Result<(), Refusal> {
        caller.check(self.identity())?;
        if self.0.members.load().was_removed(caller.member) {
            return Err(Refusal::Removed);
        }
        Ok(())
    }

    /// Checks a caller against what is known of the members, and keeps in mind one that is new.
    pub(super) fn admit(&self, caller: &Caller) -> Result<(), Refusal> {
        self.check(caller)?;
        let meetings = &self.0.parts.meetings;
        meetings.check(caller.member, caller.incarnation)?;
        let table = self.0.table.load();
        if let Some(peer) = table.get(&caller.member) {
            // Who calls can be called.
            peer.poke();
            return Ok(());
        }
        let urls = readable(caller.member, &caller.peer_urls);
        self.add_remotes([(caller.member, urls)]);
        Ok(())
    }

    /// Tells when the members have changed.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    fn rebuild(&self, remotes: &BTreeMap<MemberId, Vec<Url>>) {
        let members = self.0.members.load();
        let mut wanted = remotes.clone();
        for member in members.iter() {
            wanted.insert(member.id, readable(member.id, &member.peer_urls));
        }
        wanted.remove(&self.identity().member);
        wanted.retain(|id, _| !members.was_removed(*id));
        let before = self.0.table.load_full();
        let table: BTreeMap<_, _> = wanted
            .into_iter()
            .map(|(id, urls)| match before.get(&id) {
                Some(peer) => {
                    peer.set_urls(urls);
                    (id, Arc::clone(peer))
                }
                None => (id, self.link(id, urls)),
            })
            .collect();
        for (id, peer) in before.iter().filter(|(id, _)| !table.contains_key(id)) {
            tracing::info!(remote_peer_id = %id, "removed remote peer");
            peer.stop();
            self.0.parts.activity.set_inactive(*id);
            self.appends().forget(*id);
            self.metrics().known(*id, false);
        }
        // A member knows itself too, as in etcd.
        for id in table.keys().chain([&self.identity().member]) {
            self.metrics().known(*id, true);
        }
        self.0.table.store(Arc::new(table));
    }

    fn link(&self, id: MemberId, urls: Vec<Url>) -> Arc<Peer> {
        tracing::info!(remote_peer_id = %id, remote_peer_urls = ?urls, "added remote peer");
        let peer = Arc::new(Peer::new(id, urls));
        let link = Link::new(Arc::clone(&peer), Arc::clone(&self.0.parts), self.clone());
        peer.set_task(
            self.0
                .parts
                .network
                .runtime
                .spawn(link.run())
                .abort_handle(),
        );
        peer
    }
}

/// The URLs of a member at which it can be called; of others the log says why not.
fn readable(id: MemberId, urls: &[String]) -> Vec<Url> {
    let parse = |text: &String| match Url::parse(text) {
        Ok(url) => Some(url),
        Err(error) => {
            tracing::error!(remote_peer_id = %id, url = text, %error, "a member's peer URL cannot be used");
            None
        }
    };
    urls.iter().filter_map(parse).collect()
}

impl Transport for Peers {
    fn send(&self, messages: Vec<raftpb::Message>) -> Vec<raftpb::Message> {
        let mut lost = Vec::new();
        if messages.is_empty() {
            return lost;
        }
        let table = self.0.table.load();
        let mut lanes: BTreeMap<(MemberId, bool), Vec<raftpb::Message>> = BTreeMap::new();
        for message in messages {
            let Some(to) = MemberId::from_wire(message.to.unwrap_or_default()) else {
                continue;
            };
            if message.r#type() == MessageType::MsgSnap {
                self.send_snapshot(to, table.get(&to), message);
                continue;
            }
            if is_append(&message) && table.contains_key(&to) {
                self.appends().sent(message.encoded_len());
            }
            let lane = (to, carries_entries(&message));
            lanes.entry(lane).or_default().push(message);
        }
        for ((to, has_entries), messages) in lanes {
            let not_taken = match table.get(&to) {
                Some(peer) => peer.lane(has_entries).push(messages),
                None => messages,
            };
            for _ in not_taken.iter().filter(|it| is_append(it)) {
                self.appends().failed(to);
            }
            lost.extend(not_taken);
        }
        lost
    }

    fn set_members(&self, members: &Membership) {
        let remotes = self.0.remotes.lock();
        self.0.members.store(Arc::new(members.clone()));
        self.rebuild(&remotes);
        drop(remotes);
        let parts = &self.0.parts;
        parts
            .meetings
            .forget_removed(members, &parts.network.runtime);
        let _ = self.0.changed.send(());
    }

    fn client(&self, member: MemberId) -> Result<member::PeerClient, NotConnected> {
        let table = self.0.table.load();
        let connection = table.get(&member).and_then(|peer| peer.connection());
        let connection = connection.ok_or(NotConnected(member))?;
        let service = connection.map_response(|response| response.map(Body::new));
        Ok(member::PeerClient::new(BoxService::new(service)))
    }

    fn note_removed_soon(&self) {
        /// How long that may take; etcd's time.
        const LAST_WORDS: Duration = Duration::from_secs(1);

        let peers = self.clone();
        self.0.parts.network.runtime.spawn(async move {
            tokio::time::sleep(LAST_WORDS).await;
            peers.0.removed.send_replace(true);
        });
    }
}

fn is_append(message: &raftpb::Message) -> bool {
    message.r#type() == MessageType::MsgApp
}

/// Whether a message goes over the lane for entries. All of one kind take the same lane, since raft
/// would take an append that overtakes another for a gap.
fn carries_entries(message: &raftpb::Message) -> bool {
    matches!(message.r#type(), MessageType::MsgApp | MessageType::MsgProp)
}

/// How long a member waits before it tries another again.
pub(super) const RETRY_MIN: Duration = Duration::from_millis(50);
/// The same, at most.
pub(super) const RETRY_MAX: Duration = Duration::from_secs(1);
