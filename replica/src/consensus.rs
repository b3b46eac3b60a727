//! The consensus half of a member: its raft node, and who waits for it.
//!
//! Requests and reads come in with a waiter, a handle of the caller's that this type only carries:
//! the server's waiters are channels, the simulator's are numbers. [`Consensus::work`] says what is
//! to be done: what to send, what to apply, and whose read may go on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use cairn_consensus::{
    CompactionPolicy, ConfChange, ConfChangeError, Entry, Leadership, LogDone, LogExtent, LogIndex,
    LogWork, MemberId, Node, NodeError, Output, ProposeError as Refusal, ReadContext, SharedLog,
    SnapshotPoint, Status, StepError,
};
use cairn_proto::raftpb;

use crate::request_ids::{RequestId, RequestIds};

/// Proposals that go into one log write; the log bounds their bytes.
pub const BATCH_PROPOSALS_MAX: usize = 4096;
/// Reads that may wait for a leader to confirm them.
const READS_MAX: usize = 16 * 1024;
/// Proposals that may wait for a leader to be elected.
const HELD_MAX: usize = 4096;
/// Their bytes.
const HELD_BYTES_MAX: usize = 64 << 20;
/// Ticks for which requests that do not reach a leader are kept: about as long as a client of default
/// settings waits.
const RETURNED_TICKS: u32 = 50;
/// Ticks after which a read is asked for once more: the question or its answer may be lost.
const ASK_AGAIN_TICKS: u32 = 5;

/// Who waits for an answer.
pub trait Waiter {
    /// Whether nobody waits any more.
    fn has_left(&self) -> bool;
}

/// What is to be put into the log.
#[derive(Clone, Debug)]
pub enum Proposal {
    /// A request, encoded.
    Request(Bytes),
    /// A change of the group. Its `id` is the request's number.
    ConfChange(ConfChange),
}

impl Proposal {
    fn len(&self) -> usize {
        match self {
            Self::Request(data) => data.len(),
            Self::ConfChange(change) => change.context.len(),
        }
    }
}

/// Why a proposal was not taken; it is not in the log and never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// There is no leader, and too much waits for one already.
    #[error("no leader")]
    NoLeader,
    /// More is under way than the log takes.
    #[error("too many requests")]
    TooMany,
}

/// What is to be done after an output.
#[derive(Debug)]
pub struct Effects<P, R> {
    /// Requests that are on their way, and who waits for each: to be known to whoever applies before
    /// `committed` is applied.
    pub proposed: Vec<(RequestId, P)>,
    /// Requests that were not taken after all.
    pub not_taken: Vec<(P, NotTaken)>,
    /// Entries to apply, in order. Each change of the group among them is to be answered with
    /// [`Consensus::answer`].
    pub committed: Vec<Entry>,
    /// Messages to other members. Each may be lost.
    pub messages: Vec<raftpb::Message>,
    /// Reads that may go on once an index is applied.
    pub confirmed: Vec<(LogIndex, Vec<R>)>,
    /// The member's data must become the leader's at this point, which has been received.
    pub snapshot: Option<SnapshotPoint>,
    /// Members that need this one's data: see [`Consensus::offer_snapshot`].
    pub snapshot_wanted_by: Vec<MemberId>,
    /// Who leads, if that changed.
    pub leadership: Option<Leadership>,
}

impl<P, R> Default for Effects<P, R> {
    fn default() -> Self {
        Self {
            proposed: Vec::new(),
            not_taken: Vec::new(),
            committed: Vec::new(),
            messages: Vec::new(),
            confirmed: Vec::new(),
            snapshot: None,
            snapshot_wanted_by: Vec::new(),
            leadership: None,
        }
    }
}

/// A question to the leader, on behalf of reads that came before it.
struct Asked<R> {
    reads: Vec<R>,
    ticks: u32,
}

/// The consensus half of a member.
///
/// Invariants:
/// 1. A read is in `reads` or in one entry of `asked`; it is confirmed by an answer to a question
///    asked after it came.
/// 2. No context is ever used twice, also not after a restart: they are request numbers.
/// 3. What is `held` has not been proposed.
pub struct Consensus<P, R> {
    node: Node,
    request_ids: Arc<RequestIds>,
    /// Requests proposed since the last output.
    proposed: Vec<(RequestId, P)>,
    /// Requests that wait for a leader.
    held: VecDeque<(RequestId, Proposal, P)>,
    held_bytes: usize,
    /// Requests that did not reach the leader, and for how many ticks there have been any.
    returned: Vec<Bytes>,
    returned_ticks: u32,
    returned_bytes: usize,
    not_taken: Vec<(P, NotTaken)>,
    /// Reads that nobody has been asked about yet.
    reads: Vec<R>,
    asked: BTreeMap<ReadContext, Asked<R>>,
}

impl<P: Waiter, R: Waiter> Consensus<P, R> {
    /// The half around `node`; `request_ids` must be the member's own.
    #[must_use]
    pub const fn new(node: Node, request_ids: Arc<RequestIds>) -> Self {
        Self {
            node,
            request_ids,
            proposed: Vec::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            returned: Vec::new(),
            returned_ticks: 0,
            returned_bytes: 0,
            not_taken: Vec::new(),
            reads: Vec::new(),
            asked: BTreeMap::new(),
        }
    }

