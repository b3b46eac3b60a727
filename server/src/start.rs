//! Starting a member: open what it holds, take up where it left off, open the doors.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cairn_backend::{Backend, BackendOptions, CommitHook, Committer, LmdbEngine, LmdbOptions};
use cairn_consensus::disk::{Disk, RealDisk};
use cairn_consensus::wal::{Durability, WalOptions};
use cairn_consensus::{
    CompactionPolicy, ConfState, FirstMember, Identity, MemberId, Node, NodeOptions,
};
use cairn_mvcc::Store;
use cairn_proto::membershippb::{
    Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest,
};
use crossbeam_channel::{Sender, bounded};

use crate::apply::Applier;
use crate::doors::{Door, DoorParts};
use crate::fatal;
use crate::log_request::LogRequest;
use crate::member::{
    ApplyThread, ConsensusInput, ConsensusThread, Housekeeper, Limits, Member, Progress,
    ReplyDesks, RequestIds, Tasks,
};
use crate::metrics::{ApplyMetrics, GRPC_METHODS, Metrics, MetricsSource, TimedDisk};
use crate::serve::{ConnectionLimits, SocketOptions, Workers, raise_descriptor_limit};
use crate::settings::{CLUSTER_VERSION, ListenAddress, ListenSettings, ListenUrl, Settings};
use crate::watching::Dispatcher;
use crate::{lock_file, membership};

/// Why a member does not start.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// Inputs that may wait for the consensus thread.
const CONSENSUS_INPUTS_MAX: usize = 16 * 1024;
/// Turns of consensus that may wait to be applied.
const COMMITTED_TURNS_MAX: usize = 16;

/// How long a server waits for the one before it to be gone.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// A member and its threads.
pub struct Server {
    member: Arc<Member>,
    workers: Workers,
    consensus: Sender<ConsensusInput>,
    threads: Vec<JoinHandle<()>>,
    committer: Committer,
    _lock: lock_file::LockFile,
}

/// Where a member's files are.
struct Places {
    database: PathBuf,
    log: PathBuf,
}

impl Places {
    fn create(settings: &Settings) -> io::Result<Self> {
        let member = settings.data_dir.join("member");
        let database = member.join("snap");
        let log = settings
            .wal_dir
            .clone()
            .unwrap_or_else(|| member.join("wal"));
        let told = |source| {
            let data_dir = settings.data_dir.display();
            io::Error::other(format!(
                "cannot keep data in {data_dir}: {source}. Make it a directory that this user can \
                 write to, or choose another --data-dir"
            ))
        };
        create_private(&database).map_err(told)?;
        create_private(&log).map_err(|source| match &settings.wal_dir {
            Some(wal_dir) => io::Error::other(format!(
                "cannot keep the log in {}: {source}. Make it a directory that this user can write \
                 to, or choose another --wal-dir",
                wal_dir.display()
            )),
            None => told(source),
        })?;
        Ok(Self { database, log })
    }
}

