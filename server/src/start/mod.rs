//! Starting a member: open what it holds, take up where it left off, open the doors.

mod bootstrap;
mod listeners;
mod places;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cairn_backend::{Backend, BackendOptions, CommitHook, Committer, LmdbEngine, LmdbOptions};
use cairn_consensus::disk::RealDisk;
use cairn_consensus::{CompactionPolicy, Identity, MemberId, Node};
use cairn_mvcc::{Restored, Store};
use cairn_proto::membershippb::{
    Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest,
};
use cairn_replica::apply::Applier;
use cairn_replica::consensus::Consensus;
use cairn_replica::log_request::LogRequest;
use cairn_replica::request_ids::RequestIds;
use crossbeam_channel::{Sender, bounded};

use self::bootstrap::{Opened, open_node};
use self::listeners::{open_doors, open_peer_doors, start_peer_worker};
use self::places::Places;
use crate::auth::{Auth, Caller, Passwords, Tokens};
use crate::doors::DoorParts;
use crate::grpc::LeaderLoss;
use crate::member::{
    ApplyThread, ConsensusInput, ConsensusThread, Housekeeper, LeaseKeeper, LeaseTasks, Limits,
    Member, PeerActivity, Progress, Reconfiguration, ReplyDesks, Tasks,
};
use crate::metrics::{ApplyMetrics, GRPC_METHODS, Metrics, MetricsSource, TimedDisk};
use crate::peer::{Connector, Network, Peers, PeersParts, inbox};
use crate::serve::Workers;
use crate::settings::{CLUSTER_VERSION, Settings, Url};
use crate::tls::ClientTls;
use crate::watching::Dispatcher;
use crate::{fatal, lock_file};

/// Why a member does not start.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// Inputs that may wait for the consensus thread.
const CONSENSUS_INPUTS_MAX: usize = 16 * 1024;
/// Turns of consensus that may wait to be applied.
const COMMITTED_TURNS_MAX: usize = 16;

/// How long a connection to another member may take, beside an election timeout; etcd's number.
const PEER_DIAL_TIME: Duration = Duration::from_secs(1);

/// How long a server waits for the one before it to be gone.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// A member and its threads.
pub struct Server {
    member: Arc<Member>,
    workers: Workers,
    peer_worker: Workers,
    consensus: Sender<ConsensusInput>,
    threads: Vec<JoinHandle<()>>,
    committer: Committer,
    _lock: lock_file::LockFile,
}

