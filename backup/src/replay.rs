//! Getting a state back: a base, and the entries after it.
//!
//! Entries are applied by the code that members apply them with, and after every few the revision is
//! compared with the one that members had.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use cairn_consensus::{Entry, EntryKind, LogIndex};
use cairn_lease::Expiry;
use cairn_migrate::{Progress, SnapshotPlan, Stopped};
use cairn_mvcc::{Restored, Store as KeyStore};
use cairn_replica::apply::Applier;
use cairn_replica::lease_request::LeaseRequest;
use cairn_replica::log_request::{LogEntry, LogRequest};
use ring::digest::{Context, SHA256};

use crate::base::Base;
use crate::catalog::Catalog;
use crate::error::Error;
use crate::record::{Logged, Position, Record};
use crate::sealed::Key;
use crate::store::Store;
use crate::walk::Walk;

/// Entries that are applied in one go.
const GO_ENTRIES: usize = 512;
/// Bytes of entries after which what they did is written out.
const COMMIT_BYTES: usize = 16 << 20;

/// What to go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// All there is.
    Latest,
    /// The last state with this revision.
    Revision(u64),
    /// The last state not after this time, in milliseconds since 1970.
    Time(u64),
    /// The state after this log entry.
    Index(u64),
}

/// Where replaying came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// At what was asked for.
    Target,
    /// At the end of the backup.
    End,
    /// At the end of a timeline: what was written after it is in another, or lost.
    Timeline,
}

/// A state that was got back, in a directory of its own.
pub struct Replayed {
    store: KeyStore,
    position: Position,
    /// Where it came to an end.
    pub stop: Stop,
}

impl Replayed {
    /// Its keys and their history.
    #[must_use]
    pub const fn store(&self) -> &KeyStore {
        &self.store
    }

    /// Its revision.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.position.revision
    }

    /// The last log entry in it.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.position.index.get()
    }

    /// When the last of it was applied, in milliseconds since 1970.
    #[must_use]
    pub const fn time_ms(&self) -> u64 {
        self.position.time_ms
    }

    /// Writes it as a snapshot file, with its checksum behind it.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn write_snapshot(&self, path: &Path) -> Result<(), Error> {
        let failed = Error::io(path);
        let view = self.store.backend().read().map_err(Error::database)?;
        let mut file = BufWriter::new(File::create_new(path).map_err(&failed)?);
        let mut sum = Context::new(&SHA256);
        let mut written = Ok(());
        SnapshotPlan::new(&view)?.write(|page| {
            sum.update(page);
            file.write_all(page).map_err(|error| {
                written = Err(error);
                Stopped
            })
        })?;
        written.map_err(&failed)?;
        file.write_all(sum.finish().as_ref()).map_err(&failed)?;
        let file = file
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(&failed)
    }
}

/// Gets a state back from the newest base that leads there, in `scratch`, an empty directory.
///
/// # Errors
///
/// [`Error::NotThere`] if no base does; or others.
pub fn replay_any(
    store: &dyn Store,
    catalog: &Catalog,
    key: Option<&Key>,
    target: Target,
    scratch: &Path,
    progress: &mut dyn Progress,
) -> Result<Replayed, Error> {
    let fits = |base: &&Base| match target {
        Target::Latest => true,
        Target::Revision(revision) => base.revision() <= revision,
        Target::Time(time_ms) => base.time_ms() <= time_ms,
        Target::Index(index) => base.index() <= index,
    };
    let mut tried = None;
    let mut failure = Error::NotThere("no base in the backup leads there".to_owned());
    for base in catalog.bases.iter().rev().filter(fits) {
        // An earlier base of the same timeline gets no further.
        if tried == Some(base.timeline) {
            continue;
        }
        tried = Some(base.timeline);
        clear(scratch)?;
        match replay(store, catalog, base, key, target, scratch, progress) {
            Err(error @ Error::NotThere(_)) => failure = error,
            done => return done,
        }
    }
    Err(failure)
}

