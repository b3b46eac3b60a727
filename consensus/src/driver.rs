//! The consensus of one member as a state machine: no disk, no clock, no network, no chance but
//! what follows from a seed.
//!
//! Inputs are calls ([`Driver::propose`], [`Driver::step`], [`Driver::tick`]…); `Driver::begin`
//! turns what they came to into effects: what to write, and what to do at once. When the write is
//! durable, `Driver::persisted` releases what had to wait for it. [`crate::Node`] does both ends
//! in one thread; nothing here would mind if writes were made durable by another one, in order.

mod door;

use std::collections::VecDeque;
use std::num::NonZeroU64;

use bytes::Bytes;
use raft::eraftpb;
use raft::{RawNode, StateRole};

use crate::conf_change::{ConfChange, ConfState};
use crate::entry::{Entry, EntryKind, UnreadableEntry};
use crate::log_index::LogIndex;
use crate::log_store::{LogRead, LogStore};
use crate::member_id::MemberId;
use crate::node_options::NodeOptions;
use crate::seeded::Seeded;
use crate::status::{Leadership, Role, Status};
use crate::term::Term;
use crate::turn::{ReadContext, ReadReady, SnapshotPoint, Turn};
use crate::wal::{LogWrite, Marker, MarkerOrigin};
use crate::wire;

pub use door::StepError;

/// How many bytes of committed entries are handed out at once.
const COMMITTED_BYTES_MAX: u64 = 4 << 20;

/// How many bytes of entries a message to a follower has; etcd's own limit.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// How many messages with entries are on their way to one follower; etcd's own limit.
const MESSAGES_IN_FLIGHT_MAX: usize = 512;

/// How many bytes of proposals may be in the log without being committed. Beyond this, proposals
/// are refused: the followers are not keeping up.
const UNCOMMITTED_BYTES_MAX: u64 = 64 << 20;

/// A batch of proposals that is worth a write of its own; see [`Driver::batch_is_full`].
const BATCH_BYTES: usize = 4 << 20;

const _: () = assert!(
    MESSAGE_BYTES_MAX <= UNCOMMITTED_BYTES_MAX,
    "raft-rs demands it"
);

/// Counts writes, to say which are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WriteNumber(u64);

/// A write that must be durable before [`Driver::persisted`] is told of it.
#[derive(Debug)]
pub(crate) struct PendingWrite {
    /// Its number; writes become durable in this order.
    pub(crate) number: WriteNumber,
    /// What to write.
    pub(crate) write: LogWrite,
}

/// Why a proposal was not taken. None of it is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nobody leads at the moment.
    #[error("no leader")]
    NoLeader,
    /// The leader is handing over, or this member has been removed.
    #[error("leadership is changing")]
    LeaderChanging,
    /// Too much is waiting to be committed.
    #[error("too many bytes wait to be committed")]
    Overloaded,
    /// Entries must say something.
    #[error("proposal is empty")]
    Empty,
    /// No segment of the log can hold it.
    #[error("a proposal of {bytes} bytes is beyond the limit of {limit}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// Why a read was not taken; it may be asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadIndexError {
    /// Nobody leads at the moment.
    #[error("no leader")]
    NoLeader,
    /// This member leads, but has not yet committed anything in its term.
    #[error("leader has not committed in its term yet")]
    NotReady,
}

/// Why a configuration change could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ConfChangeError {
    /// It was not the next to be answered.
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

/// Why the state machine could not go on: our fault or that of the log.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// Raft refuses to start like this.
    #[error("raft refuses its configuration: {0}")]
    Raft(String),
    /// A committed entry is not one of ours.
    #[error(transparent)]
    Entry(#[from] UnreadableEntry),
    /// A configuration that contradicts itself.
    #[error("configuration is inconsistent")]
    ConfState,
}

/// The state machine.
///
/// Invariants:
/// 1. `handed_out` never goes back; entries up to it have been handed out or were applied before
///    the start.
/// 2. `unanswered` are the configuration changes among them that the application has not answered,
///    in order; raft counts as applied what is before the first of them.
/// 3. `held` are the messages that wait for writes, in the order of the writes.
pub struct Driver {
    raw: RawNode<LogStore>,
    member: MemberId,
    chance: Seeded,
    election_ticks: usize,
    /// How long this member waits beyond `election_ticks` the next time.
    election_spread: usize,
    entry_bytes_max: usize,
    conf_state: ConfState,
    handed_out: u64,
    unanswered: VecDeque<u64>,
    held: VecDeque<(u64, Vec<eraftpb::Message>)>,
    /// A commit index that is not in the log yet. It never needs a write of its own: it only says
    /// what a restart can hand out at once.
    unwritten_commit: Option<eraftpb::HardState>,
    leadership: Leadership,
}