/// Creates a directory that only its owner can read, as etcd does; one that is there stays as it is.
fn create_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;

    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
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
        let store = Store::restore(backend)?;
        let applier = Applier::restore(store.clone())?;
        let disk = TimedDisk::new(RealDisk::open(&places.log)?, Arc::clone(&metrics));
        let node = open_node(settings, Arc::new(disk), &applier)?;
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
        } = parts;
        let progress = Arc::new(Progress::default());
        let (consensus, inputs) = bounded(CONSENSUS_INPUTS_MAX);
        let (committed_sender, committed) = bounded(COMMITTED_TURNS_MAX);
        let (watches, watch_thread) = Dispatcher::start(store.clone())?;
        let request_ids = Arc::new(RequestIds::new(identity.member, millis_now()));
        let tasks = Tasks {
            store: store.clone(),
            consensus: consensus.clone(),
            progress: Arc::clone(&progress),
            request_ids: Arc::clone(&request_ids),
            alarms: applier.alarms(),
            member: identity.member,
            quota: settings.backend.quota,
            metrics: Arc::clone(&metrics),
            compaction: settings.compaction.clone(),
        };
        let (housekeeping, housekeeper) = Housekeeper::new(tasks);
        let member = Arc::new(Member {
            identity,
            store,
            consensus: consensus.clone(),
            progress: Arc::clone(&progress),
            request_ids: Arc::clone(&request_ids),
            alarms: applier.alarms(),
            membership: applier.membership(),
            watches: watches.clone(),
            housekeeping: housekeeping.clone(),
            limits: limits(settings),
            in_flight: Arc::new(AtomicUsize::new(0)),
            metrics: Arc::clone(&metrics),
        });
        let mut threads = vec![watch_thread];
        let (desks, desk_tasks) = ReplyDesks::new(worker_count());
        let apply_thread = ApplyThread {
            applier,
            desks,
            committed,
            progress: Arc::clone(&progress),
            watches,
            metrics: ApplyMetrics::new(Arc::clone(&metrics), settings.slow.apply)?,
            housekeeping: housekeeping.clone(),
        };
        threads.push(spawn("apply", move || apply_thread.run())?);
        let consensus_thread = ConsensusThread {
            node,
            member: identity.member,
            inputs,
            committed: committed_sender,
            progress,
            housekeeping,
            policy: CompactionPolicy {
                snapshot_count: settings.raft.snapshot_entries,
                catchup_entries: settings.raft.catchup_entries,
                ..CompactionPolicy::default()
            },
            request_ids,
            heartbeat: settings.raft.heartbeat,
        };
        threads.push(spawn("consensus", move || consensus_thread.run())?);
        threads.push(spawn("housekeeper", move || housekeeper.run())?);
        let workers = open_doors(settings, &member, metrics)?;
        for (worker, desk) in workers.handles().zip(desk_tasks) {
            worker.spawn(desk);
        }
        Ok(Self {
            member,
            workers,
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
        if self.member.membership().version() != Some(CLUSTER_VERSION) {
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

    /// Closes the doors, writes out what is buffered and ends all threads.
    pub fn stop(self) {
        tracing::info!("closing etcd server");
        drop(self.workers);
        let _ = self.consensus.send(ConsensusInput::Stop);
        drop(self.consensus);
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
            match self.member.propose(request.clone()).await {
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
}

/// Opens the log, or begins one: its first entry makes this member the cluster.
fn open_node(
    settings: &Settings,
    disk: Arc<dyn Disk>,
    applier: &Applier,
) -> Result<Node, StartError> {
    let members = applier.membership();
    let voters = members.load();
    let voters = voters.iter().filter(|member| !member.is_learner);
    let options = NodeOptions {
        applied: applier.applied(),
        conf_state: ConfState::of_voters(voters.filter_map(|it| MemberId::from_wire(it.id))),
        election_ticks: usize::try_from(settings.raft.election_ticks)?,
        pre_vote: settings.raft.pre_vote,
        wal: WalOptions {
            durability: if settings.raft.syncs {
                Durability::Sync
            } else {
                Durability::UnsafeNoSync
            },
            ..WalOptions::default()
        },
        seed: millis_now(),
        ..NodeOptions::default()
    };
    if !Node::exists(&*disk)? {
        let first = settings.first_start()?;
        let peer_urls = first
            .member
            .peer_urls
            .iter()
            .map(|url| url.as_str().to_owned())
            .collect();
        let member = membership::Member {
            id: first.member.id.get(),
            peer_urls,
            is_learner: false,
            name: String::new(),
            client_urls: Vec::new(),
        };
        let identity = Identity {
            cluster: first.cluster_id,
            member: first.member.id,
        };
        let members = [FirstMember {
            id: first.member.id,
            context: member.to_json(),
        }];
        Node::create(Arc::clone(&disk), identity, &members, &options)?;
    }
    Ok(Node::open(disk, &options)?)
}

fn open_doors(
    settings: &Settings,
    member: &Arc<Member>,
    metrics: Arc<Metrics>,
) -> Result<Workers, StartError> {
    let keepalive = &settings.keepalive;
    let ping = keepalive.server_ping;
    let limits = ConnectionLimits {
        streams_max: settings.limits.concurrent_streams_max,
        client_ping_interval_min: keepalive.client_ping_interval_min,
        keepalive_interval: ping.map_or(Duration::from_secs(7200), |ping| ping.interval),
        keepalive_timeout: ping.map_or(Duration::from_secs(20), |ping| ping.timeout),
    };
    raise_descriptor_limit()?;
    let workers = Workers::start(worker_count(), limits)?;
    let parts = DoorParts::new(member, metrics, settings.http.clone());
    let listen = &settings.listen;
    let options = SocketOptions {
        reuse_port: listen.reuse_port,
    };
    for (address, door) in doors(listen, &parts) {
        let is_for_clients = listen.clients.iter().any(|url| url.address() == address);
        let bound = workers.listen(address, options, door).map_err(|source| {
            let at = address_text(address);
            format!("cannot listen on {at}: {source}. Is another server running?")
        })?;
        if is_for_clients {
            tracing::info!(
                address = %bound,
                "serving client traffic insecurely; this is strongly discouraged!"
            );
        } else {
            tracing::info!(address = %bound, "serving HTTP pages");
        }
    }
    Ok(workers)
}

/// What is behind each address. An address that is named for several purposes serves them all.
fn doors<'a>(
    listen: &'a ListenSettings,
    parts: &DoorParts,
) -> BTreeMap<&'a ListenAddress, Arc<Door>> {
    let addresses = |urls: &'a [ListenUrl]| urls.iter().map(ListenUrl::address);
    let mut doors = BTreeMap::new();
    for address in addresses(&listen.metrics) {
        doors.insert(address, parts.monitoring());
    }
    for address in addresses(&listen.http) {
        doors.insert(address, parts.pages());
    }
    for address in addresses(&listen.clients) {
        let has_pages = listen.http.is_empty() || addresses(&listen.http).any(|it| it == address);
        let door = if has_pages {
            parts.whole()
        } else {
            parts.grpc()
        };
        doors.insert(address, door);
    }
    doors
}

fn address_text(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Tcp(address) => address.to_string(),
        ListenAddress::Unix(path) => path.display().to_string(),
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

fn limits(settings: &Settings) -> Limits {
    Limits {
        request_bytes_max: settings.limits.request_bytes_max,
        txn_operations_max: settings.limits.txn_ops_max,
        quota: settings.backend.quota,
        request_timeout: settings.request_timeout(),
        watch_progress_interval: settings.watch_progress_interval,
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
