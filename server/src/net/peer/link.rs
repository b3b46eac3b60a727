//! The link to one other member: a task that connects, carries the two lanes, and connects again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::net::tls::{in_etcds_words, refuses_certificate};
use arc_swap::ArcSwap;
use cairn_consensus::MemberId;
use cairn_proto::cairnpb::VersionRequest;
use cairn_proto::raftpb::MessageType;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tonic::Status;

use super::caller::{Caller, Refusal};
use super::connection::Connection;
use super::lane::Lane;
use super::meeting::ForgottenHere;
use super::peers::{PeerClient, Peers, PeersParts, RETRY_MAX, RETRY_MIN};
use super::service::LANE;
use crate::logging::{Chain, fatal};
use crate::member::Transport;
use crate::settings::Url;

/// How often the time to a member and back is measured; etcd's number.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// Another member, as this one reaches it.
pub(super) struct Peer {
    id: MemberId,
    urls: ArcSwap<Vec<Url>>,
    quick: Arc<Lane>,
    entries: Arc<Lane>,
    open: Mutex<Option<Connection>>,
    /// To try at once.
    poke: Notify,
    /// To leave the addresses that were in use.
    moved: Notify,
    task: Mutex<Option<AbortHandle>>,
}

impl Peer {
    pub(super) fn new(id: MemberId, urls: Vec<Url>) -> Self {
        Self {
            id,
            urls: ArcSwap::from_pointee(urls),
            quick: Arc::default(),
            entries: Arc::default(),
            open: Mutex::default(),
            poke: Notify::new(),
            moved: Notify::new(),
            task: Mutex::default(),
        }
    }

    pub(super) fn lane(&self, has_entries: bool) -> &Arc<Lane> {
        if has_entries {
            &self.entries
        } else {
            &self.quick
        }
    }

    pub(super) fn connection(&self) -> Option<Connection> {
        self.open.lock().clone()
    }

    pub(super) fn urls(&self) -> Vec<Url> {
        Vec::clone(&self.urls.load())
    }

    pub(super) fn set_urls(&self, urls: Vec<Url>) {
        if **self.urls.load() != urls {
            self.urls.store(Arc::new(urls));
            self.moved.notify_one();
            self.poke();
        }
    }

    /// Tries to connect at once, if it is not connected.
    pub(super) fn poke(&self) {
        if self.open.lock().is_none() {
            self.poke.notify_one();
        }
    }

    pub(super) fn set_task(&self, task: AbortHandle) {
        *self.task.lock() = Some(task);
    }

    /// Ends the link for good.
    pub(super) fn stop(&self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
        self.close();
    }

    fn close(&self) -> bool {
        self.quick.close();
        self.entries.close();
        self.open.lock().take().is_some()
    }
}

/// The task's state.
pub(super) struct Link {
    peer: Arc<Peer>,
    parts: Arc<PeersParts>,
    peers: Peers,
}

impl Link {
    pub(super) const fn new(peer: Arc<Peer>, parts: Arc<PeersParts>, peers: Peers) -> Self {
        Self { peer, parts, peers }
    }

    /// Links up until the task is aborted.
    pub(super) async fn run(self) {
        let (mut wait, mut said) = (RETRY_MIN, None);
        loop {
            match self.connect().await {
                Ok(connection) => {
                    let why = self.carry(connection).await;
                    self.lost(&why, &mut said);
                    wait = RETRY_MIN;
                }
                Err(error) => {
                    self.say(&error, &mut said);
                    wait = (wait * 2).min(RETRY_MAX);
                }
            }
            let poked = tokio::time::timeout(wait, self.peer.poke.notified()).await;
            if poked.is_ok() {
                // Who calls is there, or about to be: it may call before it listens.
                wait = RETRY_MIN;
            }
        }
    }

    async fn connect(&self) -> Result<Connection, String> {
        let parts = &self.parts;
        let present = parts.meetings.present();
        let headers = Caller::headers(parts.identity, present, self.peer.id, &parts.peer_urls);
        let urls = self.peer.urls.load_full();
        let connected = parts.network.connector.connect(&urls, headers).await;
        let connection = connected.map_err(|error| self.told(&error.to_string()))?;
        let mut client = PeerClient::new(connection.clone());
        // Whoever is there says whether it is the one, before any message of raft's is lost on it; and
        // both show what their directories have been.
        let lineage = Some(parts.meetings.own());
        let met = parts.meetings.met();
        let asked = client.version(VersionRequest { lineage, met });
        let answer = match tokio::time::timeout(parts.network.connector.timeout, asked).await {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => return Err(self.refused(&status)),
            Err(_) => return Err("no answer in time".to_owned()),
        };
        let met = parts.meetings.meet(self.peer.id, answer.lineage).await;
        met.map_err(|refusal| refusal.to_string())?;
        let heard = self.peers.hear(self.peer.id, answer.met).await;
        heard.map_err(|refusal| refusal.to_string())?;
        Ok(connection)
    }