impl Server {
    /// Starts a member and opens its doors.
    ///
    /// # Errors
    ///
    /// [`StartError`], whose text tells an operator what is wrong.
    pub fn start(settings: &Settings) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new(MetricsSource {
            feature_gates: &settings.feature_gates,
            grpc_methods: GRPC_METHODS,
            detail: settings.metrics_detail,
        })?);
        let places = Places::create(settings)?;
        let lock = lock_file::LockFile::take(&settings.data_dir, LOCK_PATIENCE)?;
        let engine = LmdbEngine::open(&places.database, LmdbOptions::default())?;
        let options = BackendOptions {
            batch_ops_max: settings.backend.batch_ops_max,
            on_commit: Some(time_commits(&metrics)),
            ..BackendOptions::default()
        };
        let backend = Backend::open(engine, options)?;
        let committer = backend.spawn_committer(settings.backend.batch_interval)?;
        let restored = Restored::read(backend)?;
        let store = restored.store.clone();
        let mut applier = Applier::restore(restored)?;
        let disk = TimedDisk::new(RealDisk::open(&places.log)?, Arc::clone(&metrics));
        let peer_worker = start_peer_worker()?;
        let network = network(settings, &peer_worker)?;
        let Opened { node, remotes } =
            open_node(settings, Arc::new(disk), &store, &mut applier, &network)?;
        let identity = node.wal().identity();
        metrics.name_member(identity.member)?;
        tracing::info!(
            member = %identity.member,
            cluster = %identity.cluster,
            applied = applier.applied().get(),
            revision = store.current().to_wire(),
            "opened the member's data"
        );
        Self::run(
            settings,
            Parts {
                metrics,
                store,
                applier,
                node,
                identity,
                committer,
                lock,
                peer_worker,
                network,
                remotes,
            },
        )
    }

    fn run(settings: &Settings, parts: Parts) -> Result<Self, StartError> {
        let Parts {
            metrics,
            store,
            applier,
            node,
            identity,
            committer,
            lock,
            peer_worker,
            network,
            remotes,
        } = parts;
        let activity = Arc::new(PeerActivity::default());
        let (inbox_sender, inbox) = inbox();
        let peers = link_up(
            PeersParts {
                identity,
                peer_urls: peer_urls(settings, &applier, identity.member),
                network,
                inbox: inbox_sender,
                backend: store.backend().clone(),
                activity: Arc::clone(&activity),
                metrics: metrics.peers(identity.member)?,
            },
            remotes,
            &applier,
        );
        let progress = Arc::new(Progress::default());
        let (consensus, inputs) = bounded(CONSENSUS_INPUTS_MAX);
        let (committed_sender, committed) = bounded(COMMITTED_TURNS_MAX);
        let (watches, watch_thread) = Dispatcher::start(store.clone())?;
        let request_ids = Arc::new(RequestIds::new(identity.member, millis_now()));
        let (housekeeping, housekeeper) = Housekeeper::new(Tasks {
            store: store.clone(),
            consensus: consensus.clone(),
            progress: Arc::clone(&progress),
            request_ids: Arc::clone(&request_ids),
            alarms: applier.alarms(),
            member: identity.member,
            quota: settings.backend.quota,
            metrics: Arc::clone(&metrics),
            compaction: settings.compaction.clone(),
        });
        let auth = authentication(settings, &applier)?;
        let (leases, lease_keeper) = LeaseKeeper::new(LeaseTasks {
            leases: applier.leases(),
            consensus: consensus.clone(),
            progress: Arc::clone(&progress),
            request_ids: Arc::clone(&request_ids),
            election_timeout: settings.raft.election_timeout,
        });
        let member = Arc::new(Member {
            identity,
            store,
            consensus: consensus.clone(),
            progress: Arc::clone(&progress),
            request_ids: Arc::clone(&request_ids),
            alarms: applier.alarms(),
            auth: Arc::clone(&auth),
            membership: applier.membership(),
            activity,
            watches: watches.clone(),
            housekeeping: housekeeping.clone(),
            leases: leases.clone(),
            limits: limits(settings),
            in_flight: Arc::new(AtomicUsize::new(0)),
            peers: peers.clone(),
            metrics: Arc::clone(&metrics),
        });
        let (desks, desk_tasks) = ReplyDesks::new(worker_count());
        let apply_thread = ApplyThread {
            store: member.store.clone(),
            auth,
            applier,
            desks,
            committed,
            consensus: consensus.clone(),
            peers: peers.clone(),
            progress: Arc::clone(&progress),
            watches,
            metrics: ApplyMetrics::new(Arc::clone(&metrics), settings.slow.apply)?,
            leases,
            housekeeping: housekeeping.clone(),
        };
        let consensus_thread = ConsensusThread {
            consensus: Consensus::new(node, request_ids),
            member: identity.member,
            inputs,
            inbox,
            peers,
            committed: committed_sender,
            backlog: VecDeque::new(),
            store: member.store.clone(),
            arrived: BTreeMap::new(),
            progress,
            housekeeping,
            policy: compaction_policy(settings),
            shortening: false,
            heartbeat: settings.raft.heartbeat,
        };
        let threads = vec![
            watch_thread,
            spawn("apply", move || apply_thread.run())?,
            spawn("consensus", move || consensus_thread.run())?,
            spawn("leases", move || lease_keeper.run())?,
            spawn("housekeeper", move || housekeeper.run())?,
        ];
        let leader_loss = leader_loss(settings, &member, &peer_worker)?;
        let parts = DoorParts::new(&member, metrics, settings, leader_loss);
        open_peer_doors(settings, &member, &parts, &peer_worker)?;
        let workers = open_doors(settings, &parts)?;
        for (worker, desk) in workers.handles().zip(desk_tasks) {
            worker.spawn(desk);
        }
        look_after_cluster(settings, &member, &workers);
        Ok(Self {
            member,
            workers,
            peer_worker,
            consensus,
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
    pub async fn publish(&self, settings: &Settings) -> Result<(), StartError> {
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
        tracing::info!(
            member = %self.member.identity.member,
            name = settings.name,
            "published local member to cluster through raft"
        );
        Ok(())
    }

    /// The runtime of the doors.
    pub fn handle(&self) -> Option<&tokio::runtime::Handle> {
        self.workers.handle()
    }

    /// Returns when this member has been removed from the cluster.
    pub async fn removed(&self) {
        self.member.peers.removed().await;
    }

    /// Hands leadership over, if this member has it and there is somebody to take it; returns soon.
    pub async fn hand_over(&self) {
        self.member.hand_over().await;
    }

    /// Closes the doors, writes out what is buffered and ends all threads.
    pub fn stop(self) {
        tracing::info!("closing etcd server");
        drop(self.workers);
        let _ = self.consensus.send(ConsensusInput::Stop);
        drop(self.consensus);
        // Both hold the member, and threads end when nobody holds it.
        drop(self.peer_worker);
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

struct Parts {
    metrics: Arc<Metrics>,
    store: Store,
    applier: Applier,
    node: Node,
    identity: Identity,
    committer: Committer,
    lock: lock_file::LockFile,
    peer_worker: Workers,
    network: Network,
    remotes: Vec<(MemberId, Vec<Url>)>,
}

/// Links up with the members that the data knows, and with those that only the cluster to join does.
fn link_up(parts: PeersParts, remotes: Vec<(MemberId, Vec<Url>)>, applier: &Applier) -> Peers {
    let peers = Peers::new(parts);
    peers.add_remotes(remotes);
    peers.set_members(&applier.membership().load());
    peers
}

fn authentication(settings: &Settings, applier: &Applier) -> Result<Arc<Auth>, StartError> {
    Ok(Arc::new(Auth {
        rules: applier.rules(),
        tokens: Tokens::new(&settings.auth.token)?,
        passwords: Passwords::start(worker_count(), settings.auth.bcrypt_cost)?,
    }))
}

/// What a leader does for the cluster beside requests.
fn look_after_cluster(settings: &Settings, member: &Arc<Member>, workers: &Workers) {
    if let Some(worker) = workers.handle() {
        let checks = settings.raft.corruption_checks;
        worker.spawn(Arc::clone(member).look_for_corruption(checks));
        worker.spawn(Arc::clone(member).keep_cluster_version());
    }
}

/// What the database's commits take.
fn time_commits(metrics: &Arc<Metrics>) -> CommitHook {
    let metrics = Arc::clone(metrics);
    Arc::new(move |took| {
        metrics
            .disk_backend_commit_duration_seconds
            .observe(took.as_secs_f64());
    })
}

/// One worker a core.
fn worker_count() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Where others reach this member: what the cluster knows, or at first what the flags say.
fn peer_urls(settings: &Settings, applier: &Applier, me: MemberId) -> Vec<String> {
    let members = applier.membership().load_full();
    let known = members.iter().find(|member| member.id == me.get());
    known.map_or_else(
        || {
            let advertised = settings.advertise.peers.iter();
            advertised.map(|url| url.as_str().to_owned()).collect()
        },
        |member| member.peer_urls.clone(),
    )
}

fn compaction_policy(settings: &Settings) -> CompactionPolicy {
    CompactionPolicy {
        snapshot_count: settings.raft.snapshot_entries,
        catchup_entries: settings.raft.catchup_entries,
        ..CompactionPolicy::default()
    }
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
            tls: tls.map(ClientTls::load).transpose()?,
        },
        runtime: worker.handle().cloned().ok_or("no thread for peers")?,
    })
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        request_bytes_max: settings.limits.request_bytes_max,
        txn_operations_max: settings.limits.txn_ops_max,
        quota: settings.backend.quota,
        election_timeout: settings.raft.election_timeout,
        request_timeout: settings.request_timeout(),
        watch_progress_interval: settings.watch_progress_interval,
        reconfiguration: Reconfiguration {
            is_strict: settings.raft.strict_reconfig_check,
            learners_max: settings.raft.learners_max,
        },
    }
}

fn millis_now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Starts a thread whose failure ends the process.
fn spawn<E: std::fmt::Display>(
    name: &'static str,
    work: impl FnOnce() -> Result<(), E> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        if let Err(error) = work() {
            fatal::stop(name, error);
        }
    })
}
