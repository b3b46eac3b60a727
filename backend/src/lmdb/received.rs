//! Databases of other members, being received or received, beside the one in use.
//!
//! One that is being received has a temporary name and is written without syncs. When it is whole, it
//! is synced, then renamed to `db.received-INDEX-TERM` (16 hexadecimal digits each), then the
//! directory is synced: so a file of such a name is whole. To install it is to rename it to `db`.
//!
//! **Invariant:** whoever gives or takes such a name, or changes what it stands for, holds the lock
//! of `files`. So a file that is open here is the one that has the name.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use crate::applied::Applied;
use crate::engine::{Entry, Incoming};
use crate::error::{CommitError, InstallError, OpenError, ReceiveError};
use crate::lmdb::env::Env;
use crate::lmdb::{Directory, FILE_NAME, LmdbOptions};
use crate::receiver::RECEIVED_MAX;
use crate::table::Table;

/// In the names of files that are being received.
pub(super) const PURPOSE: &str = "receiving";

/// What the names of received files begin with, after that of the database.
const RECEIVED: &str = "received-";

/// How much is written before it is synced, so that no sync keeps the disk from others for long. A
/// thread syncs it while as much again is written.
const UNSYNCED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The received databases of a directory.
#[derive(Debug)]
pub(super) struct Received {
    directory: Arc<Directory>,
    options: LmdbOptions,
    /// Those that were opened or made by this process are open.
    files: Mutex<BTreeMap<Applied, Option<Arc<Env>>>>,
}

impl Received {
    /// Finds what is in the directory; what has such a name and is none is removed.
    pub(super) fn find(
        directory: &Arc<Directory>,
        options: &LmdbOptions,
    ) -> Result<Self, OpenError> {
        let mut files = BTreeMap::new();
        let prefix = format!("{FILE_NAME}.{RECEIVED}");
        for name in directory.names()? {
            let Some(rest) = name.strip_prefix(&prefix) else {
                continue;
            };
            match parse(rest) {
                Some(applied) => {
                    files.insert(applied, None);
                }
                None => directory.remove(&directory.path.join(&name))?,
            }
        }
        Ok(Self {
            directory: Arc::clone(directory),
            options: options.clone(),
            files: Mutex::new(files),
        })
    }

    /// Begins another.
    pub(super) fn begin(self: &Arc<Self>) -> Result<LmdbIncoming, ReceiveError> {
        let path = self.directory.temporary_file(PURPOSE);
        let env = Env::open(&self.directory, &path, &self.options)?;
        let incoming = LmdbIncoming {
            received: Arc::clone(self),
            env: Arc::new(env),
            path: Some(path),
            unsynced_bytes: 0,
            syncing: None,
        };
        let unsynced = incoming.env.set_sync(false);
        unsynced.map_err(|error| incoming.env.failed(error))?;
        Ok(incoming)
    }

    pub(super) fn list(&self) -> Vec<Applied> {
        self.files.lock().keys().copied().collect()
    }

    /// Opens one, if it is there.
    pub(super) fn open(&self, applied: Applied) -> Result<Option<Arc<Env>>, OpenError> {
        let mut files = self.files.lock();
        let Some(slot) = files.get_mut(&applied) else {
            return Ok(None);
        };
        if let Some(env) = slot {
            return Ok(Some(Arc::clone(env)));
        }
        let env = Env::open(&self.directory, &self.path(applied), &self.options)?;
        Ok(Some(Arc::clone(slot.insert(Arc::new(env)))))
    }

    /// Renames one to the database, durably, and removes those before it. `replaced` is called as
    /// soon as the old database has lost its name.
    pub(super) fn install(
        &self,
        applied: Applied,
        replaced: impl FnOnce(),
    ) -> Result<Arc<Env>, InstallError> {
        let env = self
            .open(applied)?
            .ok_or(InstallError::NotReceived { applied })?;
        let mut files = self.files.lock();
        // It may have been replaced or discarded since it was opened.
        match files.remove(&applied) {
            Some(Some(current)) if Arc::ptr_eq(&current, &env) => {}
            other => {
                files.extend(other.map(|other| (applied, other)));
                return Err(InstallError::NotReceived { applied });
            }
        }
        if let Err(source) = fs::rename(self.path(applied), self.directory.file()) {
            files.insert(applied, Some(env));
            return Err(InstallError::Rename {
                path: self.path(applied),
                source,
            });
        }
        replaced();
        self.directory.sync_swapped().map_err(InstallError::Swap)?;
        files.retain(|other, _| {
            let stays = *other > applied;
            if !stays {
                // What cannot be removed now is at the next start.
                let _ = self.directory.remove(&self.path(*other));
            }
            stays
        });
        Ok(env)
    }

