//! The row that says what the tables must hold: nothing that was applied can be missing unnoticed.
//!
//! Every applied batch writes it, in the same atomic step as what it did. A start, and whoever has
//! received a database, compares it with what was read. So a row that was damaged into another good
//! one, taken away, or put back from an earlier day is found, and nobody elects itself alone because
//! the others are gone from a table.
//!
//! ```text
//! key    stateChecksum, in table meta
//! value  numbers of 8 bytes, big-endian: the version of this format, 1; applied index; its term;
//!        revision of the store; revision up to which history is compacted and 1, or 0; live keys
//!        and the sum of their checksums; for each table of TABLES: rows, sum of their checksums
//! ```
//!
//! Of table `key` the live keys are summed up, each with its last change, which a compaction leaves
//! alone; what was before is compared key by key when the store is read.

use bytes::Bytes;
use cairn_backend::{
    Applied, BatchTx, DamagedRow, ReadError, ReadTx, RowsChecksum, STATE_CHECKSUM_KEY, Table,
};
use cairn_index::Revision;
use cairn_mvcc::CompactionPoint;

/// The tables whose rows are counted and summed up.
const TABLES: [Table; 8] = [
    Table::Alarm,
    Table::Auth,
    Table::AuthRoles,
    Table::AuthUsers,
    Table::Cluster,
    Table::Lease,
    Table::Members,
    Table::MembersRemoved,
];

const VERSION: u64 = 1;
const NUMBERS: usize = 7 + 2 * TABLES.len();

/// What a store of revisions holds, as far as it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreFacts {
    pub(crate) revision: Revision,
    pub(crate) compacted: Option<CompactionPoint>,
    pub(crate) live: RowsChecksum,
}

/// What the tables hold after an applied entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateChecksum {
    pub(crate) applied: Applied,
    revision: u64,
    /// The compacted revision and 1; 0 for none.
    compacted: u64,
    live: RowsChecksum,
    tables: [RowsChecksum; TABLES.len()],
}

impl StateChecksum {
    /// The checksum of a state; `of` gives that of a table's rows.
    pub(crate) fn new(
        applied: Applied,
        store: StoreFacts,
        of: impl FnMut(Table) -> RowsChecksum,
    ) -> Self {
        Self {
            applied,
            revision: store.revision.number(),
            compacted: store.compacted.map_or(0, |point| point.number() + 1),
            live: store.live,
            tables: TABLES.map(of),
        }
    }

    /// Stores it beside what was applied, in the same atomic step.
    pub(crate) fn write(&self, tx: &mut BatchTx<'_>) {
        let bytes = self.numbers().into_iter().flat_map(u64::to_be_bytes);
        tx.put(Table::Meta, STATE_CHECKSUM_KEY, bytes.collect());
    }

    /// Compares what was read of a view with what was stored in it.
    ///
    /// # Errors
    ///
    /// [`ReadError::Damaged`] says where the first difference is.
    pub(crate) fn check(&self, view: &ReadTx) -> Result<(), ReadError> {
        let damaged =
            |reason: &str| DamagedRow::new(Table::Meta, STATE_CHECKSUM_KEY, reason.to_owned());
        match view.get(Table::Meta, STATE_CHECKSUM_KEY)? {
            Some(stored) => Ok(self.compare(&Self::decode(&stored).map_err(damaged)?)?),
            None if self.is_of_nothing() => Ok(()),
            // Versions that wrote none left such files. The next entry writes one.
            None if view.is_before_checksums() => Ok(()),
            None => Err(damaged("there is none, which every applied entry writes").into()),
        }
    }

    /// Whether it is that of tables to which nothing was ever applied.
    fn is_of_nothing(&self) -> bool {
        let nothing = StoreFacts {
            revision: Revision::FIRST,
            compacted: None,
            live: RowsChecksum::default(),
        };
        *self == Self::new(Applied::default(), nothing, |_| RowsChecksum::default())
    }

    fn compare(&self, stored: &Self) -> Result<(), DamagedRow> {
        let meta = |what: &str, stored: u64, found: u64| {
            let reason = format!("{what} {stored} was stored, and {found} is what the rows say");
            let wrong = DamagedRow::new(Table::Meta, STATE_CHECKSUM_KEY, reason);
            if stored == found { Ok(()) } else { Err(wrong) }
        };
        meta("applied index", stored.applied.index, self.applied.index)?;
        meta("applied term", stored.applied.term, self.applied.term)?;
        for ((table, stored), found) in TABLES.into_iter().zip(stored.tables).zip(self.tables) {
            stored.check(table, found)?;
        }
        let key = |what: &str, stored: u64, found: u64| {
            let reason = format!("{what} {stored} was stored, and {found} is what the rows say");
            let wrong = DamagedRow::new(Table::Key, &[], reason);
            if stored == found { Ok(()) } else { Err(wrong) }
        };
        key("revision", stored.revision, self.revision)?;
        meta(
            "compacted revision, and 1, of",
            stored.compacted,
            self.compacted,
        )?;
        stored.live.check(Table::Key, self.live)
    }

    fn numbers(&self) -> [u64; NUMBERS] {
        let mut numbers = [0; NUMBERS];
        let head = [
            VERSION,
            self.applied.index,
            self.applied.term,
            self.revision,
            self.compacted,
        ];
        let sums = [self.live].into_iter().chain(self.tables);
        let tables = sums.flat_map(RowsChecksum::to_parts);
        for (place, number) in numbers.iter_mut().zip(head.into_iter().chain(tables)) {
            *place = number;
        }
        numbers
    }

    fn decode(stored: &Bytes) -> Result<Self, &'static str> {
        let (numbers, rest) = stored.as_chunks::<8>();
        let numbers: Vec<u64> = numbers.iter().copied().map(u64::from_be_bytes).collect();
        if numbers.first().is_some_and(|version| *version > VERSION) {
            return Err("it is damaged, or a later version of this program wrote it");
        }
        let [VERSION, index, term, revision, compacted, sums @ ..] = numbers.as_slice() else {
            return Err("not the checksum of a state");
        };
        let (pairs, odd) = sums.as_chunks::<2>();
        if pairs.len() != 1 + TABLES.len() || !odd.is_empty() || !rest.is_empty() {
            return Err("not the checksum of a state");
        }
        let mut sums = pairs.iter().copied().map(RowsChecksum::from_parts);
        let mut next = || sums.next().unwrap_or_default();
        Ok(Self {
            applied: Applied {
                index: *index,
                term: *term,
            },
            revision: *revision,
            compacted: *compacted,
            live: next(),
            tables: TABLES.map(|_| next()),
        })
    }
}
