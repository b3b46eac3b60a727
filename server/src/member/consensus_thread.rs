//! The consensus thread: takes all that waits, makes one log write of it, hands on what is committed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_consensus::{
    CompactionPolicy, Entry, EntryKind, LogIndex, MemberId, Node, NodeError, ReadContext,
    Role as RaftRole,
};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use tokio::sync::oneshot;

use super::Reply;
use super::apply_thread::Committed;
use super::housekeeping::Housekeeping;
use super::progress::{Progress, Role};
use super::request_ids::{RequestId, RequestIds};
use crate::error::{Error, ProposeError};

/// Proposals that go into one log write; the log bounds their bytes.
const BATCH_PROPOSALS_MAX: usize = 4096;
/// Reads that may wait for the log to confirm them.
const READS_MAX: usize = 16 * 1024;

/// A request on its way into the log.
#[derive(Debug)]
pub struct Proposal {
    /// Its number, which is also in `data`.
    pub id: RequestId,
    /// The log entry.
    pub data: Bytes,
    /// Who waits.
    pub reply: Reply,
}

/// What the consensus thread is asked.
#[derive(Debug)]
pub enum ConsensusInput {
    /// To put a request into the log.
    Propose(Proposal),
    /// For an index that, once applied, makes a read linearizable. No answer: there is no leader.
    ReadIndex(oneshot::Sender<LogIndex>),
    /// To forget what is at or below an index, which is on disk in the database.
    Shorten(LogIndex),
    /// To stop.
    Stop,
}

/// The consensus thread's state.
pub struct ConsensusThread {
    /// Raft and its log.
    pub node: Node,
    /// This member.
    pub member: MemberId,
    /// What others ask.
    pub inputs: Receiver<ConsensusInput>,
    /// Where committed entries go.
    pub committed: Sender<Committed>,
    /// Where to say who leads, and how far the log is.
    pub progress: Arc<Progress>,
    /// Whom to tell that the log is long.
    pub housekeeping: Housekeeping,
    /// How long the log may become.
    pub policy: CompactionPolicy,
    /// Names for reads, which must never come twice.
    pub request_ids: Arc<RequestIds>,
    /// The time of one tick.
    pub heartbeat: Duration,
}

/// What waits for the log.
#[derive(Default)]
struct Waiting {
    /// Requests proposed since the last turn.
    proposals: Vec<(RequestId, Reply)>,
    /// Reads proposed since the last turn: one question to the log serves all.
    reads: Vec<oneshot::Sender<LogIndex>>,
    /// Reads that the log has been asked about.
    asked: HashMap<ReadContext, Vec<oneshot::Sender<LogIndex>>>,
    /// Whether the housekeeper has been told that the log is long.
    shortening: bool,
}

/// The thread was asked to end, or there is nobody left to work for.
struct Ending;

