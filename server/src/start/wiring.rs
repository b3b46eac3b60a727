//! A member and its threads, and the channels between them.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::{self, JoinHandle};

use cairn_backup::Start;
use cairn_consensus::{CompactionPolicy, LogIndex, MemberId};
use cairn_replica::apply::Applier;
use cairn_replica::consensus::Consensus;
use cairn_replica::request_ids::RequestIds;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::data::Data;
use super::{StartError, millis_now, worker_count};
use crate::logging::fatal;
use crate::member::auth::{Auth, Passwords, Tokens};
use crate::member::inbox::{Inbox, InboxSender, inbox};
use crate::member::watching::Dispatcher;
use crate::member::{
    ApplyThread, Backup, BackupParts, ConsensusInput, ConsensusThread, Housekeeper, LeaseKeeper,
    LeaseKeeping, LeaseTasks, Limits, LogHandle, LogThread, Member, PeerActivity, Progress,
    Reconfiguration, Refusals, ReplyQueues, Serving, Tasks, Transport, V2,
};
use crate::metrics::{ApplyMetrics, Metrics, PeerMetrics};
use crate::net::peer::{Network, Peers, PeersParts};
use crate::settings::Settings;

/// Inputs that may wait for the consensus thread.
const CONSENSUS_INPUTS_MAX: usize = 16 * 1024;
/// Turns of consensus that may wait to be applied.
const COMMITTED_TURNS_MAX: usize = 16;

/// A member whose threads are ready to start.
pub(super) struct Wired {
    pub(super) member: Arc<Member>,
    pub(super) peers: Peers,
    pub(super) threads: Threads,
}

/// A backup, and what its thread lives as long as.
type BackedUp = (Arc<Backup>, Sender<()>);

/// The threads of a member.
pub(super) struct Threads {
    /// It has nothing to do before the others start.
    watch: JoinHandle<()>,
    apply: ApplyThread,
    log: LogThread,
    consensus: ConsensusThread,
    leases: LeaseKeeper,
    housekeeper: Housekeeper,
}

impl Threads {
    /// Starts them.
    pub(super) fn start(self) -> io::Result<Vec<JoinHandle<()>>> {
        let Self {
            watch,
            apply,
            log,
            consensus,
            leases,
            housekeeper,
        } = self;
        Ok(vec![
            watch,
            spawn("apply", move || apply.run())?,
            spawn("log", move || log.run())?,
            spawn("consensus", move || consensus.run())?,
            spawn("leases", move || leases.run())?,
            spawn("housekeeper", move || housekeeper.run())?,
        ])
    }
}

/// What the consensus thread and those behind the requests hold of a member.
struct Ends {
    watch: JoinHandle<()>,
    inputs: Receiver<ConsensusInput>,
    inbox: Inbox,
    lease_keeper: LeaseKeeper,
    housekeeper: Housekeeper,
    refusals: Refusals,
    backup: Option<BackedUp>,
}

/// Makes a member of what it holds; its answers leave by `queues`.
pub(super) fn wire(
    settings: &Settings,
    data: Data,
    network: Network,
    queues: ReplyQueues,
    metrics: Arc<Metrics>,
) -> Result<Wired, StartError> {
    let (member, peers, ends) = connect(settings, &data, network, metrics)?;
    let Data { applier, node, .. } = data;
    let (committed_sender, committed) = bounded(COMMITTED_TURNS_MAX);
    let (log_handle, log) = LogHandle::new(node.log());
    let consensus = ConsensusThread {
        consensus: Consensus::new(node, Arc::clone(&member.request_ids)),
        log: log_handle,
        member: member.identity.member,
        inputs: ends.inputs,
        inbox: ends.inbox,
        refusals: ends.refusals,
        peers: Arc::clone(&member.peers),
        committed: committed_sender,
        backlog: VecDeque::new(),
        store: member.store.clone(),
        arrived: BTreeMap::new(),
        progress: Arc::clone(&member.progress),
        housekeeping: member.housekeeping.clone(),
        policy: compaction_policy(settings),
        shortening: false,
        metrics: Arc::clone(&member.metrics),
        heartbeat: settings.raft.heartbeat,
    };
    let apply = ApplyThread {
        store: member.store.clone(),
        auth: Arc::clone(&member.auth),
        applier,
        queues,
        committed,
        consensus: member.consensus.clone(),
        member: member.identity.member,
        peers: Arc::clone(&member.peers),
        progress: Arc::clone(&member.progress),
        watches: member.watches.clone(),
        metrics: ApplyMetrics::new(Arc::clone(&member.metrics), settings.slow.apply)?,
        leases: member.leases.clone(),
        housekeeping: member.housekeeping.clone(),
        quota: settings.backend.quota,
        backup: ends.backup,
    };
    let threads = Threads {
        watch: ends.watch,
        apply,
        log,
        consensus,
        leases: ends.lease_keeper,
        housekeeper: ends.housekeeper,
    };
    Ok(Wired {
        member,
        peers,
        threads,
    })
}

