//! What a member holds, opened: its database, its log, and what both say.

use std::collections::BTreeSet;
use std::sync::Arc;

use cairn_backend::{
    Backend, BackendOptions, CommitError, CommitHook, Committer, DamageHook, DefragmentError,
    LmdbEngine, LmdbOptions, tell_memory_signals,
};
use cairn_consensus::disk::{Disk, RealDisk};
use cairn_consensus::wal::{LogTail, TailKind};
use cairn_consensus::{Identity, Incarnations, MemberId, Node};
use cairn_mvcc::{Restored, Store};
use cairn_replica::apply::Applier;
use cairn_replica::membership::Member;
use rand::TryRng;
use rand::rngs::SysRng;

use super::StartError;
use super::bootstrap::{Opened, open_node};
use super::data_paths::DataPaths;
use crate::logging::{Chain, fatal};
use crate::member::DiskSpace;
use crate::metrics::{Metrics, TimedDisk};
use crate::net::peer::{Meetings, Network};
use crate::settings::{Settings, Url};

/// What a member holds.
pub(super) struct Data {
    pub(super) store: Store,
    pub(super) applier: Applier,
    pub(super) node: Node,
    /// The room where it is on disk.
    pub(super) space: Arc<DiskSpace>,
    /// What the directory has been, and what it has met.
    pub(super) meetings: Meetings,
    /// Members of the cluster that it is about to join.
    pub(super) remotes: Vec<(MemberId, Vec<Url>)>,
}

impl Data {
    /// Opens what is there, or begins it; the committer writes the database as long as it lives.
    pub(super) fn open(
        settings: &Settings,
        paths: &DataPaths,
        metrics: &Arc<Metrics>,
        network: &Network,
    ) -> Result<(Self, Committer), StartError> {
        tell_memory_signals(&paths.database.join("db"))?;
        let engine = LmdbEngine::open(&paths.database, lmdb_options())?;
        let options = BackendOptions {
            batch_ops_max: settings.backend.batch_ops_max,
            on_commit: Some(time_commits(metrics)),
            on_space: Some(Arc::new(tell_space)),
            on_poison: Some(Arc::new(|poisoned| fatal::stop("database", poisoned))),
            ..BackendOptions::default()
        };
        let backend = Backend::open(engine, options)?;
        if let Some(freed_min) = settings.backend.defragment_at_start {
            defragment_if_worth_it(&backend, freed_min.get())?;
        }
        let committer = backend.spawn_committer(settings.backend.batch_interval)?;
        let restored = Restored::read(backend)?;
        let store = restored.store.clone();
        let mut applier = Applier::restore(restored)?;
        let disk = TimedDisk::new(RealDisk::open(&paths.log)?, Arc::clone(metrics));
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let opened = open_node(settings, Arc::clone(&disk), &store, &mut applier, network);
        let Opened { node, remotes } = opened?;
        tell_tail(node.wal().tail());
        let meetings = Meetings::new(start_incarnation(disk, &applier)?);
        let data = Self {
            meetings,
            store,
            applier,
            node,
            space: Arc::new(DiskSpace::new(
                vec![paths.database.clone(), paths.log.clone()],
                settings.backend.disk_reserve_bytes,
            )),
            remotes,
        };
        let identity = data.identity();
        check_own(settings, identity, &data.applier)?;
        metrics.name_member(identity.member)?;
        tracing::info!(
            member = %identity.member,
            cluster = %identity.cluster,
            incarnation = %data.meetings.present(),
            applied = data.applier.applied().get(),
            revision = data.store.current().to_wire(),
            "opened the member's data"
        );
        Ok((data, committer))
    }

    /// Whose data it is.
    pub(super) fn identity(&self) -> Identity {
        self.node.wal().identity()
    }
}

/// Refuses the directory of another member, which was exchanged with this one's: nobody would reach it
/// where the flags have it listen.
fn check_own(settings: &Settings, identity: Identity, applier: &Applier) -> Result<(), StartError> {
    let members = applier.membership().load_full();
    let own = members.iter().find(|it| it.id == identity.member);
    if own.is_none_or(|own| own.name.is_empty() || own.name == settings.name) {
        return Ok(());
    }
    let advertised: BTreeSet<&str> = settings.advertise.peers.iter().map(Url::as_str).collect();
    let is_meant = |it: &&Member| {
        let urls = it.peer_urls.iter().map(String::as_str);
        it.name == settings.name && urls.collect::<BTreeSet<_>>() == advertised
    };
    match (own, members.iter().find(is_meant)) {
        (Some(own), Some(meant)) => Err(format!(
            "{} is the data directory of member {} ({}), and the flags are those of member {} ({}): the \
             directories were exchanged. Give each member its own one back",
            settings.data_dir.display(),
            own.id,
            own.name,
            meant.id,
            meant.name,
        )
        .into()),
        _ => Ok(()),
    }
}

/// Defragments a database of which `freed_bytes_min` are free.
fn defragment_if_worth_it(backend: &Backend, freed_bytes_min: u64) -> Result<(), DefragmentError> {
    let (size, in_use) = (backend.size(), backend.size_in_use());
    let is_worth_it = size.saturating_sub(in_use) >= freed_bytes_min;
    tracing::info!(
        current_db_size_bytes = size,
        current_db_size_in_use_bytes = in_use,
        bootstrap_defrag_threshold_bytes = freed_bytes_min,
        "{}",
        if is_worth_it {
            "Defragmenting the database before it is opened"
        } else {
            "Skipping defragmentation"
        }
    );
    if is_worth_it {
        backend.defragment()?;
    }
    Ok(())
}

/// Whoever reads a damaged row ends the process: what is served must not be made up from the rest.
fn lmdb_options() -> LmdbOptions {
    LmdbOptions {
        on_damage: Some(DamageHook::new(|damaged| fatal::stop("database", damaged))),
        ..LmdbOptions::default()
    }
}

/// Says that what is applied cannot be written to the database for want of space, or can again.
fn tell_space(failure: Option<&CommitError>) {
    match failure {
        Some(failure) => tracing::error!(
            error = %Chain(failure),
            "the database cannot grow: refusing writes until there is room on its disk. What was \
             acknowledged is in the log"
        ),
        None => tracing::info!("the database is written again"),
    }
}

/// Says where the log ended and what was cut off there: it may be more than a torn write.
fn tell_tail(tail: Option<&LogTail>) {
    let Some(tail) = tail else { return };
    match tail.kind {
        TailKind::Clean => tracing::debug!(%tail, "read the write-ahead log"),
        TailKind::Leftover { .. } => tracing::info!(%tail, "read the write-ahead log"),
        TailKind::Torn { bytes } => tracing::warn!(
            file = tail.file,
            offset = tail.offset,
            bytes,
            %tail,
            "cut off the end of the write-ahead log"
        ),
    }
}

/// Writes down that the member starts, before it says anything.
fn start_incarnation(disk: Arc<dyn Disk>, applier: &Applier) -> Result<Incarnations, StartError> {
    let id = SysRng.try_next_u64()?;
    let mut incarnations = Incarnations::start(disk, id)?;
    let members = applier.membership().load_full();
    incarnations.retain(|member| !members.was_removed(member))?;
    Ok(incarnations)
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
