//! Installing the database of another member into a running store.
//!
//! A member that is far behind [receives](crate::Receiving) a database beside its own, which is indexed
//! on the way, or read and indexed afterwards, while the store goes on. The installation itself is then one step: what
//! readers have begun they end on the old contents, and what they begin finds the new ones.

use bytes::Bytes;
use cairn_backend::{Applied, ReadTx, RowsChecksum};
use cairn_index::Revision;

use crate::compaction::Compaction;
use crate::compaction_point::CompactionPoint;
use crate::error::{InstallError, RestoreError};
use crate::lease_id::LeaseId;
use crate::restore::Contents;
use crate::store::{State, Store};

/// A received database that was read, found good, and can be installed.
///
/// It holds an index of its own, besides that of the store.
pub struct Prepared {
    applied: Applied,
    contents: Contents,
}

/// What an installation brought.
#[derive(Debug)]
pub struct Installed {
    /// What the store stands for now. Other tables are replaced too: whatever was read from them
    /// must be read again.
    pub applied: Applied,
    /// The revision of the store, which watchers skip to.
    pub current: Revision,
    /// The lease of every live key that has one, in order.
    pub leases: Vec<(LeaseId, Bytes)>,
}

impl Store {
    /// Reads a received database that an earlier process has received, so that whatever is wrong with it is known before the log is told
    /// to begin after it.
    ///
    /// # Errors
    ///
    /// [`InstallError`] if there is none such, or it is damaged, or cannot come after this store. If the
    /// log was not told of it, the caller should discard it
    /// ([`Backend::discard_received`](cairn_backend::Backend::discard_received)).
    pub fn prepare_install(&self, received: Applied) -> Result<Prepared, InstallError> {
        self.prepare(received, Contents::read)
    }

    pub(crate) fn prepare(
        &self,
        received: Applied,
        read: impl FnOnce(&ReadTx) -> Result<Contents, RestoreError>,
    ) -> Result<Prepared, InstallError> {
        let view = self.backend().read_received(received)?;
        let view = view.ok_or(InstallError::NotReceived(received))?;
        let stored = Applied::read(&view).map_err(RestoreError::from)?;
        if stored != received {
            return Err(InstallError::NotReceived(received));
        }
        let prepared = Prepared {
            applied: received,
            contents: read(&view)?,
        };
        prepared.check_follows(&self.state().read())?;
        Ok(prepared)
    }

    /// Puts a received database in the place of this store's: durably, and for readers in one step.
    /// What was written and not committed is forgotten, as the database holds more; a compaction that
    /// was under way is the database's from now on.
    ///
    /// It waits for the writer, a compaction's step and a commit, and holds them up while the file
    /// takes its name; it waits for no reader and holds none up.
    ///
    /// # Errors
    ///
    /// [`InstallError`]; the store is as before, unless the backend is poisoned.
    pub fn install(&self, prepared: Prepared) -> Result<Installed, InstallError> {
        let _turn = self.writers_turn();
        let mut compaction = self.compaction().lock();
        prepared.check_follows(&self.state().read())?;
        let Prepared { applied, contents } = prepared;
        let Contents {
            current,
            compacted,
            finished,
            index,
            live,
            leases,
        } = contents;
        let installing = self.backend().begin_install(applied)?;
        let mut state = self.state().write();
        installing.end();
        let old = state.replace(current, compacted, index, live);
        drop(state);
        *compaction = Compaction::read_back(compacted, finished);
        self.forget_hashes();
        drop(compaction);
        drop(old);
        Ok(Installed {
            applied,
            current,
            leases,
        })
    }
}

impl Prepared {
    /// What the store will stand for.
    #[must_use]
    pub const fn applied(&self) -> Applied {
        self.applied
    }

    /// The revision that the store will be at.
    #[must_use]
    pub const fn current(&self) -> Revision {
        self.contents.current
    }

    /// How far history is compacted, if ever.
    #[must_use]
    pub const fn compaction_point(&self) -> Option<CompactionPoint> {
        self.contents.compacted
    }

    /// The checksum of the live keys, as [`Store::live_checksum`].
    #[must_use]
    pub const fn live_checksum(&self) -> RowsChecksum {
        self.contents.live.rows()
    }

    /// The lease of every live key that has one, in order.
    #[must_use]
    pub fn leases(&self) -> &[(LeaseId, Bytes)] {
        &self.contents.leases
    }

    /// The first revision that can then be read, if history was ever compacted.
    #[must_use]
    pub fn compacted(&self) -> Option<Revision> {
        self.contents.compacted.and_then(CompactionPoint::revision)
    }

    /// Checks that it can come after a state, whose revision and compaction point never go back.
    fn check_follows(&self, state: &State) -> Result<(), InstallError> {
        let Contents {
            current, compacted, ..
        } = self.contents;
        if current < state.current {
            return Err(InstallError::GoesBack {
                received: current,
                ours: state.current,
            });
        }
        if compacted < state.compacted {
            return Err(InstallError::ForgetsCompaction {
                received: compacted,
                ours: state.compacted,
            });
        }
        Ok(())
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared")
            .field("applied", &self.applied)
            .field("current", &self.contents.current)
            .finish_non_exhaustive()
    }
}
