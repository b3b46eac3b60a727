//! Starting a member: open what it holds, take up where it left off, open the listeners.

mod belonging;
mod bootstrap;
mod data;
mod data_paths;
pub(crate) mod discovery;
mod embedded;
mod listeners;
mod lock_file;
mod process;
mod service_manager;
mod wiring;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cairn_backend::Committer;
use cairn_proto::membershippb::{
    Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest,
};
use cairn_replica::log_request::LogRequest;
use crossbeam_channel::Sender;

use self::data::Data;
use cairn_consensus::{FirstMember, Identity};
use cairn_migrate::{DataDir, Kind};

use crate::settings::NewCluster;

use self::data_paths::DataPaths;
pub(crate) use self::listeners::cannot_listen;
use self::listeners::{open_client_listeners, open_peer_listeners, start_peer_worker};
use self::wiring::{Wired, wire};
use crate::api::grpc::LeaderLoss;
use crate::api::router::ApiParts;
use crate::member::auth::Caller;
use crate::member::watching::WatchHandle;
use crate::member::{ConsensusInput, Member, ReplyQueues, Role};
use crate::metrics::{GRPC_METHODS, Metrics, MetricsSource};
use crate::net::peer::{Connector, Network, Peers, Pings};
use crate::net::serve::Workers;
use crate::net::tls::ClientTls;
use crate::settings::{CLUSTER_VERSION, Settings};
use crate::start::lock_file::LockFile;

pub use embedded::Embedded;

pub(crate) use process::run;

/// Why a member does not start.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// How long a connection to another member may take, beside an election timeout; etcd's number.
const PEER_DIAL_TIME: Duration = Duration::from_secs(1);

/// How long a server waits for the one before it to be gone.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// A member and its threads.
pub(crate) struct Server {
    member: Arc<Member>,
    peers: Peers,
    workers: Workers,
    peer_worker: Workers,
    consensus: Sender<ConsensusInput>,
    threads: Vec<JoinHandle<()>>,
    committer: Committer,
    _lock: LockFile,
}

