//! The consensus of one member as a state machine: no disk, no clock, no network, no chance but
//! what follows from a seed.
//!
//! Inputs are calls ([`Driver::propose`], [`Driver::step`], [`Driver::tick`]…); [`Driver::begin`]
//! turns what they came to into effects: what to do at once, and [work for the log](crate::LogWork). When
//! that is done, [`Driver::done`] releases what had to wait for it. In between, the driver goes on:
//! ticks pass, messages are answered, more work is given. [`crate::Node`] is both ends in one
//! thread.

mod contradiction;
mod handover;
mod members;
mod message_checks;
mod work;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU64;

use bytes::Bytes;
use raft::eraftpb;
use raft::{RawNode, StateRole};

use crate::compaction::{CompactionPolicy, LogExtent};
use crate::conf_change::{ConfChange, ConfState};
use crate::entry::UnreadableEntry;
use crate::log_index::LogIndex;
use crate::log_store::LogStore;
use crate::member_id::MemberId;
use crate::node_options::NodeOptions;
use crate::output::{ReadContext, SnapshotPoint};
use crate::seeded::Seeded;
use crate::status::{Leadership, Role, Status};
use crate::term::Term;
use crate::wal::{Marker, MarkerOrigin};

pub use contradiction::Contradiction;
pub use members::{ConfChangeError, PeerProgress};
pub use message_checks::StepError;
use work::WorkUnderWay;

/// How many bytes of committed entries are handed out at once.
const COMMITTED_BYTES_MAX: u64 = 4 << 20;

/// How many bytes of entries a message to a follower has; etcd's own limit.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// How many messages with entries are on their way to one follower. With full messages that is as
/// much as is kept for slow followers; when the window is full, what is proposed in the meantime
/// goes out together.
const MESSAGES_IN_FLIGHT_MAX: usize = 128;

/// How many bytes of proposals may be in the log without being committed. Beyond this, proposals
/// are refused: the followers are not keeping up.
const UNCOMMITTED_BYTES_MAX: u64 = 64 << 20;

/// A batch of proposals that is worth a write of its own; see [`Driver::batch_is_full`].
const BATCH_BYTES: usize = 4 << 20;

