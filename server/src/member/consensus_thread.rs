//! The consensus thread: takes all that waits, makes one log write of it, hands on what is committed.
//!
//! It waits for nobody: its log has a thread of its own, but for a sole voter, whom nobody needs
//! while it writes. When applying or the disk falls behind, what is committed waits here, and
//! entries of a leader wait in the inbox; ticks, heartbeats and acknowledgements go on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_backend::Applied;
use cairn_consensus::{
    CompactionPolicy, LogIndex, MemberId, NodeError, Role as RaftRole, SnapshotPoint, Term,
};
use cairn_mvcc::{Prepared, Store};
use cairn_proto::raftpb;
use cairn_replica::apply::ConfChangeDone;
use cairn_replica::consensus::{Consensus, Effects, Proposal, Waiter};
use cairn_replica::membership::Membership;
use cairn_replica::request_ids::RequestId;
use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, TrySendError};
use tokio::sync::oneshot;

use super::Reply;
use super::apply_thread::Committed;
use super::housekeeping::Housekeeping;
use super::log_thread::LogHandle;
use super::progress::{Progress, Role};
use super::refusals::{Outline, Refusals};
use crate::logging::{Chain, fatal};
use crate::member::Transport;
use crate::member::error::{Error, ProposeError};
use crate::member::inbox::{Arrived, Delivery, Inbox, PeerEvent};
use crate::metrics::Metrics;

/// A request on its way into the log.
#[derive(Debug)]
pub(crate) struct Request {
    /// Its number, which is also in the proposal.
    pub id: RequestId,
    /// What is to be put into the log.
    pub proposal: Proposal,
    /// Who waits.
    pub reply: Reply,
}

/// What the consensus thread is asked.
#[derive(Debug)]
pub(crate) enum ConsensusInput {
    /// To put a request into the log.
    Propose(Request),
    /// For an index that, once applied, makes a read linearizable. No answer: there is no leader.
    ReadIndex(oneshot::Sender<LogIndex>),
    /// What became of a change of the group.
    ConfChangeDone(ConfChangeDone),
    /// How far the log of each other member is; only a leader knows.
    Matched(oneshot::Sender<Option<Matched>>),
    /// To forget what is at or below an index, which is on disk in the database.
    Shorten(LogIndex),
    /// To hand leadership over, to whoever is best placed if nobody is named.
    TransferLeader(Option<MemberId>),
    /// To wait for a leader as if so many ticks had passed already, if none is known.
    HastenElection(usize),
    /// To stop.
    Stop,
}

/// How far the other members' logs are known to agree with the leader's.
#[derive(Debug)]
pub(crate) struct Matched {
    /// Where the leader's log ends.
    pub last: LogIndex,
    /// The others.
    pub members: BTreeMap<MemberId, LogIndex>,
}

/// The consensus thread's state.
pub(crate) struct ConsensusThread {
    /// Raft, its log, and who waits for it.
    pub consensus: Consensus<Reply, WaitingRead>,
    /// The way to the log's thread.
    pub log: LogHandle,
    /// This member.
    pub member: MemberId,
    /// What others ask.
    pub inputs: Receiver<ConsensusInput>,
    /// What came from other members.
    pub inbox: Inbox,
    /// What becomes of messages that are refused.
    pub refusals: Refusals,
    /// The other members.
    pub peers: Arc<dyn Transport>,
    /// Where committed entries go.
    pub committed: Sender<Committed>,
    /// What is committed and finds no room there.
    pub backlog: VecDeque<Committed>,
    /// The store, for members that need this one's database.
    pub store: Store,
    /// Databases of other members that raft has been told of, by their place in the log.
    pub arrived: BTreeMap<LogIndex, Prepared>,
    /// Where to say who leads, and how far the log is.
    pub progress: Arc<Progress>,
    /// Whom to tell that the log is long.
    pub housekeeping: Housekeeping,
    /// How long the log may become.
    pub policy: CompactionPolicy,
    /// Whether the housekeeper has been told that the log is long.
    pub shortening: bool,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The time of one tick.
    pub heartbeat: Duration,
}

/// Deliveries of other members that are taken before a round: what they bring is bounded by the
/// inbox, but a round should not wait for more than a few milliseconds' worth.
const DELIVERIES_MAX: usize = 256;

/// The thread was asked to end, or there is nobody left to work for.
struct Ending;

impl Waiter for Reply {
    fn has_left(&self) -> bool {
        self.is_closed()
    }
}

/// Raft was handed a snapshot whose data did not come.
#[derive(Debug, thiserror::Error)]
#[error("there is no data for the snapshot at {at}")]
struct NoData {
    at: LogIndex,
}

/// A read that waits to hear how far it must wait.
#[derive(Debug)]
pub(crate) struct WaitingRead(pub oneshot::Sender<LogIndex>);

impl Waiter for WaitingRead {
    fn has_left(&self) -> bool {
        self.0.is_closed()
    }
}

