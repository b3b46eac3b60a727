//! A member: its state machine and its log, together or apart.

use std::sync::{Arc, MutexGuard};

use bytes::Bytes;

use crate::conf_change::{ConfChange, ConfChangeKind};
use crate::disk::Disk;
use crate::driver::{Driver, DriverError};
use crate::log_copy::RawEntry;
use crate::log_index::LogIndex;
use crate::log_store::LogStore;
use crate::member_id::{Identity, MemberId};
use crate::node_options::NodeOptions;
use crate::output::{Output, SnapshotPoint};
use crate::shared_log::SharedLog;
use crate::status::Status;
use crate::term::Term;
use crate::wal::{LogWrite, Marker, Wal, WalError, WalOptions};

/// A member that a cluster begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstMember {
    /// Its id.
    pub id: MemberId,
    /// The application's description of it, as in [`ConfChange::context`].
    pub context: Bytes,
}

/// Why a member cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The log failed.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// The state machine failed.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The application has applied entries that the log does not have: the log, or its end, was
    /// lost, or belongs to other data.
    #[error("entry {applied} has been applied, but the log ends at {last}")]
    AppliedBeyondLog {
        /// What was applied.
        applied: LogIndex,
        /// Where the log ends.
        last: LogIndex,
    },
    /// The log begins after what the application has. If it has kept the data of the snapshot at
    /// `point`, there was a crash before that was installed: install it now, and open again.
    /// Else its data was lost, or belongs to another log.
    #[error("entry {applied} has been applied, but the log begins after {}", .point.index)]
    SnapshotNotInstalled {
        /// What was applied.
        applied: LogIndex,
        /// What must be installed.
        point: Box<SnapshotPoint>,
    },
    /// Earlier work for the log has not come back, or has failed; later work must not overtake it.
    #[error("earlier work for the log has not come back")]
    WorkUnderWay,
    /// Entries between the marker and the log's first are not there.
    #[error("log lacks entries after {marker}")]
    Gap {
        /// Where the log should begin.
        marker: LogIndex,
    },
}

/// A member of a cluster: its state machine, and its log.
///
/// Everything but the log is in memory, and reached through [`Node::driver`]. There are two ways
/// to get something done, and one may change over whenever no work is
/// [under way](Driver::has_work_under_way):
///
/// - **In one thread:** take what waits, propose it all, then [`Node::work`]: one write and one
///   sync for what was proposed. That is the least work for a member that is alone: who waits for
///   it waits for its disk.
/// - **In two:** [`Driver::begin`] gives work, another thread does it with
///   [`SharedLog::perform`], all that waits [at once](crate::LogWork::join), and
///   [`Driver::done`] takes what came of it. So a member with peers answers them while its disk is
///   busy.
pub struct Node {
    driver: Driver,
    log: SharedLog,
}

impl Node {
    /// Begins the log of a member of a new cluster. Its first entries add `members`, committed
    /// from the start; all members begin with the same. A member that joins a cluster begins with
    /// none and learns all from the leader.
    ///
    /// # Errors
    ///
    /// [`WalError::Exists`] if there is a log; or if the disk fails, and then there is none.
    pub fn create(
        disk: Arc<dyn Disk>,
        identity: Identity,
        members: &[FirstMember],
        options: &NodeOptions,
    ) -> Result<(), NodeError> {
        let entries: Vec<_> = (1..)
            .zip(members)
            .map(|(index, member)| first_entry(index, member))
            .collect();
        let hard_state = raft::eraftpb::HardState {
            term: u64::from(!entries.is_empty()),
            vote: 0,
            commit: entries.len() as u64,
        };
        let first = LogWrite {
            hard_state: Some(hard_state),
            marker: None,
            entries,
        };
        Wal::create(disk, identity, options.wal, &first)?;
        Ok(())
    }