    /// Carries both lanes until either ends, and says why it did.
    async fn carry(&self, connection: Connection) -> String {
        let client = PeerClient::new(connection.clone());
        let (id, activity) = (self.peer.id, Arc::clone(&self.parts.activity));
        let quick = self.peer.quick.open();
        let entries = self.peer.entries.open().noting(move |message, waited| {
            if message.r#type() == MessageType::MsgApp {
                activity.appends().succeeded(id, waited);
            }
        });
        *self.peer.open.lock() = Some(connection);
        self.parts.activity.set_active(self.peer.id);
        tracing::info!(remote_peer_id = %self.peer.id, "peer became active");
        self.parts.metrics.connected(self.peer.id);
        let lane = |frames, name: &'static str| {
            let mut client = client.clone();
            let mut call = tonic::Request::new(frames);
            call.metadata_mut()
                .insert(LANE, tonic::metadata::MetadataValue::from_static(name));
            async move { client.raft(call).await.map(drop) }
        };
        let sent = self.parts.metrics.sent(self.peer.id);
        let quick = super::service::counted(quick, sent.clone());
        let entries = super::service::counted(entries, sent);
        let ended = tokio::select! {
            ended = lane(quick, "quick") => ended,
            ended = lane(entries, "entries") => ended,
            ended = self.probe(client.clone()) => ended,
            () = self.peer.moved.notified() => return "its addresses have changed".to_owned(),
        };
        match ended {
            Ok(()) => "the member has closed the connection".to_owned(),
            Err(status) => self.refused(&status),
        }
    }

    /// Measures the way there and back until the member does not answer; and tells it at once when
    /// somebody was met.
    async fn probe(&self, mut client: PeerClient) -> Result<(), Status> {
        let meetings = &self.parts.meetings;
        let mut news = meetings.news();
        loop {
            let (begun, met) = (Instant::now(), meetings.met());
            let asked = client.version(VersionRequest { lineage: None, met });
            let heard = self.peers.hear(self.peer.id, asked.await?.into_inner().met);
            self.parts.metrics.round_trip(self.peer.id, begun.elapsed());
            heard.await?;
            // The sender lives as long as this.
            let _ = tokio::time::timeout(PROBE_INTERVAL, news.changed()).await;
        }
    }

    fn lost(&self, why: &str, said: &mut Option<String>) {
        if self.peer.close() {
            self.parts.metrics.disconnected(self.peer.id);
            self.parts.activity.set_inactive(self.peer.id);
            self.parts.inbox.unreachable(self.peer.id);
            tracing::warn!(remote_peer_id = %self.peer.id, error = why, "peer became inactive (message send to peer failed)");
        }
        *said = Some(why.to_owned());
    }

    /// Says why there is no connection, once for each reason.
    fn say(&self, why: &str, said: &mut Option<String>) {
        if said.as_deref() != Some(why) {
            tracing::warn!(remote_peer_id = %self.peer.id, error = why, "cannot reach a peer");
            *said = Some(why.to_owned());
        }
        self.parts.metrics.send_failed(self.peer.id);
    }

    /// What went wrong, in etcd's words where TLS refused this member: with the name that it came under.
    fn told(&self, error: &str) -> String {
        let told = in_etcds_words(error);
        let tls = self.parts.network.connector.tls.as_ref();
        match tls.and_then(|tls| tls.own_name()) {
            Some(name) if refuses_certificate(&told) => {
                format!("{told} (this member's certificate is for the common name {name:?})")
            }
            _ => told,
        }
    }

    fn refused(&self, status: &Status) -> String {
        match Refusal::of(status) {
            Some(Refusal::Removed) => {
                // Whoever leads may have removed itself, and the others not know that it is committed.
                self.peers.note_removed_soon();
                Refusal::Removed.to_string()
            }
            Some(Refusal::Forgotten) => {
                let (member, by) = (self.parts.identity.member, self.peer.id);
                fatal::stop("peers", &ForgottenHere { member, by })
            }
            Some(refusal @ Refusal::Cluster) => {
                format!("request sent was ignored by remote peer due to {refusal}")
            }
            Some(refusal @ Refusal::NotForUs) => {
                let urls: Vec<_> = self.peer.urls().iter().map(Url::to_string).collect();
                format!(
                    "request sent was ignored by remote peer: {refusal}: another member answers at {}; \
                     each member needs peer URLs that lead to it alone",
                    urls.join(",")
                )
            }
            Some(refusal) => format!("request sent was ignored by remote peer: {refusal}"),
            None => self.told(&Chain(status).to_string()),
        }
    }
}