impl Server {
    /// Starts a member and opens its listeners.
    ///
    /// # Errors
    ///
    /// [`StartError`], whose text tells an operator what is wrong.
    pub(crate) fn start(settings: &Settings) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new(MetricsSource {
            feature_gates: &settings.feature_gates,
            grpc_methods: GRPC_METHODS,
            detail: settings.metrics_detail,
        })?);
        refuse_etcds_data(settings)?;
        let paths = DataPaths::create(settings)?;
        let lock = LockFile::take(&settings.data_dir, LOCK_PATIENCE)?;
        let peer_worker = start_peer_worker()?;
        let network = network(settings, &peer_worker)?;
        let (data, committer) = Data::open(settings, &paths, &metrics, &network)?;
        let (queues, reply_tasks) = ReplyQueues::new(worker_count());
        let Wired {
            member,
            peers,
            threads,
        } = wire(settings, data, network, queues, metrics)?;
        let threads = threads.start()?;
        let leader_loss = leader_loss(settings, &member, &peer_worker)?;
        let parts = ApiParts::new(&member, settings, leader_loss)?;
        open_peer_listeners(settings, &member, peers.clone(), &parts, &peer_worker)?;
        let workers = open_client_listeners(settings, &parts)?;
        for (worker, queue) in workers.handles().zip(reply_tasks) {
            worker.spawn(queue);
            worker.spawn(WatchHandle::wake_tasks());
        }
        let runtimes = workers.handles().chain(peer_worker.handles());
        member.metrics.count_tasks(runtimes);
        look_after_cluster(settings, &member, &workers);
        Ok(Self {
            consensus: member.consensus.clone(),
            member,
            peers,
            workers,
            peer_worker,
            threads,
            committer,
            _lock: lock,
        })
    }

    /// Makes the member known through the log, which also shows that the log works.
    ///
    /// # Errors
    ///
    /// The log's.
    pub(crate) async fn publish(&self, settings: &Settings) -> Result<(), StartError> {
        let checks = settings.raft.corruption_checks;
        if checks.at_start {
            self.member.check_at_start().await?;
        }
        let client_urls = settings
            .advertise
            .clients
            .iter()
            .map(|url| url.as_str().to_owned())
            .collect();
        let attributes = Attributes {
            name: settings.name.clone(),
            client_urls,
        };
        let request = ClusterMemberAttrSetRequest {
            member_id: self.member.identity.member.get(),
            member_attributes: Some(attributes),
        };
        self.propose_until_done(LogRequest::ClusterMemberAttrSet(request))
            .await?;
        if self.member.membership().version().is_none() {
            let request = ClusterVersionSetRequest {
                ver: CLUSTER_VERSION.to_owned(),
            };
            self.propose_until_done(LogRequest::ClusterVersionSet(request))
                .await?;
        }
        self.member.serving.published();
        tracing::info!(
            member = %self.member.identity.member,
            name = settings.name,
            "published local member to cluster through raft"
        );
        Ok(())
    }

    /// How the member stands, for people.
    pub(crate) fn standing(&self) -> String {
        let progress = self.member.progress();
        let term = progress.shown_term().get();
        match (progress.leader(), progress.role()) {
            (None, _) => "waiting for a quorum".to_owned(),
            _ if !self.member.serving.is_open() => "catching up with the cluster".to_owned(),
            (Some(_), Role::SoleVoter | Role::Leader) => format!("leading in term {term}"),
            (Some(leader), Role::Follower) => format!("following {leader} in term {term}"),
            (Some(leader), Role::Learner) => format!("learning from {leader} in term {term}"),
        }
    }

    /// Whether all threads are there. One that fails ends the process; one that is gone by itself does
    /// not.
    pub(crate) fn is_whole(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Returns when this member has been removed from the cluster.
    pub(crate) async fn removed(&self) {
        self.peers.removed().await;
    }

    /// Hands leadership over, if this member has it and there is somebody to take it; returns soon.
    pub(crate) async fn hand_over(&self) {
        self.member.hand_over().await;
    }

    /// Closes the listeners, writes out what is buffered and ends all threads.
    pub(crate) fn stop(self) {
        tracing::info!("closing etcd server");
        drop(self.workers);
        let _ = self.consensus.send(ConsensusInput::Stop);
        drop(self.consensus);
        // Both hold the member, and threads end when nobody holds it.
        drop(self.peer_worker);
        drop(self.peers);
        drop(self.member);
        for thread in self.threads {
            let _ = thread.join();
        }
        // Dropping the committer commits what is left.
        drop(self.committer);
        tracing::info!("closed etcd server");
    }

    async fn propose_until_done(&self, request: LogRequest) -> Result<(), StartError> {
        /// Time between two tries while there is no leader.
        const RETRY: Duration = Duration::from_millis(20);

        loop {
            match self.member.propose(request.clone(), &Caller::MEMBER).await {
                Ok(_) => return Ok(()),
                Err(error) => tracing::debug!(%error, "not published yet"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// etcd's data are not started on: they are moved, by a command.
fn refuse_etcds_data(settings: &Settings) -> Result<(), StartError> {
    let directory = DataDir::new(&settings.data_dir, settings.wal_dir.as_deref());
    if directory.kind()? != Kind::Etcd {
        return Ok(());
    }
    let path = settings.data_dir.display();
    Err(format!(
        "{path} holds the data of an etcd member. `cairn migrate --data-dir {path}` makes them \
         Cairn's, as the same member of the same cluster, and keeps the old ones beside them"
    )
    .into())
}

/// Who a member is in a new cluster, and all members that it begins with.
#[must_use]
pub(crate) fn first_members(cluster: &NewCluster) -> (Identity, Vec<FirstMember>) {
    bootstrap::first_members(cluster)
}

/// What members do for the cluster beside requests.
fn look_after_cluster(settings: &Settings, member: &Arc<Member>, workers: &Workers) {
    if let Some(worker) = workers.handle() {
        let checks = settings.raft.corruption_checks;
        worker.spawn(Arc::clone(member).look_for_corruption(checks));
        worker.spawn(Arc::clone(member).keep_cluster_version());
        if let Some(ticks) = settings.raft.initial_ticks {
            worker.spawn(Arc::clone(member).hasten_first_election(ticks));
        }
    }
}

/// One worker a core.
pub(crate) fn worker_count() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Looks for a leader on behalf of streams that want one.
fn leader_loss(
    settings: &Settings,
    member: &Arc<Member>,
    peer_worker: &Workers,
) -> Result<LeaderLoss, StartError> {
    let runtime = peer_worker.handle().ok_or("there is no worker for peers")?;
    let election_timeout = settings.raft.election_timeout;
    Ok(LeaderLoss::watch(
        Arc::clone(member),
        election_timeout,
        runtime,
    ))
}

/// How this member reaches others, from the thread of `worker`.
fn network(settings: &Settings, worker: &Workers) -> Result<Network, StartError> {
    let tls = settings.tls.peers.as_ref();
    Ok(Network {
        connector: Connector {
            timeout: PEER_DIAL_TIME + settings.raft.election_timeout,
            pings: Pings::OF_MEMBERS,
            tls: tls.map(ClientTls::load).transpose()?,
        },
        runtime: worker.handle().cloned().ok_or("no thread for peers")?,
    })
}

fn millis_now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
