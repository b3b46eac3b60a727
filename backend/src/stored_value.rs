//! A value as it is stored, which is checked when it is opened.
//!
//! Who reads many rows together learns first where their values lie, then takes one after the other.
//! The checksum of each is computed when it is taken, so that its bytes come from memory once and are
//! still near when they are copied.

use crate::damaged_row::DamagedRow;
use crate::lmdb::Env;
use crate::table::Table;

/// What a processor fetches at once.
#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;

/// How much of a value is asked for: after that the processor sees where it goes.
#[cfg(target_arch = "x86_64")]
const LINES_MAX: usize = 16;

/// A value as it is stored.
#[derive(Clone, Copy)]
pub struct StoredValue<'a> {
    stored: &'a [u8],
    /// The file that it lies in, if rows of it have checksums.
    file: Option<&'a Env>,
}

impl<'a> StoredValue<'a> {
    /// A value that is as it is.
    pub(crate) const fn plain(value: &'a [u8]) -> Self {
        Self {
            stored: value,
            file: None,
        }
    }

    /// A row of a file whose rows have checksums.
    pub(crate) const fn sealed(stored: &'a [u8], file: &'a Env) -> Self {
        Self {
            stored,
            file: Some(file),
        }
    }

    /// Lets the processor fetch the value's beginning, since it will be opened soon.
    #[inline]
    pub fn prefetch(self) {
        #[cfg(target_arch = "x86_64")]
        for line in self.stored.chunks(LINE_BYTES).take(LINES_MAX) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

            #[expect(unsafe_code, reason = "it takes a pointer")]
            // SAFETY: it reads nothing: a pointer that leads nowhere would do no harm.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
            }
        }
    }

    /// The value, which was found in `table` at `key`.
    ///
    /// # Errors
    ///
    /// [`DamagedRow`] if its checksum is wrong.
    #[inline]
    pub fn open(self, table: Table, key: &[u8]) -> Result<&'a [u8], DamagedRow> {
        match self.file {
            Some(file) => file.open_row(table, key, self.stored),
            None => Ok(self.stored),
        }
    }
}

impl std::fmt::Debug for StoredValue<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredValue")
            .field("bytes", &self.stored.len())
            .field("file", &self.file)
            .finish()
    }
}
