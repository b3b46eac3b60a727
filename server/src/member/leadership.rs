//! Who leads, as the API sees it: handing leadership over, and what a lost leader has to do with a
//! request that was not answered in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_consensus::MemberId;

use super::{ConsensusInput, Member};
use crate::member::error::{Error, MaintenanceError, ProposeError};

/// How long a member that is told to end looks for somebody to lead: shorter than what supervisors
/// give a process before they kill it, and enough for a few round trips and a slow disk.
const HANDOVER_PATIENCE: Duration = Duration::from_millis(1500);

impl Member {
    /// Hands leadership to `target`, and returns when it leads.
    ///
    /// # Errors
    ///
    /// [`MaintenanceError`] if this member does not lead, or `target` cannot, or it does not in time.
    pub(crate) async fn move_leader(&self, target: Option<MemberId>) -> Result<(), Error> {
        if !self.progress.role().leads() {
            return Err(MaintenanceError::NotLeader.into());
        }
        let is_voter = |id| self.membership().voters().any(|(voter, _)| voter == id);
        let target = target
            .filter(|id| is_voter(*id))
            .ok_or(MaintenanceError::BadLeaderTransferee)?;
        tracing::info!(to = %target, "leadership transfer starting");
        let begun = ConsensusInput::TransferLeader(Some(target));
        let begun = self.consensus.try_send(begun);
        begun.map_err(|_| ProposeError::TooManyRequests)?;
        let moved = self.progress.wait_leader(|leader| leader == Some(target));
        // Raft gives up after an election timeout, as the old leader then leads on.
        tokio::time::timeout(2 * self.limits.election_timeout, moved)
            .await
            .map_err(|_| MaintenanceError::LeaderTransferTimeout)?;
        tracing::info!(to = %target, "leadership transfer finished");
        Ok(())
    }

    /// Hands leadership to whoever is best placed, if this member leads others; returns soon in any
    /// case.
    pub(crate) async fn hand_over(&self) {
        if !self.progress.role().leads() || self.membership().voters().count() < 2 {
            return;
        }
        if self
            .consensus
            .try_send(ConsensusInput::TransferLeader(None))
            .is_err()
        {
            return;
        }
        let me = Some(self.identity.member);
        let moved = self
            .progress
            .wait_leader(|leader| leader.is_some() && leader != me);
        match tokio::time::timeout(HANDOVER_PATIENCE, moved).await {
            Ok(()) => tracing::info!("leadership transfer finished before shutting down"),
            Err(_) => tracing::warn!("leadership transfer failed before shutting down"),
        }
    }

    /// Once enough others are there to have heard of a leader, does not wait `ticks` longer to find out
    /// that there is none. Rules and numbers are etcd's (`--initial-election-tick-advance`): a leader
    /// has the rest of its followers' patience to be heard.
    pub(crate) async fn hasten_first_election(self: Arc<Self>, ticks: usize) {
        /// How long the others may take.
        const PATIENCE: Duration = Duration::from_secs(5);
        const LOOK_INTERVAL: Duration = Duration::from_millis(50);
        /// Others that must be connected.
        const ENOUGH: usize = 2;

        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let connected = self.activity.count();
            if connected >= ENOUGH {
                let hastened = ConsensusInput::HastenElection(ticks);
                // A thread that is so busy has a leader.
                let _ = self.consensus.try_send(hastened);
                tracing::info!(ticks, connected, "fast-forwarding election ticks");
                return;
            }
        }
    }

    /// Why a request that came at `begun` has not been answered by now; etcd's rules.
    pub(super) fn why_timed_out(&self, begun: Instant) -> ProposeError {
        if let Some(elected) = self.progress.leader_since() {
            let lost = elected.checked_sub(2 * self.limits.election_timeout);
            if begun < elected && lost.is_none_or(|lost| begun > lost) {
                return ProposeError::TimeoutLeaderFailed;
            }
        }
        let voters: Vec<_> = self.membership().voters().map(|(id, _)| id).collect();
        let me = self.identity.member;
        let is_connected = match self.progress.leader() {
            None => true,
            Some(leader) if leader == me => self.activity.reaches_quorum_since(me, &voters, begun),
            Some(leader) => self.activity.is_active_since(leader, begun),
        };
        if is_connected {
            ProposeError::Timeout
        } else {
            ProposeError::TimeoutConnectionLost
        }
    }
}
