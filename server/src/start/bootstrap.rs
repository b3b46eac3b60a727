//! The member's log: opened, or begun at its first start.

use std::sync::Arc;
use std::time::Duration;

use cairn_backend::Applied;
use cairn_consensus::disk::Disk;
use cairn_consensus::wal::{Durability, WalOptions};
use cairn_consensus::{
    FirstMember, Identity, MemberId, Node, NodeError, NodeOptions, SnapshotPoint,
};
use cairn_mvcc::Store;
use cairn_replica::apply::Applier;
use cairn_replica::membership::{self, MemberChange};
use cairn_replica::state::check_received;

use super::belonging::{check_belongs, check_log_is_there, explain};
use super::{StartError, millis_now};
use crate::net::peer::{
    Connector, JoinError, Network, RemoteCluster, ask_all_for_members, ask_for_members,
};
use crate::settings::{
    Discovery, FirstStart, InitialMember, JoinedCluster, NewCluster, Settings, Url,
};
use crate::start::discovery;

/// How long a member without data waits for one that knows the cluster; etcd's time.
const BOOTSTRAP_TIMEOUT: Duration = Duration::from_secs(1);

/// A member's log, and whom it was told of besides.
pub(super) struct Opened {
    pub(super) node: Node,
    /// Members of the cluster that it is about to join.
    pub(super) remotes: Vec<(MemberId, Vec<Url>)>,
}

/// Opens the log, or begins one: its first entries make the cluster, or it has none and the cluster
/// is there already.
pub(super) fn open_node(
    settings: &Settings,
    disk: Arc<dyn Disk>,
    store: &Store,
    applier: &mut Applier,
    network: &Network,
) -> Result<Opened, StartError> {
    let options = node_options(settings, applier)?;
    let mut remotes = Vec::new();
    if !Node::exists(&*disk)? {
        check_log_is_there(applier.applied(), settings)?;
        match first_start(settings, network)? {
            FirstStart::New(cluster) => {
                check_not_begun(&cluster, network)?;
                begin_cluster(&cluster, Arc::clone(&disk), &options)?;
            }
            FirstStart::Join(cluster) => {
                let remote = join_cluster(&cluster, network)?;
                let member = remote.find(&cluster.own_urls, &cluster.others)?;
                let identity = Identity {
                    cluster: remote.id,
                    member,
                };
                Node::create(Arc::clone(&disk), identity, &[], &options)?;
                remotes.extend(remote.members.into_iter().map(|it| (it.id, it.peer_urls)));
            }
        }
    }
    let node = match Node::open(Arc::clone(&disk), &options) {
        Err(NodeError::SnapshotNotInstalled { point, .. }) if is_received(store, &point) => {
            install_received(store, applier, &point)?;
            Node::open(Arc::clone(&disk), &node_options(settings, applier)?)
        }
        opened => opened,
    };
    let node = node.map_err(|error| explain(error, settings))?;
    check_belongs(&node, store, settings)?;
    let node = if settings.raft.force_new_cluster {
        alone(node, disk, &node_options(settings, applier)?)?
    } else {
        node
    };
    for received in store.backend().received() {
        // The log was never told of it.
        store.backend().discard_received(received)?;
    }
    Ok(Opened { node, remotes })
}

/// Makes this member the only one of its cluster, for when the others are lost for good.
fn alone(node: Node, disk: Arc<dyn Disk>, options: &NodeOptions) -> Result<Node, StartError> {
    let me = node.wal().identity().member;
    drop(node);
    tracing::warn!(member = %me, "forcing a new cluster of this member alone; the others must never run again");
    let promotion = MemberChange::Promote(me).context();
    Node::force_new_cluster(Arc::clone(&disk), options, &promotion)?;
    Ok(Node::open(disk, options)?)
}