fn clear(directory: &Path) -> Result<(), Error> {
    let failed = Error::io(directory);
    for entry in fs::read_dir(directory).map_err(&failed)? {
        let path = entry.map_err(&failed)?.path();
        if path.is_dir() {
            fs::remove_dir_all(&path).map_err(&failed)?;
        } else {
            fs::remove_file(&path).map_err(&failed)?;
        }
    }
    Ok(())
}

/// Gets a state back from one base, in `scratch`, an empty directory.
///
/// # Errors
///
/// [`Error::NotThere`] if that base does not lead there; or others.
pub fn replay(
    store: &dyn Store,
    catalog: &Catalog,
    base: &Base,
    key: Option<&Key>,
    target: Target,
    scratch: &Path,
    progress: &mut dyn Progress,
) -> Result<Replayed, Error> {
    let file = scratch.join("base.db");
    progress.begin("fetching", base.bytes());
    base.fetch(store, catalog.names, key, &file, &mut |bytes| {
        progress.advance(bytes);
    })?;
    let mut replaying = Replaying::begin(base, &file, &scratch.join("state"), progress)?;
    fs::remove_file(&file).map_err(Error::io(&file))?;
    let mut walk = Walk::new(store, catalog.names, key, base.id.resume, &base.previous);
    let stop = loop {
        if replaying.is_at(target) {
            break Stop::Target;
        }
        let Some(record) = walk.next()? else {
            break Stop::End;
        };
        if record.timeline != base.timeline {
            break Stop::Timeline;
        }
        if replaying.apply(record, target)? {
            break Stop::Target;
        }
    };
    replaying.end(target, stop)
}

struct Replaying {
    store: KeyStore,
    applier: Applier,
    position: Position,
    uncommitted: usize,
}

impl Replaying {
    fn begin(
        base: &Base,
        file: &Path,
        state: &Path,
        progress: &mut dyn Progress,
    ) -> Result<Self, Error> {
        let store = cairn_migrate::load(file, state, progress)?;
        let restored = Restored::read(store.backend().clone()).map_err(Error::database)?;
        drop(store);
        let store = restored.store.clone();
        let applier = Applier::restore(restored).map_err(Error::database)?;
        let mut this = Self {
            store,
            applier,
            position: base.position.clone(),
            uncommitted: 0,
        };
        this.check(base.position.clone())?;
        Ok(this)
    }

    /// Whether nothing that follows can be wanted. More entries may leave a revision as it is.
    fn is_at(&self, target: Target) -> bool {
        matches!(target, Target::Index(index) if self.position.index.get() >= index)
    }

    /// Applies what is wanted of a record; whether that was not all of it.
    fn apply(&mut self, record: Record, target: Target) -> Result<bool, Error> {
        if record.after.index > self.position.index {
            return Err(Error::NotThere(format!(
                "entries after {} are missing",
                self.position.index
            )));
        }
        let mut go: Vec<Logged> = Vec::with_capacity(GO_ENTRIES);
        for logged in record.entries {
            if logged.entry.index <= self.position.index {
                continue;
            }
            if is_beyond(&logged, target) {
                self.go(&mut go)?;
                self.apply_part(logged, target)?;
                return Ok(true);
            }
            go.push(logged);
            if go.len() == GO_ENTRIES {
                self.go(&mut go)?;
            }
        }
        self.go(&mut go)?;
        Ok(false)
    }

    fn go(&mut self, go: &mut Vec<Logged>) -> Result<(), Error> {
        let Some(last) = go.last() else {
            return Ok(());
        };
        let position = Position {
            index: last.entry.index,
            term: last.entry.term,
            revision: last.revision,
            time_ms: last.time_ms,
        };
        let mut entries = Vec::with_capacity(go.len());
        for logged in go.drain(..) {
            self.uncommitted += logged.entry.data.len();
            entries.push(logged.entry.interpret().map_err(Error::database)?);
        }
        self.applier.apply(entries).map_err(Error::database)?;
        if self.uncommitted > COMMIT_BYTES {
            self.uncommitted = 0;
            self.store.backend().commit().map_err(Error::database)?;
        }
        self.check(position)
    }