impl ConsensusThread {
    /// Runs until it is asked to stop, or the API or the apply thread are gone.
    ///
    /// # Errors
    ///
    /// [`NodeError`]: the log can no longer be trusted and the process must stop.
    pub(crate) fn run(mut self) -> Result<(), NodeError> {
        let mut next_tick = Instant::now() + self.heartbeat;
        // The first rounds elect a sole voter and hand on what a crash left unapplied.
        loop {
            if let Err(Ending) = self.work()? {
                return Ok(());
            }
            self.wait(next_tick);
            self.take_done();
            self.take_deliveries();
            if let Err(Ending) = self.take_inputs() {
                return Ok(());
            }
            let now = Instant::now();
            if now >= next_tick {
                self.count_late_heartbeat(now.saturating_duration_since(next_tick));
                self.consensus.tick();
                self.tell_warning();
                // A thread that was held up does not make up for lost ticks: time that nobody could
                // use must not end a leadership.
                next_tick = now + self.heartbeat;
            }
        }
    }

    /// Counts a tick that is `late` by more than a heartbeat's time, if heartbeats were due with it: once
    /// for each member that waited for one, as etcd does.
    fn count_late_heartbeat(&mut self, late: Duration) {
        if late <= self.heartbeat || self.progress.role() != Role::Leader {
            return;
        }
        let group = self.consensus.node().driver().conf_state();
        let others = (group.voters.len() + group.learners.len()).saturating_sub(1);
        self.metrics
            .server_heartbeat_send_failures_total
            .inc_by(others as u64);
        tracing::warn!(
            heartbeat_interval = ?self.heartbeat,
            expected_duration = ?(self.heartbeat * 2),
            exceeded_duration = ?late,
            "leader failed to send out heartbeat on time; took too long, leader is overloaded likely from \
             slow disk"
        );
    }

    /// Says what failed in the log and stops nothing.
    fn tell_warning(&mut self) {
        if let Some(warning) = self.consensus.node().log().take_warning() {
            tracing::warn!(
                error = %Chain(&warning),
                "a spare segment of the write-ahead log could not be made: going on without"
            );
        }
    }

    /// Waits until there is something to do, but no longer than until `next_tick`.
    fn wait(&self, next_tick: Instant) {
        let nothing_waits = self.inputs.is_empty() && self.inbox.quick.is_empty();
        if nothing_waits && (self.is_behind() || self.inbox.entries.is_empty()) {
            let mut select = Select::new();
            select.recv(&self.inputs);
            select.recv(&self.inbox.quick);
            select.recv(self.log.done());
            if !self.backlog.is_empty() {
                select.send(&self.committed);
            }
            if !self.is_behind() {
                select.recv(&self.inbox.entries);
            }
            let _ = select.ready_deadline(next_tick);
        }
    }

    /// Whether applying or the disk has fallen behind.
    fn is_behind(&self) -> bool {
        !self.backlog.is_empty() || self.log.is_behind()
    }

    /// Takes what the log's thread has done.
    fn take_done(&mut self) {
        while let Some(done) = self.log.take_done() {
            let effects = self.consensus.done(done);
            self.carry_out(effects);
        }
    }

    /// Takes what other members have sent.
    fn take_deliveries(&mut self) {
        for _ in 0..DELIVERIES_MAX {
            let quick = self.inbox.quick.try_recv();
            let delivery = match quick {
                Err(_) if !self.is_behind() => self.inbox.entries.try_recv(),
                quick => quick,
            };
            match delivery {
                Ok(delivery) => self.take(delivery),
                Err(_) => break,
            }
        }
    }

    fn take(&mut self, delivery: Delivery) {
        match delivery.event {
            PeerEvent::Messages(messages) => {
                for message in messages {
                    self.step(message);
                }
            }
            PeerEvent::Unreachable(member) => self.consensus.report_unreachable(member),
            PeerEvent::Snapshot(arrived) => {
                let Arrived { message, prepared } = *arrived;
                let index = LogIndex::new(prepared.applied().index);
                self.arrived.insert(index, prepared);
                self.step(message);
            }
            PeerEvent::SnapshotSent { to, sent } => self.consensus.report_snapshot(to, sent),
        }
    }

    fn step(&mut self, message: raftpb::Message) {
        let outline = Outline::of(&message);
        if let Err(error) = self.consensus.step(message) {
            self.refusals.note(outline, error);
        }
    }

    /// Takes what this member's own threads ask, as much as fits one write.
    fn take_inputs(&mut self) -> Result<(), Ending> {
        while !self.consensus.batch_is_full() {
            let input = match self.inputs.try_recv() {
                Ok(input) => input,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(Ending),
            };
            match input {
                ConsensusInput::Propose(Request {
                    id,
                    proposal,
                    reply,
                }) => self.consensus.propose(id, proposal, reply),
                // A reader that is turned away is told by its reply being dropped.
                ConsensusInput::ReadIndex(reply) => {
                    self.consensus.read(WaitingRead(reply));
                }
                ConsensusInput::ConfChangeDone(done) => {
                    let answered = self.consensus.answer(done.index, done.accepted.as_ref());
                    if let Err(error) = answered {
                        tracing::warn!(%error, "a change of the group was refused");
                    }
                }
                ConsensusInput::Matched(reply) => {
                    let _ = reply.send(self.matched());
                }
                ConsensusInput::Shorten(durable) => {
                    self.consensus.shorten(durable, &self.policy);
                    self.shortening = false;
                }
                ConsensusInput::TransferLeader(member) => {
                    if let Some(transferee) =
                        member.or_else(|| self.consensus.node().driver().transferee())
                    {
                        self.consensus.transfer_leader(transferee);
                    }
                }
                ConsensusInput::HastenElection(ticks) => self.consensus.hasten_election(ticks),
                ConsensusInput::Stop => return Err(Ending),
            }
        }
        Ok(())
    }