/// The members that the settings name, or somebody whom they name.
fn first_start(settings: &Settings, network: &Network) -> Result<FirstStart, StartError> {
    let found = match settings.discovery() {
        Discovery::None => return Ok(settings.first_start()?),
        Discovery::Srv(srv) => {
            let resolver = discovery::srv::system_resolver(srv)?;
            let (name, advertised) = (&settings.name, &settings.advertise.peers);
            let finding = discovery::srv::find(srv, &resolver, name, advertised);
            network.runtime.block_on(finding)?
        }
        Discovery::Registry(registry) => {
            let (own, entry) = settings.own_entry(&registry.token);
            let own = own.to_string();
            let joining = discovery::registry::join(registry, &own, &entry);
            network.runtime.block_on(joining)?
        }
    };
    Ok(settings.first_start_among(found)?)
}

fn received_of(point: &SnapshotPoint) -> Applied {
    Applied {
        index: point.index.get(),
        term: point.term.get(),
    }
}

/// Whether the database of `point` came whole before a crash.
fn is_received(store: &Store, point: &SnapshotPoint) -> bool {
    store.backend().received().contains(&received_of(point))
}

/// Ends what a crash cut short: the log begins after a database that is here and not installed.
fn install_received(
    store: &Store,
    applier: &mut Applier,
    point: &SnapshotPoint,
) -> Result<(), StartError> {
    let received = received_of(point);
    let prepared = store.prepare_install(received)?;
    check_received(store, &prepared)?;
    let installed = store.install(prepared)?;
    applier.reload(installed.leases)?;
    tracing::info!(
        index = received.index,
        "installed a snapshot that had been received"
    );
    Ok(())
}

fn node_options(settings: &Settings, applier: &Applier) -> Result<NodeOptions, StartError> {
    let members = applier.membership();
    Ok(NodeOptions {
        applied: applier.applied(),
        conf_state: members.load().conf_state(),
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
    })
}

/// All members of a new cluster begin with the same entries.
fn begin_cluster(
    cluster: &NewCluster,
    disk: Arc<dyn Disk>,
    options: &NodeOptions,
) -> Result<(), StartError> {
    let (identity, members) = first_members(cluster);
    Node::create(disk, identity, &members, options)?;
    Ok(())
}

/// Who this member is in a new cluster, and all that it begins with.
pub(super) fn first_members(cluster: &NewCluster) -> (Identity, Vec<FirstMember>) {
    let identity = Identity {
        cluster: cluster.cluster_id,
        member: cluster.me,
    };
    (identity, cluster.members.iter().map(first_member).collect())
}

fn first_member(member: &InitialMember) -> FirstMember {
    let urls = member.peer_urls.iter();
    let record = membership::Member {
        id: member.id,
        peer_urls: urls.map(|url| url.as_str().to_owned()).collect(),
        is_learner: false,
        name: member.name.clone(),
        client_urls: Vec::new(),
    };
    FirstMember {
        id: member.id,
        context: record.to_json(),
    }
}

/// A member that has lost its data must not begin anew in a cluster that knows it.
///
/// Everybody is asked: etcd believes the first that answers, who may have begun anew itself, and know
/// less than others.
fn check_not_begun(cluster: &NewCluster, network: &Network) -> Result<(), StartError> {
    let others = cluster.members.iter().filter(|it| it.id != cluster.me);
    let urls: Vec<_> = others.flat_map(|it| it.peer_urls.clone()).collect();
    // Most of them are not there yet; whoever is answers at once.
    let quick = Connector {
        timeout: network.connector.timeout.min(BOOTSTRAP_TIMEOUT),
        ..network.connector.clone()
    };
    let answers = network.runtime.block_on(ask_all_for_members(&quick, &urls));
    let mut known = answers.iter().flat_map(|it| &it.members);
    if known.any(|it| it.id == cluster.me && it.is_started) {
        return Err(format!("member {} has already been bootstrapped", cluster.me).into());
    }
    Ok(())
}

fn join_cluster(cluster: &JoinedCluster, network: &Network) -> Result<RemoteCluster, StartError> {
    let mut urls = cluster.others.concat();
    urls.sort_unstable();
    let asked = ask_for_members(&network.connector, &urls);
    let remote = network.runtime.block_on(asked);
    Ok(remote.ok_or(JoinError::NoAnswer)?)
}

#[cfg(test)]
mod tests;
