//! The tables of the store, and a map from table to anything.

use std::ops::{Index, IndexMut};
use std::sync::LazyLock;

use crate::applied;

/// A table; its stored name is that of etcd's bucket.
///
/// Variants are in the order of their stored names, which is the order of [`crate::Backend::hash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Raised alarms.
    Alarm,
    /// Whether authentication is on, and the revision of its rules.
    Auth,
    /// Roles and their permissions.
    AuthRoles,
    /// Users.
    AuthUsers,
    /// Facts about the whole cluster, such as its version.
    Cluster,
    /// Revisions of keys. Its keys are written once and mostly ascend; only compaction deletes.
    Key,
    /// Leases.
    Lease,
    /// Members of the cluster.
    Members,
    /// Ids of members that were removed and must not come back.
    MembersRemoved,
    /// Facts about this member's copy: applied index, compacted revision.
    Meta,
}

/// Keys of [`Table::Meta`] that may differ between members whose data are equal.
const MEMBER_LOCAL_META: [&[u8]; 5] = [
    applied::INDEX_KEY,
    applied::TERM_KEY,
    STATE_CHECKSUM_KEY,
    CLUSTER_ID_KEY,
    b"storageVersion",
];

/// Where the checksum of what was applied is stored, in [`Table::Meta`]. Above this crate it is known
/// what is in it; here, that it names the applied index and so is a member's own.
pub const STATE_CHECKSUM_KEY: &[u8] = b"stateChecksum";

/// Where the ID of the cluster is stored, in [`Table::Meta`]: 8 bytes, big-endian. Databases of before it
/// was have none until they are opened beside their log.
pub const CLUSTER_ID_KEY: &[u8] = b"clusterId";

/// See [`Table::checksum_seed`].
static SEEDS: LazyLock<PerTable<u32>> = LazyLock::new(|| {
    PerTable(Table::ALL.map(|table| {
        let name = crc32c::crc32c(table.name().as_bytes());
        crc32c::crc32c_append(name, &[0])
    }))
});

impl Table {
    /// How many tables there are.
    pub const COUNT: usize = 10;

    /// Every table, in the order of the stored names.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Alarm,
        Self::Auth,
        Self::AuthRoles,
        Self::AuthUsers,
        Self::Cluster,
        Self::Key,
        Self::Lease,
        Self::Members,
        Self::MembersRemoved,
        Self::Meta,
    ];

    /// The name under which the table is stored. Never change one: files hold it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Auth => "auth",
            Self::AuthRoles => "authRoles",
            Self::AuthUsers => "authUsers",
            Self::Cluster => "cluster",
            Self::Key => "key",
            Self::Lease => "lease",
            Self::Members => "members",
            Self::MembersRemoved => "members_removed",
            Self::Meta => "meta",
        }
    }

    /// Whether `key` describes one member's progress and not the data, so that a hash which
    /// members compare leaves it out.
    #[must_use]
    pub fn is_member_local(self, key: &[u8]) -> bool {
        self == Self::Meta && MEMBER_LOCAL_META.contains(&key)
    }

    /// What the checksums of the table's rows continue from: that of its name and a zero byte.
    pub(crate) fn checksum_seed(self) -> u32 {
        let seeds: &PerTable<u32> = &SEEDS;
        seeds[self]
    }

    /// Adds the table's name to a running hash.
    pub(crate) fn hash_name(self, hash: u32) -> u32 {
        crc32c::crc32c_append(hash, self.name().as_bytes())
    }

    /// Adds an entry of the table to a running hash, if members agree on it.
    pub(crate) fn hash_entry(self, hash: u32, key: &[u8], value: &[u8]) -> u32 {
        if self.is_member_local(key) {
            return hash;
        }
        crc32c::crc32c_append(crc32c::crc32c_append(hash, key), value)
    }
}

/// One value for each table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerTable<T>([T; Table::COUNT]);

impl<T> PerTable<T> {
    /// Makes each value from its table, stopping at the first error.
    ///
    /// # Errors
    ///
    /// The first error of `make`.
    pub fn try_from_fn<E>(make: impl FnMut(Table) -> Result<T, E>) -> Result<Self, E> {
        let [a, b, c, d, e, f, g, h, i, j] = Table::ALL.map(make);
        Ok(Self([a?, b?, c?, d?, e?, f?, g?, h?, i?, j?]))
    }

    /// Makes another value of each.
    #[must_use]
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> PerTable<U> {
        PerTable(self.0.map(make))
    }

    /// The tables with their values.
    pub fn iter(&self) -> impl Iterator<Item = (Table, &T)> {
        Table::ALL.into_iter().zip(&self.0)
    }
}

impl<T> Index<Table> for PerTable<T> {
    type Output = T;

    #[expect(
        clippy::indexing_slicing,
        reason = "discriminants are 0..COUNT, as a test checks"
    )]
    fn index(&self, table: Table) -> &T {
        &self.0[table as usize]
    }
}

impl<T> IndexMut<Table> for PerTable<T> {
    #[expect(
        clippy::indexing_slicing,
        reason = "discriminants are 0..COUNT, as a test checks"
    )]
    fn index_mut(&mut self, table: Table) -> &mut T {
        &mut self.0[table as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_numbered_and_sorted_by_their_names() {
        assert!(
            Table::ALL
                .iter()
                .enumerate()
                .all(|(at, table)| *table as usize == at)
        );
        assert!(Table::ALL.is_sorted_by_key(|table| table.name()));
    }

    #[test]
    fn only_a_members_own_progress_is_member_local() {
        assert!(Table::Meta.is_member_local(b"consistent_index"));
        assert!(!Table::Meta.is_member_local(b"scheduledCompactRev"));
        assert!(!Table::Key.is_member_local(b"term"));
    }
}
