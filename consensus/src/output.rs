//! Output: what a member wants done.

use cairn_proto::raftpb;
use raft::eraftpb;

use crate::conf_change::ConfState;
use crate::driver::DriverError;
use crate::entry::Entry;
use crate::log_index::LogIndex;
use crate::member_id::MemberId;
use crate::status::Leadership;
use crate::term::Term;

/// What is to be done at once.
#[derive(Debug, Default)]
pub struct Output {
    /// Entries that are committed now, in order, each handed out once.
    pub committed: Vec<Entry>,
    /// Messages to send; each may be lost.
    pub messages: Vec<raftpb::Message>,
    /// Reads that may be served once the entry they name is applied.
    pub reads: Vec<ReadReady>,
    /// A snapshot that took the place of the log, durably: before anything in `committed`, the
    /// application's data must become what the leader sent with it. Its sender's message was
    /// passed to [`crate::Driver::step`] only when that data was durable here, so that after a
    /// crash it can still be installed: see [`crate::NodeError::SnapshotNotInstalled`].
    ///
    /// Data that came is of no more use once [`crate::Status::handed_out`] has reached its place.
    pub snapshot: Option<SnapshotPoint>,
    /// Members that need a snapshot, as long as they do; see [`crate::Driver::offer_snapshot`].
    pub snapshot_wanted_by: Vec<MemberId>,
    /// Who leads, and in which term, if that changed.
    pub leadership: Option<Leadership>,
    /// The member to which leadership was not handed in time; this member leads on.
    pub transfer_failed: Option<MemberId>,
}

impl Output {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.committed.is_empty()
            && self.messages.is_empty()
            && self.reads.is_empty()
            && self.snapshot.is_none()
            && self.snapshot_wanted_by.is_empty()
            && self.leadership.is_none()
            && self.transfer_failed.is_none()
    }

    /// Adds what is to be done after this.
    pub fn extend(&mut self, later: Self) {
        if later.snapshot.is_some() {
            // It has what was to be applied before it.
            self.committed.clear();
            self.snapshot = later.snapshot;
        }
        self.committed.extend(later.committed);
        self.messages.extend(later.messages);
        self.reads.extend(later.reads);
        self.snapshot_wanted_by.extend(later.snapshot_wanted_by);
        self.leadership = later.leadership.or(self.leadership);
        self.transfer_failed = later.transfer_failed.or(self.transfer_failed);
    }
}

/// A point of the log that a snapshot of the application's data stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPoint {
    /// The last entry in it.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// The configuration at it.
    pub conf_state: ConfState,
}

impl SnapshotPoint {
    pub(crate) fn from_raft(snapshot: &eraftpb::Snapshot) -> Result<Self, DriverError> {
        let metadata = snapshot.get_metadata();
        Ok(Self {
            index: LogIndex::new(metadata.index),
            term: Term::new(metadata.term),
            conf_state: ConfState::from_raft(metadata.get_conf_state())
                .ok_or(DriverError::ConfState)?,
        })
    }

    pub(crate) fn to_raft(&self) -> eraftpb::Snapshot {
        let metadata = eraftpb::SnapshotMetadata {
            conf_state: Some(self.conf_state.to_raft()),
            index: self.index.get(),
            term: self.term.get(),
        };
        eraftpb::Snapshot {
            metadata: Some(metadata),
            ..eraftpb::Snapshot::default()
        }
    }
}

/// Names a read among those of one member. Never to be used again, also not after a restart: an
/// old answer would serve a new read. So count from a random number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadContext(pub u64);

impl ReadContext {
    /// The read as the leader knows it: by its bytes alone, so they name the member too.
    pub(crate) fn encode(self, member: MemberId) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16);
        bytes.extend_from_slice(&member.get().to_be_bytes());
        bytes.extend_from_slice(&self.0.to_be_bytes());
        bytes
    }
}

/// A read that is linearizable once `index` is applied. It may come twice, as messages may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadReady {
    /// Which read.
    pub context: ReadContext,
    /// What must be applied.
    pub index: LogIndex,
}

impl ReadReady {
    /// The read of `member` that an answer is for; `None` if it is not one.
    pub(crate) fn from_raft(member: MemberId, state: &raft::ReadState) -> Option<Self> {
        let (asked_by, context) = state.request_ctx.split_first_chunk::<8>()?;
        // What follows is the leader's; see `Driver::step`.
        let context = *context.first_chunk::<8>()?;
        (u64::from_be_bytes(*asked_by) == member.get()).then_some(Self {
            context: ReadContext(u64::from_be_bytes(context)),
            index: LogIndex::new(state.index),
        })
    }
}