impl Driver {
    /// The member's state machine on a log whose application has applied `options.applied`.
    pub(crate) fn new(
        member: MemberId,
        log: LogStore,
        entry_bytes_max: usize,
        options: &NodeOptions,
    ) -> Result<Self, DriverError> {
        if !options.conf_state.is_consistent() {
            return Err(DriverError::ConfState);
        }
        let config = raft::Config {
            id: member.get(),
            election_tick: options.election_ticks,
            heartbeat_tick: options.heartbeat_ticks,
            // Raft's own timeout is random; it is set so that it never ends. Ours is in `tick`.
            min_election_tick: usize::MAX - 1,
            max_election_tick: usize::MAX,
            applied: options.applied.get(),
            pre_vote: options.pre_vote,
            check_quorum: true,
            max_size_per_msg: MESSAGE_BYTES_MAX,
            max_inflight_msgs: MESSAGES_IN_FLIGHT_MAX,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
            max_committed_size_per_ready: COMMITTED_BYTES_MAX,
            ..raft::Config::default()
        };
        let mut log = log;
        log.set_initial(raft::RaftState {
            hard_state: log.hard_state(),
            conf_state: options.conf_state.to_raft(),
        });
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, log, &logger)
            .map_err(|error| DriverError::Raft(error.to_string()))?;
        let mut driver = Self {
            raw,
            member,
            chance: Seeded::new(options.seed ^ member.get()),
            election_ticks: options.election_ticks,
            election_spread: 0,
            entry_bytes_max,
            conf_state: options.conf_state.clone(),
            handed_out: options.applied.get(),
            unanswered: VecDeque::new(),
            held: VecDeque::new(),
            unwritten_commit: None,
            leadership: Leadership::default(),
        };
        driver.draw_election_spread();
        driver.leadership = driver.present_leadership();
        Ok(driver)
    }

    /// Lets a unit of time pass.
    pub fn tick(&mut self) {
        self.raw.tick();
        let raft = &mut self.raw.raft;
        let waited = raft.election_elapsed >= self.election_ticks + self.election_spread;
        if raft.state != StateRole::Leader && raft.promotable() && waited && self.may_campaign() {
            self.raw.raft.election_elapsed = 0;
            self.draw_election_spread();
            self.campaign();
        }
    }

    /// Proposes an entry; if this member does not lead, the proposal goes to the one who does.
    ///
    /// # Errors
    ///
    /// [`ProposeError`]; nothing was proposed. Without an error the entry may still be lost, if
    /// leadership changes.
    pub fn propose(&mut self, data: Bytes) -> Result<(), ProposeError> {
        if data.is_empty() {
            return Err(ProposeError::Empty);
        }
        self.propose_entry(eraftpb::Entry {
            data,
            ..eraftpb::Entry::default()
        })
    }

    /// Proposes a configuration change. If another one is under way, the entry becomes an empty
    /// one, and is handed out as such.
    ///
    /// # Errors
    ///
    /// As [`Driver::propose`].
    pub fn propose_conf_change(&mut self, change: &ConfChange) -> Result<(), ProposeError> {
        let mut entry = eraftpb::Entry {
            data: change.encode(),
            ..eraftpb::Entry::default()
        };
        entry.set_entry_type(eraftpb::EntryType::EntryConfChange);
        self.propose_entry(entry)
    }

    /// Asks for an index that a linearizable read must wait for; it comes in [`Turn::reads`], or
    /// never if leadership changes.
    ///
    /// # Errors
    ///
    /// [`ReadIndexError`]; nothing was asked.
    pub fn read_index(&mut self, context: ReadContext) -> Result<(), ReadIndexError> {
        let raft = &self.raw.raft;
        if raft.state == StateRole::Leader {
            if !raft.commit_to_current_term() {
                return Err(ReadIndexError::NotReady);
            }
        } else if raft.leader_id == raft::INVALID_ID {
            return Err(ReadIndexError::NoLeader);
        }
        self.raw.read_index(context.encode(self.member));
        Ok(())
    }

    /// Hands leadership to `member`, if this member leads, or asks the leader to.
    pub fn transfer_leader(&mut self, member: MemberId) {
        self.raw.transfer_leader(member.get());
    }

    /// Applies a configuration change that was handed out; the configuration it leads to.
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
        let result = match change.for_raft() {
            None => Ok(()),
            Some(change) => self.change_conf(index, &change),
        };
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

    /// Says that messages to `member` are lost at the moment.
    pub fn report_unreachable(&mut self, member: MemberId) {
        self.raw.report_unreachable(member.get());
    }

    /// Says how sending a snapshot to `member` ended.
    pub fn report_snapshot(&mut self, member: MemberId, sent: bool) {
        let status = if sent {
            raft::SnapshotStatus::Finish
        } else {
            raft::SnapshotStatus::Failure
        };
        self.raw.report_snapshot(member.get(), status);
    }

    /// Offers a snapshot of the application's data at `point` to members that are behind the log.
    /// It goes out as a message with `point` alone; whoever sends it adds the data.
    pub fn offer_snapshot(&mut self, point: &SnapshotPoint) {
        self.raw.mut_store().offer_snapshot(point.to_raft());
    }

    /// What must be read back from the log and given to [`Driver::supply`] before
    /// [`Driver::begin`]: committed entries that are no longer in memory.
    pub(crate) fn needs(&self) -> Option<LogRead> {
        let log = &self.raw.raft.raft_log;
        let to = log.committed.min(log.persisted) + 1;
        let from = (self.handed_out + 1).max(log.store.first());
        let bytes_max = usize::try_from(COMMITTED_BYTES_MAX).unwrap_or(usize::MAX);
        log.store.missing(from, to, bytes_max)
    }

    /// Takes entries that were read back.
    pub(crate) fn supply(&mut self, entries: Vec<eraftpb::Entry>) {
        self.raw.mut_store().supply(entries);
    }

    /// Reads entries for followers with `read` and sends them.
    pub(crate) fn serve_fetches<E>(
        &mut self,
        mut read: impl FnMut(LogRead) -> Result<Vec<eraftpb::Entry>, E>,
    ) -> Result<(), E> {
        for fetch in self.raw.mut_store().take_fetches() {
            // The log may have been compacted since; raft then finds that itself.
            let gone = fetch.read.from.get() < self.raw.store().first()
                || fetch.read.to.get() > self.raw.store().last() + 1;
            if !gone {
                let entries = read(fetch.read)?;
                self.supply(entries);
            }
            self.raw.on_entries_fetched(fetch.context);
        }
        Ok(())
    }

    /// Whether there is anything to be done.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.raw.has_ready() || self.should_campaign_alone()
    }

    /// Whether what was proposed is enough for a write of its own.
    #[must_use]
    pub fn batch_is_full(&self) -> bool {
        self.raw.raft.raft_log.unstable.entries_size >= BATCH_BYTES
    }

    /// Turns what has happened into effects: those that can be had at once are added to `turn`,
    /// the write is returned, empty if there is nothing to write.
    ///
    /// # Errors
    ///
    /// [`DriverError`] if a committed entry cannot be understood.
    pub(crate) fn begin(&mut self, turn: &mut Turn) -> Result<PendingWrite, DriverError> {
        if self.should_campaign_alone() {
            self.campaign();
        }
        let mut ready = self.raw.ready();
        let number = WriteNumber(ready.number());
        let mut write = LogWrite::default();
        if let Some(state) = ready.hs() {
            if ready.must_sync() {
                write.hard_state = Some(*state);
                self.unwritten_commit = None;
            } else {
                self.unwritten_commit = Some(*state);
            }
        }
        if !ready.snapshot().is_empty() {
            let point = SnapshotPoint::from_raft(ready.snapshot())?;
            write.marker = Some(Marker {
                index: point.index,
                term: point.term,
                conf_state: point.conf_state.clone(),
                origin: MarkerOrigin::Snapshot,
            });
            self.install(&point, write.marker.as_ref());
            turn.snapshot = Some(point);
        }
        write.entries = ready.take_entries();
        if !write.entries.is_empty() && write.hard_state.is_none() {
            write.hard_state = self.unwritten_commit.take();
        }
        self.raw.mut_store().append(write.entries.clone());

        turn.reads.extend(
            ready
                .take_read_states()
                .iter()
                .filter_map(ReadReady::from_raft),
        );
        self.hand_out(ready.take_committed_entries(), turn)?;
        wire::push_messages(ready.take_messages(), &mut turn.messages);
        let held = ready.take_persisted_messages();
        self.raw.advance_append_async(ready);
        self.held.push_back((number.0, held));
        self.note_leadership(turn);
        let wanted = self.raw.mut_store().take_snapshot_wanted();
        turn.snapshot_wanted_by
            .extend(wanted.into_iter().filter_map(MemberId::from_wire));
        Ok(PendingWrite { number, write })
    }

    /// Says that writes up to `number` are durable; what waited for them is added to `turn`.
    pub(crate) fn persisted(&mut self, number: WriteNumber, turn: &mut Turn) {
        self.raw.on_persist_ready(number.0);
        while self.held.front().is_some_and(|(held, _)| *held <= number.0) {
            if let Some((_, messages)) = self.held.pop_front() {
                wire::push_messages(messages, &mut turn.messages);
            }
        }
        self.advance_applied();
        let persisted = self.raw.raft.raft_log.persisted;
        self.raw.mut_store().trim(persisted);
    }

    /// Whether the next [`Driver::begin`] gives effects without anything that must be durable
    /// first.
    pub(crate) fn has_free_work(&self) -> bool {
        let raft = &self.raw.raft;
        let written = raft.raft_log.unstable_entries().is_empty() && raft.snap().is_none();
        let state = self.raw.raft.hard_state();
        let known = state.term == self.leadership.term.get();
        written && known && self.raw.has_ready() && !self.should_campaign_alone()
    }

    /// Lets the log begin after `marker`.
    pub(crate) fn compact(&mut self, marker: &Marker) {
        self.raw.mut_store().mark(marker);
    }

    /// The log.
    pub(crate) fn log(&self) -> &LogStore {
        self.raw.store()
    }

    /// The last entry that raft counts as applied: all before it are done with.
    pub(crate) fn applied(&self) -> LogIndex {
        LogIndex::new(self.raw.raft.raft_log.applied)
    }

    /// The configuration as far as it has been applied.
    #[must_use]
    pub fn conf_state(&self) -> &ConfState {
        &self.conf_state
    }

    /// How things stand.
    #[must_use]
    pub fn status(&self) -> Status {
        let raft = &self.raw.raft;
        Status {
            leadership: self.present_leadership(),
            commit: LogIndex::new(raft.raft_log.committed),
            handed_out: LogIndex::new(self.handed_out),
            first: LogIndex::new(raft.raft_log.first_index()),
            last: LogIndex::new(raft.raft_log.last_index()),
            transferring_to: raft.lead_transferee.and_then(MemberId::from_wire),
        }
    }

    /// How far each other member's log is known to agree with this one's; empty unless this
    /// member leads.
    #[must_use]
    pub fn progress(&self) -> Vec<(MemberId, LogIndex)> {
        if self.raw.raft.state != StateRole::Leader {
            return Vec::new();
        }
        let progress = self.raw.raft.prs().iter();
        let mut matched: Vec<_> = progress
            .filter_map(|(id, progress)| {
                Some((MemberId::from_wire(*id)?, LogIndex::new(progress.matched)))
            })
            .filter(|(member, _)| *member != self.member)
            .collect();
        matched.sort_unstable();
        matched
    }

    fn propose_entry(&mut self, entry: eraftpb::Entry) -> Result<(), ProposeError> {
        let (bytes, limit) = (entry.data.len(), self.entry_bytes_max);
        if bytes > limit {
            return Err(ProposeError::TooLarge { bytes, limit });
        }
        let mut message = eraftpb::Message {
            from: self.member.get(),
            ..eraftpb::Message::default()
        };
        message.set_msg_type(eraftpb::MessageType::MsgPropose);
        message.entries.push(entry);
        if self.raw.step(message).is_ok() {
            return Ok(());
        }
        let raft = &self.raw.raft;
        let leads = raft.state == StateRole::Leader;
        Err(match leads {
            false => ProposeError::NoLeader,
            true if raft.lead_transferee.is_some() => ProposeError::LeaderChanging,
            true if raft.prs().get(self.member.get()).is_none() => ProposeError::LeaderChanging,
            true => ProposeError::Overloaded,
        })
    }

    /// Stands for election. A refusal (because configuration changes are pending) is not an
    /// error: the time comes again.
    fn campaign(&mut self) {
        let _refused = self.raw.campaign();
    }

    /// A sole voter need not wait for an election: it has its own vote.
    fn should_campaign_alone(&self) -> bool {
        let raft = &self.raw.raft;
        raft.state != StateRole::Leader
            && raft.promotable()
            && self.conf_state.is_sole_voter(self.member)
            && self.may_campaign()
            && self.unanswered.is_empty()
            && !raft.raft_log.has_next_entries_since(self.handed_out)
    }

    /// Whoever wins an election at once must have all of its log on disk; who must ask others
    /// has it by the time they answer. A snapshot, though, must be durable in any case.
    fn may_campaign(&self) -> bool {
        let raft = &self.raw.raft;
        let log = &raft.raft_log;
        let snapshot_durable =
            log.unstable_snapshot().is_none() && log.applied + 1 >= log.store.first();
        snapshot_durable && (log.persisted == log.last_index() || !raft.prs().is_singleton())
    }

    fn draw_election_spread(&mut self) {
        let bound = self.election_ticks as u64;
        self.election_spread = usize::try_from(self.chance.below(bound)).unwrap_or(0);
    }

    fn hand_out(
        &mut self,
        entries: Vec<eraftpb::Entry>,
        turn: &mut Turn,
    ) -> Result<(), DriverError> {
        for entry in entries {
            assert!(
                entry.index == self.handed_out + 1,
                "invariant 1: entries are without gaps"
            );
            self.handed_out = entry.index;
            let entry = Entry::from_raft(entry)?;
            if matches!(entry.kind, EntryKind::ConfChange(_)) {
                self.unanswered.push_back(entry.index.get());
            }
            turn.committed.push(entry);
        }
        self.advance_applied();
        Ok(())
    }

    fn answer(&mut self, index: LogIndex) -> Result<(), ConfChangeError> {
        match self.unanswered.pop_front_if(|first| *first == index.get()) {
            Some(_) => Ok(()),
            None => Err(ConfChangeError::NotPending { index }),
        }
    }

    fn change_conf(
        &mut self,
        index: LogIndex,
        change: &eraftpb::ConfChange,
    ) -> Result<(), ConfChangeError> {
        let impossible = |reason| ConfChangeError::Impossible { index, reason };
        let state = self.raw.apply_conf_change(change);
        let state = state.map_err(|error| impossible(error.to_string()))?;
        self.conf_state = ConfState::from_raft(&state)
            .ok_or_else(|| impossible("the configuration contradicts itself".to_owned()))?;
        Ok(())
    }

    /// Tells raft what is done with; a snapshot only once it is durable.
    fn advance_applied(&mut self) {
        let log = &self.raw.raft.raft_log;
        let applied = self
            .unanswered
            .front()
            .map_or(self.handed_out, |first| first - 1);
        let applied = applied.min(log.committed).min(log.persisted);
        if applied > log.applied {
            self.raw.advance_apply_to(applied);
        }
    }

    fn install(&mut self, point: &SnapshotPoint, marker: Option<&Marker>) {
        if let Some(marker) = marker {
            self.raw.mut_store().mark(marker);
        }
        self.handed_out = point.index.get();
        self.unanswered.clear();
        self.conf_state = point.conf_state.clone();
    }

    fn present_leadership(&self) -> Leadership {
        let raft = &self.raw.raft;
        let role = match raft.state {
            StateRole::Leader => Role::Leader,
            StateRole::Candidate => Role::Candidate,
            StateRole::PreCandidate => Role::PreCandidate,
            StateRole::Follower if raft.prs().conf().learners().contains(&raft.id) => Role::Learner,
            StateRole::Follower => Role::Follower,
        };
        Leadership {
            role,
            term: Term::new(raft.term),
            leader: NonZeroU64::new(raft.leader_id).and_then(|id| MemberId::from_wire(id.get())),
        }
    }

    fn note_leadership(&mut self, turn: &mut Turn) {
        let present = self.present_leadership();
        if present != self.leadership {
            self.leadership = present;
            turn.leadership = Some(present);
        }
    }
}
