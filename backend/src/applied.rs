//! What the tables stand for: the last log entry that was applied to them.

use bytes::Bytes;

use crate::batch_tx::BatchTx;
use crate::damaged_row::DamagedRow;
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
    /// If the engine cannot be read, or one of the two numbers is damaged or missing.
    pub fn read(view: &ReadTx) -> Result<Self, ReadError> {
        let stored = |key| -> Result<Option<u64>, ReadError> {
            let found = view.get_with(Table::Meta, key, |value| number(key, value))?;
            Ok(found.transpose()?)
        };
        match (stored(INDEX_KEY)?, stored(TERM_KEY)?) {
            (Some(index), Some(term)) => Ok(Self { index, term }),
            (None, None) => Ok(Self::default()),
            (None, Some(_)) => Err(missing(INDEX_KEY).into()),
            (Some(_), None) => Err(missing(TERM_KEY).into()),
        }
    }

    /// Stores it beside what was applied, in the same atomic step.
    pub fn write(self, batch: &mut BatchTx<'_>) {
        for (key, number) in [(INDEX_KEY, self.index), (TERM_KEY, self.term)] {
            let value = Bytes::copy_from_slice(&number.to_be_bytes());
            batch.put(Table::Meta, key, value);
        }
    }
}

impl std::fmt::Display for Applied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "index {} of term {}", self.index, self.term)
    }
}

/// The number that is stored under `key`.
pub(crate) fn number(key: &[u8], stored: &[u8]) -> Result<u64, DamagedRow> {
    let bytes = stored
        .try_into()
        .map_err(|_| DamagedRow::new(Table::Meta, key, "not a number of 8 bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}

fn missing(key: &[u8]) -> DamagedRow {
    DamagedRow::new(
        Table::Meta,
        key,
        "there is none, beside the other of the two",
    )
}
