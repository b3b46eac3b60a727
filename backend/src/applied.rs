//! What the tables stand for: the last log entry that was applied to them.

use bytes::Bytes;

use crate::batch_tx::BatchTx;
use crate::error::ReadError;
use crate::read_tx::ReadTx;
use crate::table::Table;

/// Where the index is stored, in [`Table::Meta`]; 8 bytes, big-endian. The name is etcd's.
pub(crate) const INDEX_KEY: &[u8] = b"consistent_index";

/// Where the term is stored, in the same form.
pub(crate) const TERM_KEY: &[u8] = b"term";

/// A place in the replicated log. To the backend it is the name of a state: members that have
/// applied the same place hold the same data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Applied {
    /// The index of the entry; 0 is before all.
    pub index: u64,
    /// Its term.
    pub term: u64,
}

impl Applied {
    /// After all that can be.
    pub(crate) const MAX: Self = Self {
        index: u64::MAX,
        term: u64::MAX,
    };

    /// What a view stands for: the place before all, if nothing was ever applied.
    ///
    /// # Errors
    ///
    /// If the engine cannot be read.
    pub fn read(view: &ReadTx) -> Result<Self, ReadError> {
        Self::read_with(|key| Ok(view.get_with(Table::Meta, key, number)?.flatten()))
    }

    /// Stores it beside what was applied, in the same atomic step.
    pub fn write(self, batch: &mut BatchTx<'_>) {
        for (key, number) in [(INDEX_KEY, self.index), (TERM_KEY, self.term)] {
            let value = Bytes::copy_from_slice(&number.to_be_bytes());
            batch.put(Table::Meta, key, value);
        }
    }

    /// Reads both numbers with `read`.
    pub(crate) fn read_with<E>(read: impl Fn(&[u8]) -> Result<Option<u64>, E>) -> Result<Self, E> {
        Ok(Self {
            index: read(INDEX_KEY)?.unwrap_or_default(),
            term: read(TERM_KEY)?.unwrap_or_default(),
        })
    }
}

impl std::fmt::Display for Applied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "index {} of term {}", self.index, self.term)
    }
}

/// A stored number, if it is one.
pub(crate) fn number(stored: &[u8]) -> Option<u64> {
    stored.try_into().ok().map(u64::from_be_bytes)
}