    /// Takes a request. Without a leader it waits for one, as etcd's do: an election is shorter than
    /// a client's patience.
    pub fn propose(&mut self, id: RequestId, proposal: Proposal, waiter: P) {
        if !self.held.is_empty() {
            self.hold(id, proposal, waiter);
            return;
        }
        self.propose_now(id, proposal, waiter);
    }

    /// Takes a read, which goes on when a leader has said how far it must wait. False if too many
    /// wait already.
    pub fn read(&mut self, waiter: R) -> bool {
        if self.reads.len() >= READS_MAX {
            return false;
        }
        self.reads.push(waiter);
        true
    }

    /// Takes a message of another member.
    ///
    /// # Errors
    ///
    /// [`StepError`]: a message that is not taken is as good as lost, unless it shows that somebody has
    /// forgotten what it promised; see [`StepError::Contradiction`].
    pub fn step(&mut self, message: raftpb::Message) -> Result<(), StepError> {
        self.node.driver().step(message)
    }

    /// Lets a unit of time pass.
    pub fn tick(&mut self) {
        self.node.driver().tick();
        self.propose_returned();
        for asked in self.asked.values_mut() {
            asked.ticks += 1;
        }
        self.asked.retain(|_, asked| {
            asked.reads.retain(|read| !read.has_left());
            if asked.ticks >= ASK_AGAIN_TICKS {
                self.reads.append(&mut asked.reads);
            }
            !asked.reads.is_empty()
        });
        self.reads.retain(|read| !read.has_left());
        self.held.retain(|(_, _, waiter)| !waiter.has_left());
        self.held_bytes = self
            .held
            .iter()
            .map(|(_, proposal, _)| proposal.len())
            .sum();
    }

    /// Waits for a leader as if `ticks` had passed already, if none is known: for a member that has
    /// just started.
    pub fn hasten_election(&mut self, ticks: usize) {
        self.node.driver().hasten_election(ticks);
    }

    /// Whether what was taken is enough for a write of its own.
    #[must_use]
    pub fn batch_is_full(&mut self) -> bool {
        self.proposed.len() >= BATCH_PROPOSALS_MAX || self.node.driver().batch_is_full()
    }

    /// Does what is to be done, with one write and one sync. If [`Self::has_work`] says so, work
    /// again.
    ///
    /// # Errors
    ///
    /// [`NodeError`]: the log can no longer be trusted and the member must stop.
    pub fn work(&mut self) -> Result<Effects<P, R>, NodeError> {
        self.propose_held();
        self.ask();
        let output = self.node.work()?;
        Ok(self.effects(output))
    }

    /// As [`Self::work`], without waiting for the disk: what is to be done at once, and work for
    /// [`Self::log`], whose outcome goes to [`Self::done`] in the order in which it was given. Only
    /// while no such work is [under way](Self::has_work_under_way) may [`Self::work`] be used.
    ///
    /// # Errors
    ///
    /// [`NodeError`]: the member must stop.
    pub fn begin(&mut self) -> Result<(Effects<P, R>, LogWork), NodeError> {
        self.propose_held();
        self.ask();
        let (output, work) = self.node.driver().begin()?;
        Ok((self.effects(output), work))
    }

    /// Takes what came of work for the log; what that allows.
    pub fn done(&mut self, done: LogDone) -> Effects<P, R> {
        let output = self.node.driver().done(done);
        self.effects(output)
    }

    /// Whether work that [`Self::begin`] gave has not come back.
    pub fn has_work_under_way(&mut self) -> bool {
        self.node.driver().has_work_under_way()
    }

    /// The log, for a thread that does its work.
    #[must_use]
    pub fn log(&self) -> SharedLog {
        self.node.log()
    }

    fn effects(&mut self, output: Output) -> Effects<P, R> {
        let mut effects = Effects {
            proposed: std::mem::take(&mut self.proposed),
            not_taken: std::mem::take(&mut self.not_taken),
            committed: output.committed,
            messages: output.messages,
            confirmed: Vec::new(),
            snapshot: output.snapshot,
            snapshot_wanted_by: output.snapshot_wanted_by,
            leadership: output.leadership,
        };
        for read in output.reads {
            if let Some(asked) = self.asked.remove(&read.context) {
                effects.confirmed.push((read.index, asked.reads));
            }
        }
        if effects.leadership.is_some() {
            // What an earlier leader was asked is never answered.
            for asked in std::mem::take(&mut self.asked).into_values() {
                self.reads.extend(asked.reads);
            }
        }
        self.ask();
        effects
    }

    /// Whether there is anything to be done without anything new.
    pub fn has_work(&mut self) -> bool {
        self.node.driver().has_work()
    }

