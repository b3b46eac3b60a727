//! The checksum of the live keys: which there are, and which change of each is the last.
//!
//! It is kept up to date by each change, whatever is compacted, and compared when a store is read back:
//! so no live key can be missing, or be read as it was before its last change, without being noticed.
//! Values are not in it.

use cairn_backend::RowsChecksum;
use cairn_index::{KeyVersion, TreeIndex};

/// The checksum of the live keys of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LiveChecksum(RowsChecksum);

impl LiveChecksum {
    /// That of all live keys of an index.
    pub(crate) fn of(index: &TreeIndex) -> Self {
        let mut checksum = Self::default();
        for (key, index) in index.iter() {
            checksum.replace(key, None, index.latest());
        }
        checksum
    }

    /// Notes a change of a key.
    pub(crate) fn replace(
        &mut self,
        key: &[u8],
        before: Option<KeyVersion>,
        now: Option<KeyVersion>,
    ) {
        if let Some(before) = before {
            self.0.remove(key, &bytes(before));
        }
        if let Some(now) = now {
            self.0.add(key, &bytes(now));
        }
    }

    pub(crate) const fn rows(self) -> RowsChecksum {
        self.0
    }
}

fn bytes(version: KeyVersion) -> [u8; 32] {
    let numbers = [
        version.modified.main.number(),
        version.modified.sub.number(),
        version.created.number(),
        version.version.number(),
    ];
    let mut bytes = [0; 32];
    for (place, number) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
        *place = number.to_be_bytes();
    }
    bytes
}
