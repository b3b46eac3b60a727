//! Who takes part, and how the others are getting on.

use raft::{INVALID_ID, ProgressState, StateRole};

use super::Driver;
use crate::conf_change::{ConfChange, ConfChangeKind, ConfState};
use crate::log_index::LogIndex;
use crate::member_id::MemberId;

/// Why a configuration change could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ConfChangeError {
    /// It was not the next to be answered; also if a snapshot has overtaken it, which has its
    /// outcome.
    #[error("entry {index} is not the configuration change to be answered")]
    NotPending {
        /// The entry.
        index: LogIndex,
    },
    /// Raft cannot do it, for example because nobody would be left to vote.
    #[error("configuration change {index} is impossible: {reason}")]
    Impossible {
        /// The entry.
        index: LogIndex,
        /// What raft says.
        reason: String,
    },
}

/// How another member is getting on, as its leader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerProgress {
    /// Who.
    pub member: MemberId,
    /// The last entry up to which its log is known to be the leader's; durable there.
    pub matched: LogIndex,
    /// Whether it has no vote.
    pub is_learner: bool,
    /// Whether it was heard within an election timeout.
    pub is_active: bool,
    /// The place of the snapshot that is on its way to it.
    pub snapshot: Option<LogIndex>,
}

impl Driver {
    /// Applies a configuration change that was handed out; the configuration it leads to. Changes
    /// are answered in the order in which they were handed out, each by this or by
    /// [`Driver::reject_conf_change`], with the same answer on every member.
    ///
    /// A leader that is removed steps down, and tells who is most up to date to stand.
    ///
    /// # Errors
    ///
    /// [`ConfChangeError`]; if the change is impossible, it counts as rejected.
    pub fn apply_conf_change(
        &mut self,
        index: LogIndex,
        change: &ConfChange,
    ) -> Result<ConfState, ConfChangeError> {
        self.answer(index)?;
        let result = self.change_conf(index, change);
        self.advance_applied();
        result.map(|()| self.conf_state.clone())
    }

    /// Says that a configuration change that was handed out is not to be done.
    ///
    /// # Errors
    ///
    /// [`ConfChangeError::NotPending`].
    pub fn reject_conf_change(&mut self, index: LogIndex) -> Result<(), ConfChangeError> {
        self.answer(index)?;
        self.advance_applied();
        Ok(())
    }

    /// How each other member is getting on, by id; empty unless this member leads.
    #[must_use]
    pub fn progress(&self) -> Vec<PeerProgress> {
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader {
            return Vec::new();
        }
        let mut peers: Vec<_> = raft
            .prs()
            .iter()
            .filter_map(|(id, progress)| {
                let member = MemberId::from_wire(*id)?;
                let sending = progress.state == ProgressState::Snapshot;
                Some(PeerProgress {
                    member,
                    matched: LogIndex::new(progress.matched),
                    is_learner: raft.prs().conf().learners().contains(id),
                    is_active: self.is_active(member),
                    snapshot: sending.then(|| LogIndex::new(progress.pending_snapshot)),
                })
            })
            .filter(|peer| peer.member != self.member)
            .collect();
        peers.sort_unstable_by_key(|peer| peer.member);
        peers
    }

    /// The earliest of the snapshots that are on their way: who gets it will want what follows.
    pub(super) fn oldest_snapshot_under_way(&self) -> Option<LogIndex> {
        self.progress()
            .iter()
            .filter_map(|peer| peer.snapshot)
            .min()
    }

    /// Notes that `member` was heard.
    pub(super) fn hear(&mut self, member: MemberId) {
        if self.raw.raft.prs().get(member.get()).is_some() {
            self.heard.insert(member, self.now);
        }
    }

    /// Whether `member` was heard within an election timeout.
    pub(super) fn is_active(&self, member: MemberId) -> bool {
        let heard = self.heard.get(&member);
        heard.is_some_and(|heard| self.now - heard <= self.election_ticks as u64)
    }

    fn answer(&mut self, index: LogIndex) -> Result<(), ConfChangeError> {
        match self.unanswered.pop_front_if(|first| *first == index.get()) {
            Some(_) => Ok(()),
            None => Err(ConfChangeError::NotPending { index }),
        }
    }

    fn change_conf(&mut self, index: LogIndex, change: &ConfChange) -> Result<(), ConfChangeError> {
        let Some(for_raft) = change.for_raft() else {
            return Ok(());
        };
        let impossible = |reason| ConfChangeError::Impossible { index, reason };
        let transferee = self
            .transferee()
            .filter(|transferee| *transferee != change.member);
        let state = self.raw.apply_conf_change(&for_raft);
        let state = state.map_err(|error| impossible(error.to_string()))?;
        self.conf_state = ConfState::from_raft(&state)
            .ok_or_else(|| impossible("the configuration contradicts itself".to_owned()))?;
        if change.kind == ConfChangeKind::Remove {
            self.heard.remove(&change.member);
            self.removed |= change.member == self.member;
        }
        self.resign_without_vote(transferee);
        Ok(())
    }

    /// Steps down if this member leads and has no vote any more: raft-rs leaves that to us, and
    /// counts on a leader's own progress later. The others learn first that the change is
    /// committed, so that they need not count on this member.
    fn resign_without_vote(&mut self, transferee: Option<MemberId>) {
        let raft = &mut self.raw.raft;
        if raft.state != StateRole::Leader || raft.promotable() {
            return;
        }
        raft.bcast_append();
        if let Some(transferee) = transferee {
            raft.send_timeout_now(transferee.get());
        }
        let term = raft.term;
        raft.become_follower(term, INVALID_ID);
    }
}