    fn check(&mut self, position: Position) -> Result<(), Error> {
        let found = self.store.current().number();
        let expected = position.revision;
        if found != expected || self.applier.applied() != position.index {
            return Err(Error::Diverged {
                index: position.index.get(),
                expected,
                found,
            });
        }
        self.position = position;
        Ok(())
    }

    /// Applies an entry as far as the wanted revision: one that ends several leases makes several.
    fn apply_part(&mut self, logged: Logged, target: Target) -> Result<(), Error> {
        let Target::Revision(wanted) = target else {
            return Ok(());
        };
        let missing = wanted.saturating_sub(self.position.revision);
        if missing == 0 {
            return Ok(());
        }
        let (index, time_ms) = (logged.entry.index, logged.time_ms);
        let entry = logged.entry.interpret().map_err(Error::database)?;
        let part = self.part_of(entry, missing)?.ok_or_else(|| {
            Error::NotThere(format!(
                "revision {wanted} is amid what one log entry did; take {} or {}",
                self.position.revision, logged.revision
            ))
        })?;
        let term = part.term;
        self.applier.apply([part]).map_err(Error::database)?;
        self.check(Position {
            index,
            term,
            revision: wanted,
            time_ms,
        })
    }

    /// The first of an expiry's leases, as many as make so many revisions.
    fn part_of(&self, entry: Entry, revisions: u64) -> Result<Option<Entry>, Error> {
        let EntryKind::Normal(data) = entry.kind else {
            return Ok(None);
        };
        let decoded = LogEntry::decode(data).map_err(Error::database)?;
        let (Some(LogRequest::Lease(LeaseRequest::Expire(expiry))), Some(id)) =
            (decoded.request, decoded.id)
        else {
            return Ok(None);
        };
        let request = LogRequest::Lease(LeaseRequest::Expire(self.first_of(expiry, revisions)));
        Ok(Some(Entry {
            kind: EntryKind::Normal(request.encode(id, decoded.auth_info.as_ref())),
            ..entry
        }))
    }

    fn first_of(&self, expiry: Expiry, revisions: u64) -> Expiry {
        let leases = self.applier.leases();
        let leases = leases.lock();
        let mut left = revisions;
        let mut first = Vec::new();
        for expired in expiry.leases {
            if left == 0 {
                break;
            }
            left -= u64::from(leases.expires_with_keys(expired));
            first.push(expired);
        }
        Expiry {
            leases: first,
            ..expiry
        }
    }

    fn end(self, target: Target, stop: Stop) -> Result<Replayed, Error> {
        let at = self.position.revision;
        let is_reached = match target {
            Target::Latest | Target::Time(_) => true,
            Target::Revision(revision) => at == revision,
            Target::Index(index) => self.position.index == LogIndex::new(index),
        };
        if !is_reached {
            let why = match stop {
                Stop::Timeline => "what came after it was not written",
                Stop::Target | Stop::End => "the backup ends there",
            };
            return Err(Error::NotThere(format!(
                "what is asked for is not in the backup: revision {at} is the last, {why}"
            )));
        }
        self.store.backend().commit().map_err(Error::database)?;
        Ok(Replayed {
            store: self.store,
            position: self.position,
            stop,
        })
    }
}

fn is_beyond(logged: &Logged, target: Target) -> bool {
    match target {
        Target::Latest => false,
        Target::Revision(revision) => logged.revision > revision,
        Target::Time(time_ms) => logged.time_ms > time_ms,
        Target::Index(index) => logged.entry.index.get() > index,
    }
}