impl ConsensusThread {
    /// Runs until it is asked to stop, or the doors or the apply thread are gone.
    ///
    /// # Errors
    ///
    /// [`NodeError`]: the log can no longer be trusted and the process must stop.
    pub fn run(mut self) -> Result<(), NodeError> {
        let mut next_tick = Instant::now() + self.heartbeat;
        let mut waiting = Waiting::default();
        // The first turns elect a sole voter and hand on what a crash left unapplied.
        loop {
            if let Err(Ending) = self.turn(&mut waiting)? {
                return Ok(());
            }
            let timeout = next_tick.saturating_duration_since(Instant::now());
            match self.inputs.recv_timeout(timeout) {
                Ok(input) => {
                    if let Err(Ending) = self.take_batch(input, &mut waiting)? {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            let now = Instant::now();
            if now >= next_tick {
                self.node.driver().tick();
                // A thread that was held up does not make up for lost ticks: time that nobody could
                // use must not end a leadership.
                next_tick = now + self.heartbeat;
            }
        }
    }

    /// Takes `first` and what waits behind it, as much as fits one write.
    fn take_batch(
        &mut self,
        first: ConsensusInput,
        waiting: &mut Waiting,
    ) -> Result<Result<(), Ending>, NodeError> {
        let mut input = first;
        for _ in 0..BATCH_PROPOSALS_MAX {
            match input {
                ConsensusInput::Propose(proposal) => self.propose(proposal, waiting),
                // A reader that is turned away is told by its reply being dropped.
                ConsensusInput::ReadIndex(_) if waiting.reads.len() >= READS_MAX => {}
                ConsensusInput::ReadIndex(reply) => waiting.reads.push(reply),
                ConsensusInput::Shorten(durable) => {
                    self.node.compact(durable, &self.policy)?;
                    waiting.shortening = false;
                }
                ConsensusInput::Stop => return Ok(Err(Ending)),
            }
            if self.node.driver().batch_is_full() {
                break;
            }
            match self.inputs.try_recv() {
                Ok(next) => input = next,
                Err(_) => break,
            }
        }
        self.ask_for_reads(waiting);
        Ok(Ok(()))
    }

    fn propose(&mut self, proposal: Proposal, waiting: &mut Waiting) {
        let Proposal { id, data, reply } = proposal;
        match self.node.driver().propose(data) {
            Ok(()) => waiting.proposals.push((id, reply)),
            Err(error) => {
                use cairn_consensus::ProposeError as Refusal;

                tracing::debug!(%error, "a proposal was refused");
                let error = match error {
                    Refusal::NoLeader => ProposeError::NoLeader,
                    _ => ProposeError::TooManyRequests,
                };
                reply.send(Err(Error::from(error)));
            }
        }
    }

    /// One question to the log serves every read that came since the last one.
    fn ask_for_reads(&mut self, waiting: &mut Waiting) {
        if waiting.reads.is_empty() {
            return;
        }
        let context = ReadContext(self.request_ids.next().to_wire());
        let reads = std::mem::take(&mut waiting.reads);
        // Where there is no leader the replies are dropped here, which tells their readers.
        if self.node.driver().read_index(context).is_ok() {
            waiting
                .asked
                .retain(|_, reads| reads.iter().any(|read| !read.is_closed()));
            waiting.asked.insert(context, reads);
        }
    }

    /// Turns raft until there is nothing to do: one write and one sync for all of the batch.
    fn turn(&mut self, waiting: &mut Waiting) -> Result<Result<(), Ending>, NodeError> {
        loop {
            let turn = self.node.turn()?;
            self.change_configuration(&turn.committed);
            self.note_progress();
            for read in turn.reads {
                for reply in waiting.asked.remove(&read.context).into_iter().flatten() {
                    let _ = reply.send(read.index);
                }
            }
            if !turn.committed.is_empty() || !waiting.proposals.is_empty() {
                let proposals = std::mem::take(&mut waiting.proposals);
                let committed = Committed {
                    waiting: proposals,
                    entries: turn.committed,
                };
                if self.committed.send(committed).is_err() {
                    return Ok(Err(Ending));
                }
            }
            if !self.node.driver().has_work() {
                break;
            }
        }
        let durable = self.progress.applied();
        if !waiting.shortening && self.policy.is_due(self.node.extent(), durable) {
            waiting.shortening = true;
            self.housekeeping.shorten_log();
        }
        Ok(Ok(()))
    }

    /// Changes of the group take effect as they are handed on: the doors let only valid ones in.
    fn change_configuration(&mut self, committed: &[Entry]) {
        for entry in committed {
            if let EntryKind::ConfChange(change) = &entry.kind
                && let Err(error) = self.node.driver().apply_conf_change(entry.index, change)
            {
                tracing::warn!(%error, "a change of the group was refused");
            }
        }
    }

    fn note_progress(&mut self) {
        let driver = self.node.driver();
        let is_sole_voter = driver.conf_state().is_sole_voter(self.member);
        let status = driver.status();
        let term = status.leadership.term;
        let role = match status.leadership.role {
            // Until an entry of its own term is applied, a new leader's store may lack what an
            // earlier one acknowledged.
            RaftRole::Leader if is_sole_voter && self.progress.applied_term() == term => {
                Role::SoleVoter
            }
            RaftRole::Leader => Role::Leader,
            RaftRole::Learner => Role::Learner,
            RaftRole::Follower | RaftRole::PreCandidate | RaftRole::Candidate => Role::Follower,
        };
        self.progress
            .set_group(role, term, status.leadership.leader, status.commit);
    }
}
