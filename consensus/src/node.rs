//! A member: its state machine and its log, in one thread.

use std::sync::Arc;

use bytes::Bytes;

use crate::compaction::{CompactionPolicy, LogExtent};
use crate::conf_change::{ConfChange, ConfChangeKind};
use crate::disk::Disk;
use crate::driver::{Driver, DriverError};
use crate::log_index::LogIndex;
use crate::log_store::LogStore;
use crate::member_id::{Identity, MemberId};
use crate::node_options::NodeOptions;
use crate::status::Status;
use crate::turn::Turn;
use crate::wal::{LogWrite, Marker, MarkerOrigin, Wal, WalError};

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
    /// The application lacks entries that the log no longer has: its data was lost, or belongs to
    /// another log.
    #[error("entry {applied} has been applied, but the log begins after {marker}")]
    AppliedBeforeLog {
        /// What was applied.
        applied: LogIndex,
        /// Where the log begins.
        marker: LogIndex,
    },
    /// Entries between the marker and the log's first are not there.
    #[error("log lacks entries after {marker}")]
    Gap {
        /// Where the log should begin.
        marker: LogIndex,
    },
}

/// A member of a cluster.
///
/// Everything but [`Node::turn`] and [`Node::compact`] is in memory, and reached through
/// [`Node::driver`]. Take what waits, propose it all, then turn once: what was proposed becomes
/// one write and one sync.
pub struct Node {
    driver: Driver,
    wal: Wal,
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
        let mut log = LogStore::new();
        let wal = Wal::open(disk, options.wal, &mut |record| log.recover(record))?;
        let marker = LogIndex::new(log.first() - 1);
        if log
            .term_of(marker.get())
            .is_none_or(|term| term.get() == 0 && marker != LogIndex::ZERO)
        {
            return Err(NodeError::Gap { marker });
        }
        let last = LogIndex::new(log.last());
        let applied = options.applied;
        if applied > last {
            return Err(NodeError::AppliedBeyondLog { applied, last });
        }
        if applied < marker {
            return Err(NodeError::AppliedBeforeLog { applied, marker });
        }
        log.settle_commit(applied);
        let driver = Driver::new(wal.identity().member, log, wal.entry_bytes_max(), options)?;
        Ok(Self { driver, wal })
    }

    /// Does what is to be done: one write and one sync for all that was proposed and received
    /// since the last turn. What that commits is in the same turn, as far as it fits; if
    /// [`Driver::has_work`] says so, turn again.
    ///
    /// # Errors
    ///
    /// [`NodeError`], after which the member must stop: what is on disk is not known.
    pub fn turn(&mut self) -> Result<Turn, NodeError> {
        let mut turn = Turn::default();
        self.write_once(&mut turn)?;
        // What became committed by that, or follows from it, and needs no other write.
        if self.driver.has_free_work() {
            self.write_once(&mut turn)?;
        }
        Ok(turn)
    }

    /// Drops entries that are no longer needed: those up to `durable`, which the application has
    /// made durable in its own data, but for what `policy` keeps for slow followers. Where the
    /// log begins now.
    ///
    /// # Errors
    ///
    /// [`NodeError`], after which the member must stop.
    pub fn compact(
        &mut self,
        durable: LogIndex,
        policy: &CompactionPolicy,
    ) -> Result<LogIndex, NodeError> {
        let durable = durable.min(self.driver.applied());
        let index = policy.cut(durable, self.wal.first_within(policy.catchup_bytes_max));
        if index.get() < self.driver.log().first() {
            return Ok(LogIndex::new(self.driver.log().first() - 1));
        }
        let Some(term) = self.driver.log().term_of(index.get()) else {
            return Err(NodeError::Gap { marker: index });
        };
        let marker = Marker {
            index,
            term,
            conf_state: self.driver.conf_state().clone(),
            origin: MarkerOrigin::Compaction,
        };
        self.wal.append(&LogWrite {
            marker: Some(marker.clone()),
            ..LogWrite::default()
        })?;
        self.wal.release()?;
        self.driver.compact(&marker);
        Ok(index)
    }

    /// How much log there is, for [`CompactionPolicy::is_due`].
    #[must_use]
    pub fn extent(&self) -> LogExtent {
        let first = LogIndex::new(self.driver.log().first());
        LogExtent {
            first,
            last: LogIndex::new(self.driver.log().last()),
            bytes: self.wal.bytes_from(first),
        }
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

    /// The log on disk.
    #[must_use]
    pub fn wal(&self) -> &Wal {
        &self.wal
    }

    fn write_once(&mut self, turn: &mut Turn) -> Result<(), NodeError> {
        self.supply()?;
        let pending = self.driver.begin(turn)?;
        self.wal.append(&pending.write)?;
        self.driver.persisted(pending.number, turn);
        Ok(())
    }

    /// Reads back what is needed and no longer in memory.
    fn supply(&mut self) -> Result<(), NodeError> {
        let wal = &self.wal;
        self.driver
            .serve_fetches(|read| wal.read(read.from, read.to, read.bytes_max))?;
        if let Some(read) = self.driver.needs() {
            let entries = self.wal.read(read.from, read.to, read.bytes_max)?;
            self.driver.supply(entries);
        }
        Ok(())
    }
}

fn first_entry(index: u64, member: &FirstMember) -> raft::eraftpb::Entry {
    let change = ConfChange {
        id: 0,
        kind: ConfChangeKind::AddVoter,
        member: member.id,
        context: member.context.clone(),
    };
    let mut entry = raft::eraftpb::Entry {
        term: 1,
        index,
        data: change.encode(),
        ..raft::eraftpb::Entry::default()
    };
    entry.set_entry_type(raft::eraftpb::EntryType::EntryConfChange);
    entry
}
