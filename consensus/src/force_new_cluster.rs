//! A cluster of one made of what is left of a larger one: `--force-new-cluster`.
//!
//! It is done to the log of a stopped member. All of it is kept and counts as committed: how far the
//! membership had come is known here only as of the last message, so whatever this member holds beyond
//! that may have been acknowledged to somebody. After it comes, as new entries, first that this
//! member votes, if it did not (a learner may be all that is left), then that all others are gone.
//! The application is handed these changes as any others.
//!
//! One thing cannot be kept: that this very member was to be removed, where that is not known to be
//! committed. It would leave nobody. That entry and those after it are written anew, with nothing in
//! its place.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use raft::eraftpb;

use crate::conf_change::{ConfChange, ConfChangeKind, ConfState};
use crate::disk::Disk;
use crate::driver::DriverError;
use crate::entry::{Entry, EntryKind};
use crate::log_index::LogIndex;
use crate::log_store::LogStore;
use crate::member_id::MemberId;
use crate::node::{Node, NodeError, recover};
use crate::node_options::NodeOptions;
use crate::wal::{LogWrite, Wal};

/// How many bytes of log are read at once.
const READ_BYTES: usize = 4 << 20;

impl Node {
    /// Makes the member whose log is on `disk` the only one of its cluster; then open it as ever.
    /// `options` say what the application has applied; `context` is its description of this
    /// member, for the case that it must be made a voter. Nothing is changed if it is alone
    /// already; to do it again does no harm.
    ///
    /// The others must never run again.
    ///
    /// # Errors
    ///
    /// [`NodeError`], as [`Node::open`].
    pub fn force_new_cluster(
        disk: Arc<dyn Disk>,
        options: &NodeOptions,
        context: &Bytes,
    ) -> Result<(), NodeError> {
        let (mut wal, log) = recover(disk, options)?;
        let me = wal.identity().member;
        let Tail { members, rewritten } = Tail::read(&wal, &log, options)?;
        let mut entries = rewritten;
        let mut commit = log.last() - entries.len() as u64;
        entries.extend(members.changes_to_alone(me, context));
        if entries.is_empty() {
            return Ok(());
        }
        // A term of its own: what others may have in these places is never taken for the same.
        let term = log.hard_state().term + 1;
        for entry in &mut entries {
            commit += 1;
            entry.index = commit;
            entry.term = term;
        }
        let hard_state = eraftpb::HardState {
            term,
            vote: 0,
            commit,
        };
        wal.append(&LogWrite {
            hard_state: Some(hard_state),
            marker: None,
            entries,
        })?;
        Ok(())
    }
}

/// What the log says beyond what was applied.
struct Tail {
    /// Who takes part after all of it.
    members: Members,
    /// The last entries, to be written anew; none but for the removal of this member.
    rewritten: Vec<eraftpb::Entry>,
}

impl Tail {
    fn read(wal: &Wal, log: &LogStore, options: &NodeOptions) -> Result<Self, NodeError> {
        let me = wal.identity().member;
        let mut members = Members::of(&options.conf_state);
        let mut rewritten = Vec::new();
        let end = LogIndex::new(log.last()).next();
        let mut next = options.applied.next();
        while next < end {
            for entry in wal.read(next, end, READ_BYTES)? {
                next = LogIndex::new(entry.index).next();
                let is_committed = entry.index <= log.hard_state().commit;
                let parsed = Entry::from_raft(entry.clone()).map_err(DriverError::from)?;
                if let EntryKind::ConfChange(change) = parsed.kind {
                    let leaves = change.kind == ConfChangeKind::Remove && change.member == me;
                    if leaves && !is_committed {
                        rewritten.push(eraftpb::Entry::default());
                        continue;
                    }
                    members.apply(&change);
                }
                if !rewritten.is_empty() {
                    rewritten.push(entry);
                }
            }
        }
        Ok(Self { members, rewritten })
    }
}

/// Who takes part, as far as the log tells: a change that the application will refuse counts too,
/// since removing somebody who is not there does no harm.
struct Members {
    voters: BTreeSet<MemberId>,
    learners: BTreeSet<MemberId>,
}

impl Members {
    fn of(state: &ConfState) -> Self {
        let voters = state.voters.iter().chain(&state.voters_outgoing);
        Self {
            voters: voters.copied().collect(),
            learners: state.learners.iter().copied().collect(),
        }
    }

    fn apply(&mut self, change: &ConfChange) {
        match change.kind {
            ConfChangeKind::AddVoter => {
                self.learners.remove(&change.member);
                self.voters.insert(change.member);
            }
            ConfChangeKind::AddLearner if self.voters.contains(&change.member) => {}
            ConfChangeKind::AddLearner => {
                self.learners.insert(change.member);
            }
            ConfChangeKind::Remove => {
                self.voters.remove(&change.member);
                self.learners.remove(&change.member);
            }
            ConfChangeKind::Update => {}
        }
    }

    /// What must happen for `me` to be all of it: at every step somebody votes.
    fn changes_to_alone(&self, me: MemberId, context: &Bytes) -> Vec<eraftpb::Entry> {
        let mut changes = Vec::new();
        if !self.voters.contains(&me) {
            changes.push(change_entry(ConfChangeKind::AddVoter, me, context.clone()));
        }
        let others = self.voters.union(&self.learners).filter(|id| **id != me);
        changes
            .extend(others.map(|other| change_entry(ConfChangeKind::Remove, *other, Bytes::new())));
        changes
    }
}

fn change_entry(kind: ConfChangeKind, member: MemberId, context: Bytes) -> eraftpb::Entry {
    let change = ConfChange {
        id: 0,
        kind,
        member,
        context,
    };
    change.to_entry()
}
