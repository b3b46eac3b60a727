//! What a backup holds.

use cairn_consensus::ClusterId;

use crate::base::Base;
use crate::error::Error;
use crate::name::{Names, Sequence, parse_cluster};
use crate::record::Position;
use crate::sealed::{Key, open};
use crate::store::Store;
use crate::walk::{Found, read_record};

/// The clusters of which a store holds backups.
///
/// # Errors
///
/// If it cannot be listed.
pub fn clusters(store: &dyn Store) -> Result<Vec<ClusterId>, Error> {
    let folders = store.folders()?;
    Ok(folders.iter().filter_map(|it| parse_cluster(it)).collect())
}

/// The bases of one cluster's backup, as far as a listing shows them.
#[derive(Debug)]
pub struct Catalog {
    pub(crate) names: Names,
    /// In the order in which they were made.
    pub(crate) bases: Vec<Base>,
}

/// How far one can get from a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The last revision.
    pub revision: u64,
    /// When it was there, in milliseconds since 1970.
    pub time_ms: u64,
    /// The last log entry.
    pub index: u64,
}

impl Catalog {
    /// Lists the bases and reads what they are.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn read(store: &dyn Store, cluster: ClusterId, key: Option<&Key>) -> Result<Self, Error> {
        let names = Names(cluster);
        let mut bases = Vec::new();
        for name in store.list(&names.base_folder(), "")? {
            let Some(id) = names.parse_base(&name) else {
                return Err(Error::damaged(&name, "no base has such a name"));
            };
            // One that the listing still shows may be deleted by now.
            let Some(object) = store.get(&name)? else {
                continue;
            };
            let content = open(&name, &object, key)?.content;
            bases.push(Base::decode(&name, id, content)?);
        }
        bases.sort_by_key(|base| (base.id.resume, base.position.index));
        Ok(Self { names, bases })
    }

    /// The bases, oldest first.
    #[must_use]
    pub fn bases(&self) -> &[Base] {
        &self.bases
    }

    /// How far one can get from a base: to the next, if that continues its history; otherwise to the end of
    /// its timeline.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn reach(&self, store: &dyn Store, base: &Base, key: Option<&Key>) -> Result<Reach, Error> {
        let end = match self.next(base) {
            Some(next) if self.next(next).is_some() => next.position.clone(),
            // A base that was begun before its timeline ended may lie behind the end.
            Some(next) => {
                let end = self.end_of_timeline(store, base, key)?;
                if end.index < next.position.index {
                    end
                } else {
                    next.position.clone()
                }
            }
            None => self.end_of_timeline(store, base, key)?,
        };
        Ok(Reach {
            revision: end.revision,
            time_ms: end.time_ms,
            index: end.index.get(),
        })
    }

    /// The next base of the same timeline.
    pub(crate) fn next(&self, base: &Base) -> Option<&Base> {
        self.bases.iter().find(|other| {
            other.timeline == base.timeline && other.position.index > base.position.index
        })
    }

    /// Objects of a timeline are next to each other, so its end is found by halving.
    fn end_of_timeline(
        &self,
        store: &dyn Store,
        base: &Base,
        key: Option<&Key>,
    ) -> Result<Position, Error> {
        let record = |at| match read_record(store, self.names, at, key)? {
            Found::Record(record, _) if record.timeline == base.timeline => Ok(Some(record)),
            Found::Record(..) | Found::Nothing => Ok::<_, Error>(None),
        };
        let mut end = base.position.clone();
        let (mut known, mut step) = (base.id.resume, 1);
        // Up in growing steps, then down to single ones.
        let mut grows = true;
        loop {
            let at = Sequence(known.0 + step - 1);
            if let Some(record) = record(at)? {
                if record.end().index > end.index {
                    end = record.end();
                }
                known = at.next();
                if grows {
                    step *= 2;
                }
            } else {
                grows = false;
                if step == 1 {
                    return Ok(end);
                }
            }
            if !grows {
                step = (step / 2).max(1);
            }
        }
    }
}
