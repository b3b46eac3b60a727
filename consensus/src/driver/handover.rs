//! Leadership that changes hands: because somebody wishes it, or because the leader's disk stalls.
//!
//! A leader need not have an entry on disk itself for it to be committed, but it hands out only
//! what it has. So one whose disk stands still would keep its followers from electing another and
//! acknowledge nothing. It gives way after an election timeout: first to whom it finds most up to
//! date, and if that does not come about in another election timeout, to whoever stands. Until the
//! disk answers again it does not stand for election itself.

use raft::{INVALID_ID, ProgressState, StateRole};

use super::Driver;
use crate::member_id::MemberId;

impl Driver {
    /// Hands leadership to `member`, a voter, if this member leads, or asks the leader to. It has
    /// come about when [`crate::Output::leadership`] says so. If it has not within an election
    /// timeout, it is given up, which the leader says in [`crate::Output::transfer_failed`]; until
    /// then it takes no proposals.
    pub fn transfer_leader(&mut self, member: MemberId) {
        self.raw.transfer_leader(member.get());
    }

    /// The voter to whom leadership is best handed: of those that were heard lately, the one whose
    /// log is most like this member's. `None` if this member does not lead or there is nobody.
    #[must_use]
    pub fn transferee(&self) -> Option<MemberId> {
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader {
            return None;
        }
        let voters = raft.prs().iter().filter(|(id, progress)| {
            raft.prs().conf().voters().contains(**id) && progress.state != ProgressState::Snapshot
        });
        voters
            .filter_map(|(id, progress)| Some((progress.matched, MemberId::from_wire(*id)?)))
            .filter(|(_, member)| *member != self.member && self.is_active(*member))
            .max_by_key(|(matched, member)| (*matched, std::cmp::Reverse(*member)))
            .map(|(_, member)| member)
    }

    /// How long the oldest write has been waiting for the disk, in ticks.
    pub(super) fn stalled_ticks(&self) -> u64 {
        let oldest = self.under_way.oldest_write();
        oldest.map_or(0, |given| self.now - given)
    }

    /// Whether the disk has stood still for so long that this member is not to lead.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled_ticks() >= self.election_ticks as u64
    }

    /// Gives leadership away if the disk stands still, unless nobody could take it.
    pub(super) fn give_way_if_stalled(&mut self) {
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader || raft.prs().is_singleton() || !self.is_stalled() {
            return;
        }
        if self.stalled_ticks() >= 2 * self.election_ticks as u64 {
            let term = raft.term;
            self.raw.raft.become_follower(term, INVALID_ID);
        } else if raft.lead_transferee.is_none()
            && let Some(transferee) = self.transferee()
        {
            self.transfer_leader(transferee);
        }
    }

    /// Whether changes of the configuration are committed that have not been applied; until then
    /// raft lets nobody stand.
    pub(super) fn is_changing(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        let committed = log.committed;
        let unstable = log.unstable_entries().iter();
        log.store.changes_conf(log.applied + 1, committed)
            || unstable
                .take_while(|entry| entry.index <= committed)
                .any(|entry| entry.entry_type != 0)
    }

    /// Whether a leader has told this member to stand for election, and now it can: one that has
    /// just been removed says so while the configuration is still changing.
    pub(super) fn should_stand(&self) -> bool {
        self.told_to_stand.is_some() && !self.is_changing() && self.may_campaign()
    }

    /// Does what it was told.
    pub(super) fn stand_if_told(&mut self) {
        if self.should_stand()
            && let Some(message) = self.told_to_stand.take()
        {
            let _dropped = self.raw.step(message);
        }
    }

    /// Whom leadership is being handed to.
    pub(super) fn present_transferee(&self) -> Option<MemberId> {
        self.raw.raft.lead_transferee.and_then(MemberId::from_wire)
    }
}