    /// Says what became of a change of the group that was handed out to be applied.
    ///
    /// # Errors
    ///
    /// [`ConfChangeError`]: raft cannot do it, though the application accepted it.
    pub fn answer(
        &mut self,
        index: LogIndex,
        accepted: Option<&ConfChange>,
    ) -> Result<(), ConfChangeError> {
        match accepted {
            Some(change) => self
                .node
                .driver()
                .apply_conf_change(index, change)
                .map(drop),
            None => self.node.driver().reject_conf_change(index),
        }
    }

    /// Offers the application's data at `point` to those who need it.
    pub fn offer_snapshot(&mut self, point: &SnapshotPoint) {
        self.node.driver().offer_snapshot(point);
    }

    /// Says how sending a snapshot ended.
    pub fn report_snapshot(&mut self, to: MemberId, sent: bool) {
        self.node.driver().report_snapshot(to, sent);
    }

    /// Says that a message has not left. A request that was on its way to the leader in it is passed
    /// on again later: nobody can have it.
    pub fn not_sent(&mut self, message: raftpb::Message) {
        if let Some(to) = MemberId::from_wire(message.to.unwrap_or_default()) {
            self.report_unreachable(to);
        }
        if message.r#type() != raftpb::MessageType::MsgProp {
            return;
        }
        for entry in message.entries {
            let is_request = entry.r#type() == raftpb::EntryType::EntryNormal;
            let data = entry.data.unwrap_or_default();
            let has_room = self.returned_bytes + data.len() <= HELD_BYTES_MAX;
            // A change of the group is rare, and asked for again by hand.
            if is_request && has_room {
                self.returned_bytes += data.len();
                self.returned.push(data);
            }
        }
    }

    /// Passes on what has come back, once a tick, as long as somebody may wait for it.
    fn propose_returned(&mut self) {
        if self.returned.is_empty() {
            self.returned_ticks = 0;
            return;
        }
        self.returned_ticks += 1;
        let has_leader = self.node.status().leadership.leader.is_some();
        if !has_leader && self.returned_ticks <= RETURNED_TICKS {
            return;
        }
        self.returned_bytes = 0;
        let returned = std::mem::take(&mut self.returned);
        if self.returned_ticks <= RETURNED_TICKS {
            for data in returned {
                // What cannot be taken now is lost, as a message would be.
                let _ = self.node.driver().propose(data);
            }
        }
    }

    /// Says that messages to a member are lost at the moment.
    pub fn report_unreachable(&mut self, member: MemberId) {
        self.node.driver().report_unreachable(member);
    }

    /// Hands leadership to `member`.
    pub fn transfer_leader(&mut self, member: MemberId) {
        self.node.driver().transfer_leader(member);
    }

    /// Forgets entries up to `durable`, which the application has on disk, but for what `policy`
    /// keeps.
    pub fn shorten(&mut self, durable: LogIndex, policy: &CompactionPolicy) {
        self.node.driver().compact(durable, policy);
    }

    /// How much log there is.
    #[must_use]
    pub fn extent(&mut self) -> LogExtent {
        self.node.driver().extent()
    }

    /// How the member stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.node.status()
    }

    /// The node.
    pub const fn node(&mut self) -> &mut Node {
        &mut self.node
    }

    fn propose_now(&mut self, id: RequestId, proposal: Proposal, waiter: P) {
        let driver = self.node.driver();
        let taken = match &proposal {
            Proposal::Request(data) => driver.propose(data.clone()),
            Proposal::ConfChange(change) => driver.propose_conf_change(change),
        };
        match taken {
            Ok(()) => self.proposed.push((id, waiter)),
            Err(Refusal::NoLeader | Refusal::LeaderChanging) => self.hold(id, proposal, waiter),
            Err(Refusal::Overloaded | Refusal::Empty | Refusal::TooLarge { .. }) => {
                self.not_taken.push((waiter, NotTaken::TooMany));
            }
        }
    }

    fn hold(&mut self, id: RequestId, proposal: Proposal, waiter: P) {
        let bytes = proposal.len();
        if self.held.len() >= HELD_MAX || self.held_bytes + bytes > HELD_BYTES_MAX {
            self.not_taken.push((waiter, NotTaken::NoLeader));
            return;
        }
        self.held_bytes += bytes;
        self.held.push_back((id, proposal, waiter));
    }

    /// Proposes what has waited for a leader, in order.
    fn propose_held(&mut self) {
        let status = self.node.status();
        if status.leadership.leader.is_none() || status.transferring_to.is_some() {
            return;
        }
        for (id, proposal, waiter) in std::mem::take(&mut self.held) {
            self.held_bytes = self.held_bytes.saturating_sub(proposal.len());
            if !waiter.has_left() {
                self.propose_now(id, proposal, waiter);
            }
        }
    }

    /// One question to the leader serves every read that came since the last one.
    fn ask(&mut self) {
        if self.reads.is_empty() {
            return;
        }
        let context = ReadContext(self.request_ids.next().to_wire());
        // Without a leader, or one that knows how far the log is, the reads wait.
        if self.node.driver().read_index(context).is_ok() {
            let reads = std::mem::take(&mut self.reads);
            self.asked.insert(context, Asked { reads, ticks: 0 });
        }
    }
}