    /// Whether there is a log on `disk`.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn exists(disk: &dyn Disk) -> Result<bool, NodeError> {
        Ok(Wal::exists(disk)?)
    }

    /// Starts the member whose log is on `disk`.
    ///
    /// # Errors
    ///
    /// [`NodeError`]; see there, and at [`WalError`].
    pub fn open(disk: Arc<dyn Disk>, options: &NodeOptions) -> Result<Self, NodeError> {
        let (wal, log) = recover(disk, options)?;
        let driver = Driver::new(wal.identity().member, log, wal.entry_bytes_max(), options)?;
        let log = SharedLog::new(wal);
        Ok(Self { driver, log })
    }

    /// Does what is to be done: one write and one sync for all that was proposed and received
    /// since the last output. What that commits is in the same output, as far as it fits; if
    /// [`Driver::has_work`] says so, work again.
    ///
    /// # Errors
    ///
    /// [`NodeError`], after which the member must stop: what is on disk is not known.
    pub fn work(&mut self) -> Result<Output, NodeError> {
        if self.driver.has_work_under_way() {
            return Err(NodeError::WorkUnderWay);
        }
        let mut output = self.work_once()?;
        // What became committed by that, or follows from it, and needs no other write.
        if self.driver.has_free_work() {
            output.extend(self.work_once()?);
        }
        Ok(output)
    }

    /// The state machine, for everything that is not disk.
    #[must_use]
    pub fn driver(&mut self) -> &mut Driver {
        &mut self.driver
    }

    /// How things stand.
    #[must_use]
    pub fn status(&self) -> Status {
        self.driver.status()
    }

    /// The last entry at or before `index` that says something; `None` if there is none near it in the log.
    ///
    /// # Errors
    ///
    /// If the log cannot be read.
    pub fn said_before(&self, index: LogIndex) -> Result<Option<RawEntry>, NodeError> {
        const ENTRIES_BACK: u64 = 64;

        let wal = self.wal();
        let from = index.back(ENTRIES_BACK).max(wal.marker().index).next();
        if from > index {
            return Ok(None);
        }
        let entries = wal.read(from, index.next(), usize::MAX)?.into_iter();
        let said = entries.rev().find(|entry| !entry.data.is_empty());
        Ok(said.map(RawEntry::from_raft))
    }

    /// The term of an entry of the log, or of the one before all.
    #[must_use]
    pub fn term_of(&self, index: LogIndex) -> Option<Term> {
        self.driver.term_of(index)
    }

    /// The log, for whoever does its work.
    #[must_use]
    pub fn log(&self) -> SharedLog {
        self.log.clone()
    }

    /// The log on disk; while this is held, no work is done.
    pub fn wal(&self) -> MutexGuard<'_, Wal> {
        self.log.wal()
    }

    fn work_once(&mut self) -> Result<Output, NodeError> {
        let (mut output, work) = self.driver.begin()?;
        if !work.is_empty() {
            let done = self.log.perform(work)?;
            output.extend(self.driver.done(done));
        }
        Ok(output)
    }
}

/// The log on `disk`, if it goes with what the application has applied.
pub(crate) fn recover(
    disk: Arc<dyn Disk>,
    options: &NodeOptions,
) -> Result<(Wal, LogStore), NodeError> {
    let (wal, mut log) = read_back(disk, options.wal)?;
    let marker = LogIndex::new(log.first() - 1);
    let last = LogIndex::new(log.last());
    let applied = options.applied;
    if applied > last {
        return Err(NodeError::AppliedBeyondLog { applied, last });
    }
    if applied < marker {
        let Marker {
            index,
            term,
            conf_state,
            ..
        } = wal.marker().clone();
        let point = Box::new(SnapshotPoint {
            index,
            term,
            conf_state,
        });
        return Err(NodeError::SnapshotNotInstalled { applied, point });
    }
    log.settle_commit(applied);
    Ok((wal, log))
}

/// Reads the log on `disk`, whatever the application has applied.
pub(crate) fn read_back(
    disk: Arc<dyn Disk>,
    options: WalOptions,
) -> Result<(Wal, LogStore), NodeError> {
    let mut log = LogStore::new();
    let wal = Wal::open(disk, options, &mut |record| log.recover(record))?;
    let marker = LogIndex::new(log.first() - 1);
    if log
        .term_of(marker.get())
        .is_none_or(|term| term.get() == 0 && marker != LogIndex::ZERO)
    {
        return Err(NodeError::Gap { marker });
    }
    Ok((wal, log))
}

fn first_entry(index: u64, member: &FirstMember) -> raft::eraftpb::Entry {
    let change = ConfChange {
        id: 0,
        kind: ConfChangeKind::AddVoter,
        member: member.id,
        context: member.context.clone(),
    };
    raft::eraftpb::Entry {
        term: 1,
        index,
        ..change.to_entry()
    }
}
