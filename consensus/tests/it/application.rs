//! An application that remembers what it was handed, and what it has made durable.

use std::sync::Arc;

use bytes::Bytes;
use cairn_consensus::disk::Disk;
use cairn_consensus::wal::{FrameAlignment, WalOptions};
use cairn_consensus::{
    ClusterId, ConfState, EntryKind, FirstMember, Identity, LogIndex, MemberId, Node, NodeError,
    NodeOptions, Output, Term,
};

pub(crate) fn member(id: u64) -> MemberId {
    MemberId::from_wire(id).unwrap()
}

pub(crate) fn identity(id: u64) -> Identity {
    Identity {
        cluster: ClusterId::new(0xC1),
        member: member(id),
    }
}

pub(crate) fn first_members(ids: &[u64]) -> Vec<FirstMember> {
    let first = |id: &u64| FirstMember {
        id: member(*id),
        context: Bytes::from_static(b"{}"),
    };
    ids.iter().map(first).collect()
}

/// Segments so short that tests see many.
pub(crate) fn short_segments() -> WalOptions {
    WalOptions {
        segment_bytes: 4096,
        frame_alignment: FrameAlignment::SECTOR,
        ..WalOptions::default()
    }
}

/// What an application has in memory, and what of it would survive a crash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Application {
    /// Every normal entry it was handed, in order.
    pub(crate) entries: Vec<(LogIndex, Bytes)>,
    /// The last entry it was handed, and the configuration then.
    pub(crate) applied: LogIndex,
    pub(crate) term: Term,
    pub(crate) conf_state: ConfState,
}

impl Application {
    pub(crate) fn options(&self, wal: WalOptions) -> NodeOptions {
        NodeOptions {
            wal,
            applied: self.applied,
            conf_state: self.conf_state.clone(),
            ..NodeOptions::default()
        }
    }

    /// Applies what an output committed; entries must come without gaps.
    pub(crate) fn apply(&mut self, node: &mut Node, output: &Output) {
        if let Some(snapshot) = &output.snapshot {
            self.applied = snapshot.index;
            self.term = snapshot.term;
            self.conf_state = snapshot.conf_state.clone();
        }
        for entry in &output.committed {
            assert_eq!(
                entry.index,
                self.applied.next(),
                "entries are without gaps or repeats"
            );
            self.applied = entry.index;
            self.term = entry.term;
            match &entry.kind {
                EntryKind::Empty => {}
                EntryKind::Normal(data) => self.entries.push((entry.index, data.clone())),
                EntryKind::ConfChange(change) => {
                    self.conf_state = node
                        .driver()
                        .apply_conf_change(entry.index, change)
                        .unwrap();
                }
            }
        }
    }
}

/// Turns until there is nothing to do.
pub(crate) fn settle(node: &mut Node, application: &mut Application) -> Result<(), NodeError> {
    while node.driver().has_work() {
        let output = node.work()?;
        application.apply(node, &output);
    }
    Ok(())
}

/// Starts the only member of a cluster, for the first time or again.
pub(crate) fn start_alone(
    disk: Arc<dyn Disk>,
    application: &mut Application,
    wal: WalOptions,
) -> Result<Node, NodeError> {
    let options = application.options(wal);
    if !Node::exists(disk.as_ref())? {
        Node::create(
            Arc::clone(&disk),
            identity(1),
            &first_members(&[1]),
            &options,
        )?;
    }
    let mut node = Node::open(disk, &options)?;
    settle(&mut node, application)?;
    Ok(node)
}