/// The member, as its API sees it, and the other ends of what it holds.
fn connect(
    settings: &Settings,
    data: &Data,
    network: Network,
    metrics: Arc<Metrics>,
) -> Result<(Arc<Member>, Peers, Ends), StartError> {
    let Data { store, applier, .. } = data;
    let identity = data.identity();
    let activity = Arc::new(PeerActivity::default());
    let (news, inbox) = inbox();
    let metered = metrics.peers(identity.member)?;
    let peers = link_up(settings, data, network, news, &activity, metered.clone());
    let v2 = V2::new(applier.v2_stats(), store.current());
    let (watches, watch) = Dispatcher::start(store.clone(), Arc::clone(&v2))?;
    let (consensus, inputs) = bounded(CONSENSUS_INPUTS_MAX);
    let term = data.node.status().leadership.term;
    let progress = Arc::new(Progress::at_start(store.backend(), term)?);
    let request_ids = Arc::new(RequestIds::new(identity.member, millis_now()));
    let (housekeeping, housekeeper) = Housekeeper::new(Tasks {
        store: store.clone(),
        consensus: consensus.clone(),
        progress: Arc::clone(&progress),
        request_ids: Arc::clone(&request_ids),
        alarms: applier.alarms(),
        member: identity.member,
        quota: settings.backend.quota,
        space: Arc::clone(&data.space),
        alarm_clear_delay: settings.backend.alarm_clear_delay,
        metrics: Arc::clone(&metrics),
        compaction: settings.compaction.clone(),
    });
    let refusals = Refusals::new(metered, housekeeping.clone());
    let backup = back_up(settings, data, &progress, &metrics)?;
    let (leases, lease_keeper) = keep_leases(settings, data, &consensus, &progress, &request_ids);
    let member = Arc::new(Member {
        identity,
        store: store.clone(),
        backup: backup.as_ref().map(|(backup, _)| Arc::clone(backup)),
        consensus,
        progress,
        serving: Serving::at_start(applier.applied() > LogIndex::ZERO),
        request_ids,
        alarms: applier.alarms(),
        auth: authentication(settings, applier)?,
        membership: applier.membership(),
        activity,
        watches,
        space: Arc::clone(&data.space),
        housekeeping,
        leases,
        v2,
        limits: limits(settings),
        in_flight: Arc::new(AtomicUsize::new(0)),
        peers: Arc::new(peers.clone()),
        metrics,
    });
    let ends = Ends {
        watch,
        inputs,
        inbox,
        lease_keeper,
        housekeeper,
        refusals,
        backup,
    };
    Ok((member, peers, ends))
}

/// The continuous backup, if one is asked for, and what it lives as long as.
fn back_up(
    settings: &Settings,
    data: &Data,
    progress: &Arc<Progress>,
    metrics: &Arc<Metrics>,
) -> Result<Option<BackedUp>, StartError> {
    let Some(backup) = &settings.backup else {
        return Ok(None);
    };
    let index = data.applier.applied();
    let parts = BackupParts {
        cluster: data.identity().cluster,
        backend: data.store.backend().clone(),
        progress: Arc::clone(progress),
        metrics: Arc::clone(metrics),
    };
    let start = Start {
        index,
        term: progress.applied_term(),
        anchor: data.node.said_before(index)?,
    };
    Ok(Some(Backup::start(backup, parts, start)?))
}

/// Both ends of who keeps the time of leases, and of keys of the second API.
fn keep_leases(
    settings: &Settings,
    data: &Data,
    consensus: &Sender<ConsensusInput>,
    progress: &Arc<Progress>,
    request_ids: &Arc<RequestIds>,
) -> (LeaseKeeping, LeaseKeeper) {
    LeaseKeeper::new(LeaseTasks {
        leases: data.applier.leases(),
        consensus: consensus.clone(),
        progress: Arc::clone(progress),
        request_ids: Arc::clone(request_ids),
        election_timeout: settings.raft.election_timeout,
        store: data.store.clone(),
    })
}

/// Links up with the members that the data knows, and with those that only the cluster to join does.
fn link_up(
    settings: &Settings,
    data: &Data,
    network: Network,
    inbox: InboxSender,
    activity: &Arc<PeerActivity>,
    metrics: PeerMetrics,
) -> Peers {
    let identity = data.identity();
    let peers = Peers::new(PeersParts {
        identity,
        peer_urls: peer_urls(settings, &data.applier, identity.member),
        network,
        inbox,
        backend: data.store.backend().clone(),
        activity: Arc::clone(activity),
        metrics,
        meetings: data.meetings.clone(),
    });
    peers.add_remotes(data.remotes.iter().cloned());
    peers.set_members(&data.applier.membership().load());
    peers
}

fn authentication(settings: &Settings, applier: &Applier) -> Result<Arc<Auth>, StartError> {
    Ok(Arc::new(Auth {
        auth_store: applier.auth_store(),
        tokens: Tokens::new(&settings.auth.token)?,
        passwords: Passwords::start(worker_count(), settings.auth.bcrypt_cost)?,
    }))
}

/// Where others reach this member: what the cluster knows, or at first what the flags say.
fn peer_urls(settings: &Settings, applier: &Applier, me: MemberId) -> Vec<String> {
    let members = applier.membership().load_full();
    let known = members.iter().find(|member| member.id == me);
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

/// A bug ended one of the member's threads.
#[derive(Debug, thiserror::Error)]
#[error("a thread of this member panicked: the lines before say where")]
struct Panicked;

/// Ends the process if its thread panics: what is left of the member would answer nobody, and look alive.
struct EndsProcess(&'static str);

impl Drop for EndsProcess {
    fn drop(&mut self) {
        if thread::panicking() {
            fatal::stop(self.0, &Panicked);
        }
    }
}

/// Starts a thread whose failure ends the process.
fn spawn<E: Into<StartError>>(
    name: &'static str,
    work: impl FnOnce() -> Result<(), E> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _ends_process = EndsProcess(name);
        if let Err(error) = work() {
            fatal::stop(name, &*error.into());
        }
    })
}
