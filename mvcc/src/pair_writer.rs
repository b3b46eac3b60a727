//! From rows of the index to encoded pairs.

use std::ops::ControlFlow;

use cairn_index::KeyVersion;

use crate::error::ReadError;
use crate::range_order::Row;
use crate::range_query::RangeQuery;
use crate::stored_kv::{KvFields, MalformedKv, StoredKv};
use crate::values::{Values, open_put};

/// How many rows are read together at most. The more, the closer their values lie; a row takes some
/// 120 bytes meanwhile.
pub(crate) const AHEAD_ROWS_MAX: usize = 64 * 1024;

/// Fewer rows are read one by one: what sorting saves does not pay for itself.
const TOGETHER_ROWS_MIN: usize = 16;

/// How many rows ahead values are fetched from memory, where they lie in no order.
const PREFETCHED_ROWS: usize = 4;

/// Reads, or makes, the encoded pairs of rows.
pub(crate) struct PairWriter<'q, V> {
    query: &'q RangeQuery,
    values: &'q V,
    scratch: Vec<u8>,
}

/// What became of rows that were to be sent.
pub(crate) struct Sent {
    /// How many were.
    pub(crate) rows: usize,
    /// Whether the reader broke off after the last of them.
    pub(crate) flow: ControlFlow<()>,
}

impl<'q, V: Values> PairWriter<'q, V> {
    pub(crate) const fn new(query: &'q RangeQuery, values: &'q V) -> Self {
        Self {
            query,
            values,
            scratch: Vec::new(),
        }
    }

    /// Sends rows in their order until `sink` breaks off.
    pub(crate) fn write_all(
        &mut self,
        rows: &[Row<'_>],
        sink: &mut dyn FnMut(StoredKv<'_>) -> ControlFlow<()>,
    ) -> Result<Sent, ReadError> {
        let together = rows.len() >= TOGETHER_ROWS_MIN && !self.query.needs_no_values();
        let values = if together {
            self.values.of_rows(rows)?
        } else {
            Vec::new()
        };
        let mut soon = values.iter().skip(PREFETCHED_ROWS);
        let mut values = values.iter();
        for (sent, Row { key, version }) in (1..).zip(rows) {
            if let Some(soon) = soon.next() {
                soon.prefetch();
            }
            let flow = match values.next() {
                Some(stored) => {
                    let encoded = open_put(*stored, version.modified)?;
                    self.send(key, *version, encoded, &mut *sink)?
                }
                None => self.write(key, *version, &mut *sink)?,
            };
            if flow.is_break() {
                return Ok(Sent { rows: sent, flow });
            }
        }
        Ok(Sent {
            rows: rows.len(),
            flow: ControlFlow::Continue(()),
        })
    }

    /// Sends one row.
    pub(crate) fn write<R>(
        &mut self,
        key: &[u8],
        version: KeyVersion,
        take: impl FnOnce(StoredKv<'_>) -> R,
    ) -> Result<R, ReadError> {
        if self.query.needs_no_values() {
            self.scratch.clear();
            KvFields::of_version(key, version).encode_into(&mut self.scratch);
            let encoded = &self.scratch;
            return Ok(take(StoredKv {
                key,
                encoded,
                version,
            }));
        }
        let values = self.values;
        let sent = values.value(version.modified, |encoded| {
            self.send(key, version, encoded, take)
        });
        Ok(sent??)
    }

    /// Sends a row whose value was read.
    fn send<R>(
        &mut self,
        key: &[u8],
        version: KeyVersion,
        stored: &[u8],
        take: impl FnOnce(StoredKv<'_>) -> R,
    ) -> Result<R, MalformedKv> {
        let encoded = if self.query.keys_only {
            self.scratch.clear();
            let fields = KvFields::parse(stored)?;
            let value = b"";
            KvFields { value, ..fields }.encode_into(&mut self.scratch);
            &self.scratch
        } else {
            stored
        };
        Ok(take(StoredKv {
            key,
            encoded,
            version,
        }))
    }
}
