//! All that is replicated beside the keys, read back from the tables and compared with their checksum.

use bytes::Bytes;
use cairn_auth::AuthStore;
use cairn_backend::{Applied, ReadError, ReadTx, RowsChecksum, Table};
use cairn_lease::{LeaseId, Leases};
use cairn_mvcc::{InstallError, Prepared, RestoreError, Store};

use crate::alarms::Alarms;
use crate::apply::FatalError;
use crate::membership::Membership;
use crate::state_checksum::{StateChecksum, StoreFacts};

/// What a view of the tables holds.
pub(crate) struct State {
    pub(crate) applied: Applied,
    pub(crate) alarms: Alarms,
    pub(crate) membership: Membership,
    pub(crate) leases: Leases,
    pub(crate) auth_store: AuthStore,
}

impl State {
    /// Reads the tables of `view`, of whose keys `store` was read, and `leases` are carried.
    ///
    /// # Errors
    ///
    /// [`ReadError::Damaged`] for a row that is not what was written, or is missing; or the backend's.
    pub(crate) fn read(
        view: &ReadTx,
        store: StoreFacts,
        leases: impl IntoIterator<Item = (LeaseId, Bytes)>,
    ) -> Result<Self, ReadError> {
        let state = Self::read_unchecked(view, leases)?;
        state.checksum(store).check(view)?;
        Ok(state)
    }

    fn read_unchecked(
        view: &ReadTx,
        leases: impl IntoIterator<Item = (LeaseId, Bytes)>,
    ) -> Result<Self, ReadError> {
        Ok(Self {
            applied: Applied::read(view)?,
            alarms: Alarms::restore(view)?,
            membership: Membership::restore(view)?,
            leases: Leases::restore(view, leases)?,
            auth_store: AuthStore::restore(view)?,
        })
    }

    fn checksum(&self, store: StoreFacts) -> StateChecksum {
        StateChecksum::new(self.applied, store, |table| {
            checksum_of(
                table,
                &self.alarms,
                &self.membership,
                self.leases.checksum(),
                &self.auth_store,
            )
        })
    }
}

/// The checksum that the rows of a table must have.
pub(crate) fn checksum_of(
    table: Table,
    alarms: &Alarms,
    membership: &Membership,
    leases: RowsChecksum,
    auth_store: &AuthStore,
) -> RowsChecksum {
    match table {
        Table::Alarm => alarms.checksum(),
        Table::Auth => auth_store.checksums().facts,
        Table::AuthRoles => auth_store.checksums().roles,
        Table::AuthUsers => auth_store.checksums().users,
        Table::Cluster => membership.checksums().cluster,
        Table::Members => membership.checksums().members,
        Table::MembersRemoved => membership.checksums().removed,
        Table::Lease => leases,
        Table::Key | Table::Meta => RowsChecksum::default(),
    }
}

impl StoreFacts {
    /// Those of a store as its readers see it.
    pub(crate) fn of(store: &Store) -> Self {
        Self {
            revision: store.current(),
            compacted: store.compaction_point(),
            live: store.live_checksum(),
        }
    }
}

/// Writes the checksum of what the tables hold, after a program that is no [`Applier`] has filled them,
/// as one that turns another's database into one of ours. `leases` are those that keys carry.
///
/// # Errors
///
/// [`FatalError`]: a row is no good, or storage fails.
///
/// [`Applier`]: crate::apply::Applier
pub fn write_checksum(
    store: &Store,
    leases: impl IntoIterator<Item = (LeaseId, Bytes)>,
) -> Result<(), FatalError> {
    let mut batch = store.write();
    let view = store
        .backend()
        .read()
        .map_err(cairn_mvcc::ReadError::from)?;
    let state = State::read_unchecked(&view, leases).map_err(cairn_mvcc::ReadError::from)?;
    state.checksum(StoreFacts::of(store)).write(batch.backend());
    Ok(batch.end()?)
}

/// Checks all tables of a database that was received and is not yet installed, so that one with a
/// damaged or missing row is refused before the log is told to begin after it.
///
/// # Errors
///
/// [`InstallError::Damaged`] says which row; others if it cannot be read.
pub fn check_received(store: &Store, prepared: &Prepared) -> Result<(), InstallError> {
    let applied = prepared.applied();
    let view = store.backend().read_received(applied)?;
    let view = view.ok_or(InstallError::NotReceived(applied))?;
    let facts = StoreFacts {
        revision: prepared.current(),
        compacted: prepared.compaction_point(),
        live: prepared.live_checksum(),
    };
    let leases = prepared.leases().iter().cloned();
    State::read(&view, facts, leases).map_err(RestoreError::from)?;
    Ok(())
}
