//! Reading all of a backup, and comparing what replaying it gives.
//!
//! Entries from one base on must lead to the next: to the same hash of keys and history, by which
//! members compare themselves, and to the same rows of all other tables but those that say where a
//! member is.

use std::fs;
use std::ops::{Bound, ControlFlow};
use std::path::Path;

use cairn_backend::Table;
use cairn_migrate::Progress;
use cairn_mvcc::{ReadAt, Revision, Store as KeyStore};

use crate::base::Base;
use crate::catalog::Catalog;
use crate::error::Error;
use crate::replay::{Replayed, Stop, Target, replay};
use crate::sealed::Key;
use crate::store::Store;

/// What was found of one base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The revision of the base.
    pub from: u64,
    /// The revision that replaying came to.
    pub to: u64,
    /// The last log entry.
    pub index: u64,
    /// The hash of keys there.
    pub hash: u32,
    /// Whether there was a next base to compare with.
    pub compared: bool,
    /// Where replaying came to an end.
    pub stop: Stop,
}

/// Replays from every base to the next, or to the end of its timeline. `found` is told of each.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn verify(
    store: &dyn Store,
    catalog: &Catalog,
    key: Option<&Key>,
    scratch: &Path,
    progress: &mut dyn Progress,
    found: &mut dyn FnMut(Verified),
) -> Result<(), Error> {
    for base in &catalog.bases {
        let reach = catalog.reach(store, base, key)?;
        let next = catalog
            .next(base)
            .filter(|next| next.index() <= reach.index);
        let mut at = |name: &str, base: &Base, target| -> Result<Replayed, Error> {
            let directory = scratch.join(name);
            if directory.exists() {
                fs::remove_dir_all(&directory).map_err(Error::io(&directory))?;
            }
            fs::create_dir(&directory).map_err(Error::io(&directory))?;
            replay(store, catalog, base, key, target, &directory, progress)
        };
        let target = next.map_or(Target::Latest, |next| Target::Index(next.index()));
        let replayed = at("replayed", base, target)?;
        let hash = hash_of(&replayed)?;
        if let Some(next) = next {
            let other = at("next", next, target)?;
            compare(catalog, next, (&replayed, hash), &other)?;
        }
        found(Verified {
            from: base.revision(),
            to: replayed.revision(),
            index: replayed.index(),
            hash,
            compared: next.is_some(),
            stop: replayed.stop,
        });
    }
    Ok(())
}

fn hash_of(replayed: &Replayed) -> Result<u32, Error> {
    let revision = Revision::new(replayed.revision());
    let at = revision.map_or(ReadAt::Latest, ReadAt::Revision);
    let hash = replayed.store().hash_kv(at);
    Ok(hash.map_err(Error::database)?.hash)
}

fn compare(
    catalog: &Catalog,
    next: &Base,
    (replayed, hash): (&Replayed, u32),
    other: &Replayed,
) -> Result<(), Error> {
    let name = catalog.names.base(next.id);
    let expected = hash_of(other)?;
    if hash != expected {
        return Err(Error::damaged(
            &name,
            format!("its HashKV is {expected}, and that of the entries before it {hash}"),
        ));
    }
    for table in Table::ALL {
        let is_compared = !matches!(table, Table::Key | Table::Meta);
        if is_compared && rows(replayed.store(), table)? != rows(other.store(), table)? {
            let table = table.name();
            let reason = format!("its table {table} is not what the entries before it lead to");
            return Err(Error::damaged(&name, reason));
        }
    }
    Ok(())
}

/// All rows of a table.
type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn rows(store: &KeyStore, table: Table) -> Result<Rows, Error> {
    let mut rows = Vec::new();
    let view = store.backend().read().map_err(Error::database)?;
    let everything = (Bound::Unbounded, Bound::Unbounded);
    view.scan(table, everything, &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .map_err(Error::database)?;
    Ok(rows)
}