    /// Removes one, if it is there.
    pub(super) fn discard(&self, applied: Applied) -> Result<(), OpenError> {
        let mut files = self.files.lock();
        if files.contains_key(&applied) {
            self.directory.remove(&self.path(applied))?;
            files.remove(&applied);
        }
        Ok(())
    }

    fn path(&self, applied: Applied) -> PathBuf {
        let Applied { index, term } = applied;
        self.directory
            .path
            .join(format!("{FILE_NAME}.{RECEIVED}{index:016x}-{term:016x}"))
    }
}

/// Reads what a name says after [`RECEIVED`].
fn parse(rest: &str) -> Option<Applied> {
    let number = |digits: &str| {
        let well_formed = digits.len() == 16 && digits.bytes().all(|it| it.is_ascii_hexdigit());
        well_formed.then(|| u64::from_str_radix(digits, 16).ok())?
    };
    let (index, term) = rest.split_once('-')?;
    Some(Applied {
        index: number(index)?,
        term: number(term)?,
    })
}

/// A database that is being received.
pub(super) struct LmdbIncoming {
    received: Arc<Received>,
    env: Arc<Env>,
    /// The temporary file, as long as it has this name.
    path: Option<PathBuf>,
    unsynced_bytes: usize,
    /// The sync that is under way.
    syncing: Option<JoinHandle<Result<(), heed::Error>>>,
}

impl LmdbIncoming {
    /// Begins to sync what has been written, once what was written before is synced.
    fn begin_sync(&mut self) -> Result<(), CommitError> {
        self.end_sync()?;
        let env = Arc::clone(&self.env);
        let syncing = thread::Builder::new().name("receive-sync".to_owned());
        match syncing.spawn(move || env.sync()) {
            Ok(syncing) => self.syncing = Some(syncing),
            // Without a thread it takes longer.
            Err(_) => self.sync()?,
        }
        Ok(())
    }

    fn end_sync(&mut self) -> Result<(), CommitError> {
        match self.syncing.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(synced)) => synced.map_err(|error| self.env.failed(error)),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }

    fn sync(&self) -> Result<(), CommitError> {
        let synced = self.env.sync();
        synced.map_err(|error| self.env.failed(error))
    }
}

impl Incoming for LmdbIncoming {
    fn append(&mut self, table: Table, entries: &[Entry<'_>]) -> Result<(), ReceiveError> {
        self.env.write(|txn| {
            for (key, value) in entries {
                if !txn.append(table, key, value)? {
                    txn.put(table, key, value)?;
                }
            }
            Ok(())
        })?;
        self.unsynced_bytes += entries
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum::<usize>();
        if self.unsynced_bytes >= UNSYNCED_BYTES_MAX {
            self.unsynced_bytes = 0;
            self.begin_sync()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, applied: Applied) -> Result<(), ReceiveError> {
        self.end_sync()?;
        let synced = self.env.set_sync(true).and_then(|()| self.env.sync());
        synced.map_err(|error| self.env.failed(error))?;
        let Self { received, env, .. } = &*self;
        let directory = &received.directory;
        let mut files = received.files.lock();
        if files.len() >= RECEIVED_MAX && !files.contains_key(&applied) {
            return Err(ReceiveError::TooMany);
        }
        let name = received.path(applied);
        if let Some(path) = &self.path {
            fs::rename(path, &name).map_err(|source| directory.error(source))?;
        }
        if let Err(source) = directory.sync() {
            files.remove(&applied);
            // What stays is whole, and nobody was told of it.
            let _ = fs::remove_file(&name);
            return Err(directory.error(source).into());
        }
        files.insert(applied, Some(Arc::clone(env)));
        drop(files);
        self.path = None;
        Ok(())
    }
}

impl Drop for LmdbIncoming {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What stays is removed when the engine is next opened.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_given_are_read() {
        let applied = Applied { index: 17, term: 3 };
        assert_eq!(parse("0000000000000011-0000000000000003"), Some(applied));
        for other in [
            "",
            "11-3",
            "0000000000000011-0000000000000003-lock",
            "0000000000000011-+000000000000003",
            "0000000000000011",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