const _: () = assert!(
    MESSAGE_BYTES_MAX <= UNCOMMITTED_BYTES_MAX,
    "raft-rs demands it"
);

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
/// 3. A message that promises something (a vote, an acknowledgement) leaves after what it promises
///    is durable; see [`WorkUnderWay`].
pub struct Driver {
    raw: RawNode<LogStore>,
    member: MemberId,
    chance: Seeded,
    election_ticks: usize,
    /// How long this member waits beyond `election_ticks` the next time.
    election_spread: usize,
    /// Ticks so far.
    now: u64,
    /// When each other member was last heard of.
    heard: BTreeMap<MemberId, u64>,
    entry_bytes_max: usize,
    conf_state: ConfState,
    removed: bool,
    handed_out: u64,
    unanswered: VecDeque<u64>,
    under_way: WorkUnderWay,
    /// Where the log is to begin, to be written with the next work.
    unwritten_marker: Option<Marker>,
    /// What is in the log, or is being written to it.
    hard_state: eraftpb::HardState,
    /// A commit index that is not in the log yet. It never needs a write of its own: it only says
    /// what a restart can hand out at once.
    unwritten_commit: Option<eraftpb::HardState>,
    leadership: Leadership,
    /// Whom leadership was being handed to when that was last looked at.
    transferee: Option<MemberId>,
    /// How many reads of other members this one has given a context of its own.
    reads_numbered: u64,
    /// A leader's word to stand for election, once changes of the configuration are applied.
    told_to_stand: Option<eraftpb::Message>,
    /// Followers that wait for a snapshot to be offered.
    snapshot_wanted_by: Vec<MemberId>,
    /// Members that have contradicted this one: see [`Contradiction`]. Nothing that they promise counts.
    distrusted: BTreeSet<MemberId>,
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
        let hard_state = raw.raft.hard_state();
        let mut driver = Self {
            raw,
            member,
            chance: Seeded::of_member(options.seed, member.get()),
            election_ticks: options.election_ticks,
            election_spread: 0,
            now: 0,
            heard: BTreeMap::new(),
            entry_bytes_max,
            conf_state: options.conf_state.clone(),
            removed: false,
            handed_out: options.applied.get(),
            unanswered: VecDeque::new(),
            under_way: WorkUnderWay::default(),
            unwritten_marker: None,
            hard_state,
            unwritten_commit: None,
            leadership: Leadership::default(),
            transferee: None,
            reads_numbered: 0,
            told_to_stand: None,
            snapshot_wanted_by: Vec::new(),
            distrusted: BTreeSet::new(),
        };
        driver.draw_election_spread();
        driver.leadership = driver.present_leadership();
        Ok(driver)
    }

    /// Lets a unit of time pass.
    pub fn tick(&mut self) {
        self.now += 1;
        self.raw.tick();
        self.give_way_if_stalled();
        let raft = &self.raw.raft;
        let waited = raft.election_elapsed >= self.election_ticks + self.election_spread;
        if raft.state != StateRole::Leader && raft.promotable() && waited && self.may_campaign() {
            self.raw.raft.election_elapsed = 0;
            self.draw_election_spread();
            self.campaign();
        }
    }

    /// Waits for a leader as if `ticks` had passed already, if none is known: for a member that has
    /// just started. No time passes for anything else.
    pub fn hasten_election(&mut self, ticks: usize) {
        let raft = &mut self.raw.raft;
        if raft.state == StateRole::Follower && raft.leader_id == raft::INVALID_ID {
            raft.election_elapsed += ticks.min(self.election_ticks);
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
        self.propose_entry(change.to_entry())
    }

    /// Asks for an index that a linearizable read must wait for; it comes in
    /// [`crate::Output::reads`], or never: if leadership changes, a message is lost or the leader
    /// has not committed in its term yet. Then ask again, with a context that was never used.
    ///
    /// The leader answers for the moment at which it was asked, once a quorum has said since that
    /// it still leads: however long it was held up, no answer is stale.
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

    /// Offers a snapshot of the application's data at `point` to members that are behind the log:
    /// those in [`crate::Output::snapshot_wanted_by`]. It goes out as a message with `point` alone;
    /// whoever sends it adds the data, and says how that ended with [`Driver::report_snapshot`].
    /// The offer stands, for others of its configuration too, until there is a later one, the log
    /// begins after it, or it is withdrawn.
    pub fn offer_snapshot(&mut self, point: &SnapshotPoint) {
        self.raw.mut_store().offer_snapshot(Some(point.to_raft()));
        for member in std::mem::take(&mut self.snapshot_wanted_by) {
            let raft = &mut self.raw.raft;
            if raft.state == StateRole::Leader && raft.prs().get(member.get()).is_some() {
                raft.send_append(member.get());
            }
        }
    }

    /// Withdraws the snapshot that was offered last: its data is gone.
    pub fn withdraw_snapshot(&mut self) {
        self.raw.mut_store().offer_snapshot(None);
    }

    /// Lets the log begin later: drops entries up to `durable`, which the application has made
    /// durable in its own data, but for what `policy` keeps for slow followers. It is written with
    /// the next work for the log. Where the log begins now: the last entry that was dropped.
    pub fn compact(&mut self, durable: LogIndex, policy: &CompactionPolicy) -> LogIndex {
        let durable = durable.min(self.applied());
        let log = self.raw.store();
        let mut index = policy.cut(durable, log.first_within(policy.catchup_bytes_max));
        if let Some(sent) = self.oldest_snapshot_under_way() {
            let kept = sent.max(log.first_within(policy.bytes_max).back(1));
            index = index.min(kept);
        }
        let begins = LogIndex::new(log.first()).back(1);
        let Some(term) = log.term_of(index.get()).filter(|_| index > begins) else {
            return begins;
        };
        let marker = Marker {
            index,
            term,
            conf_state: self.conf_state.clone(),
            origin: MarkerOrigin::Compaction,
        };
        self.raw.mut_store().mark(&marker);
        self.unwritten_marker = Some(marker);
        index
    }

    /// How much log there is, for [`CompactionPolicy::is_due`].
    #[must_use]
    pub fn extent(&self) -> LogExtent {
        let log = self.raw.store();
        LogExtent {
            first: LogIndex::new(log.first()),
            last: LogIndex::new(log.last()),
            bytes: log.bytes(),
        }
    }

    /// Whether what was proposed is enough for a write of its own.
    #[must_use]
    pub fn batch_is_full(&self) -> bool {
        self.raw.raft.raft_log.unstable.entries_size >= BATCH_BYTES
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

    /// The term of an entry of the log.
    pub(crate) fn term_of(&self, index: LogIndex) -> Option<Term> {
        self.raw.store().term_of(index.get())
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
            removed: self.removed,
            stalled_ticks: self.stalled_ticks(),
        }
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
    /// has it by the time they answer. A snapshot, though, must be durable in any case, and the
    /// disk must answer.
    fn may_campaign(&self) -> bool {
        let raft = &self.raw.raft;
        let log = &raft.raft_log;
        let snapshot_durable =
            log.unstable_snapshot().is_none() && log.applied + 1 >= log.store.first();
        snapshot_durable
            && !self.is_stalled()
            && (log.persisted == log.last_index() || !raft.prs().is_singleton())
    }

    fn draw_election_spread(&mut self) {
        let bound = self.election_ticks as u64;
        self.election_spread = usize::try_from(self.chance.below(bound)).unwrap_or(0);
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
}