    /// Works on raft until there is nothing to do: one write and one sync for all of the batch, here or
    /// in the log's thread.
    fn work(&mut self) -> Result<Result<(), Ending>, NodeError> {
        loop {
            let effects = if self.is_sole_voter() && !self.consensus.has_work_under_way() {
                self.consensus.work()?
            } else {
                let (effects, work) = self.consensus.begin()?;
                self.log.give(work);
                effects
            };
            self.note_progress();
            self.carry_out(effects);
            if let Err(Ending) = self.hand_on() {
                return Ok(Err(Ending));
            }
            if !self.consensus.has_work() {
                break;
            }
        }
        let durable = self.progress.applied();
        if !self.shortening && self.policy.is_due(self.consensus.extent(), durable) {
            self.shortening = true;
            self.housekeeping.shorten_log();
        }
        Ok(Ok(()))
    }

    fn matched(&mut self) -> Option<Matched> {
        let status = self.consensus.status();
        let leads = status.leadership.role == RaftRole::Leader;
        leads.then(|| Matched {
            last: status.last,
            members: self
                .consensus
                .node()
                .driver()
                .progress()
                .into_iter()
                .map(|peer| (peer.member, peer.matched))
                .collect(),
        })
    }

    fn carry_out(&mut self, effects: Effects<Reply, WaitingRead>) {
        for lost in self.peers.send(effects.messages) {
            self.consensus.not_sent(lost);
        }
        if !effects.snapshot_wanted_by.is_empty() {
            self.offer_snapshot();
        }
        let install = effects.snapshot.and_then(|point| {
            let arrived = self.arrived.remove(&point.index);
            if arrived.is_none() {
                // Its message is let in only with its data.
                fatal::stop("consensus", &NoData { at: point.index });
            }
            arrived.map(Box::new)
        });
        let useless = self.useless_arrivals();
        for (reply, refusal) in effects.not_taken {
            tracing::debug!(%refusal, "a proposal was refused");
            reply.send(Err(Error::from(ProposeError::from(refusal))));
        }
        for (index, reads) in effects.confirmed {
            for WaitingRead(reply) in reads {
                let _ = reply.send(index);
            }
        }
        let has_news = install.is_some() || !useless.is_empty();
        if has_news || !effects.committed.is_empty() || !effects.proposed.is_empty() {
            self.backlog.push_back(Committed {
                install,
                useless,
                waiting: effects.proposed,
                entries: effects.committed,
            });
        }
    }

    /// Offers this member's data to those who need it. What is sent is read when it is sent, and may
    /// be newer.
    fn offer_snapshot(&mut self) {
        let point = self.store.backend().read().and_then(|view| {
            let Applied { index, term } = Applied::read(&view)?;
            Ok(SnapshotPoint {
                index: LogIndex::new(index),
                term: Term::new(term),
                conf_state: Membership::restore(&view)?.conf_state(),
            })
        });
        match point {
            Ok(point) => self.consensus.offer_snapshot(&point),
            Err(error) => tracing::warn!(error = %Chain(&error), "cannot offer a snapshot"),
        }
    }

    /// Databases that came and that raft had no use for.
    fn useless_arrivals(&mut self) -> Vec<Prepared> {
        if self.arrived.is_empty() {
            return Vec::new();
        }
        let driver = self.consensus.node().driver();
        let handed_out = driver.status().handed_out;
        let useless = self
            .arrived
            .extract_if(..=handed_out, |index, _| !driver.is_accepting(*index));
        useless.map(|(_, prepared)| prepared).collect()
    }

    /// Hands what is committed to the apply thread, as far as it has room.
    fn hand_on(&mut self) -> Result<(), Ending> {
        while let Some(committed) = self.backlog.pop_front() {
            match self.committed.try_send(committed) {
                Ok(()) => {}
                Err(TrySendError::Full(committed)) => {
                    self.backlog.push_front(committed);
                    break;
                }
                Err(TrySendError::Disconnected(_)) => return Err(Ending),
            }
        }
        Ok(())
    }

    fn is_sole_voter(&mut self) -> bool {
        let driver = self.consensus.node().driver();
        driver.conf_state().is_sole_voter(self.member)
    }

    fn note_progress(&mut self) {
        let is_sole_voter = self.is_sole_voter();
        let status = self.consensus.status();
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
