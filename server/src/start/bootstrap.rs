//! The member's log: opened, or begun at its first start.

use std::sync::Arc;

use cairn_consensus::disk::Disk;
use cairn_consensus::wal::{Durability, WalOptions};
use cairn_consensus::{FirstMember, Identity, Node, NodeOptions};
use cairn_replica::apply::Applier;
use cairn_replica::membership;

use super::{StartError, millis_now};
use crate::settings::Settings;

/// Opens the log, or begins one: its first entry makes this member the cluster.
pub(super) fn open_node(
    settings: &Settings,
    disk: Arc<dyn Disk>,
    applier: &Applier,
) -> Result<Node, StartError> {
    let members = applier.membership();
    let options = NodeOptions {
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
