//! Reading the sequence, object by object.

use crate::error::Error;
use crate::name::{Names, Sequence};
use crate::record::Record;
use crate::sealed::{Digest, Key, open};
use crate::store::Store;

/// How many places beyond a missing object are looked at, so that it is not taken for the end.
const PROBES_BEYOND: u64 = 4;

/// What is at a place of the sequence.
pub(crate) enum Found {
    /// A record, and its object's checksum.
    Record(Record, Digest),
    /// Nothing.
    Nothing,
}

/// Reads what is at a place.
pub(crate) fn read_record(
    store: &dyn Store,
    names: Names,
    at: Sequence,
    key: Option<&Key>,
) -> Result<Found, Error> {
    let name = names.log(at);
    let Some(object) = store.get(&name)? else {
        return Ok(Found::Nothing);
    };
    let opened = open(&name, &object, key)?;
    let record = Record::decode(&name, opened.content)?;
    Ok(Found::Record(record, opened.digest))
}

/// Goes from object to object, and checks that each refers to the one before.
pub(crate) struct Walk<'a> {
    store: &'a dyn Store,
    names: Names,
    key: Option<&'a Key>,
    next: Sequence,
    /// The checksum of the object before.
    previous: Vec<u8>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        store: &'a dyn Store,
        names: Names,
        key: Option<&'a Key>,
        next: Sequence,
        previous: &[u8],
    ) -> Self {
        Self {
            store,
            names,
            key,
            next,
            previous: previous.to_vec(),
        }
    }

    /// The next record; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, Error> {
        let name = self.names.log(self.next);
        let read = || read_record(self.store, self.names, self.next, self.key);
        let found = match read()? {
            Found::Nothing if self.has_later()? => match read()? {
                Found::Nothing => return Err(Error::Missing { name }),
                // It was written meanwhile.
                found => found,
            },
            found => found,
        };
        let Found::Record(record, digest) = found else {
            return Ok(None);
        };
        if record.previous[..] != self.previous {
            return Err(Error::damaged(
                &name,
                "it does not follow the object before",
            ));
        }
        self.previous = digest.to_vec();
        self.next = self.next.next();
        Ok(Some(record))
    }

    /// Whether there are objects beyond the place where there is none.
    fn has_later(&self) -> Result<bool, Error> {
        let missing = self.names.log(self.next);
        let folder = self.names.log_folder();
        if !self.store.list(&folder, &missing)?.is_empty() {
            return Ok(true);
        }
        // The listing may be old.
        for beyond in 1..=PROBES_BEYOND {
            let name = self.names.log(Sequence(self.next.0 + beyond));
            if self.store.get(&name)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
