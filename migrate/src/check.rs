//! Whether a stopped member's data directory is whole, and what is wrong where.
//!
//! Everything is read once: all pages that hold rows, all rows, the index that they make, members,
//! alarms, leases and users as a start reads them, the log from its first frame to its last. Nothing is
//! written.

use std::fs::{File, TryLockError};
use std::ops::{Bound, ControlFlow};

use cairn_backend::{
    Applied, Backend, BackendOptions, LmdbEngine, LmdbOptions, OpenError, ReadTx, Table,
};
use cairn_mvcc::{BucketKey, KvFields, Restored};
use cairn_proto::leasepb;
use cairn_replica::apply::Applier;
use cairn_replica::membership::{Member, Membership};
use prost::Message;

use crate::data_dir::{DataDir, Kind};
use crate::error::Error;
use crate::etcd_database::EtcdDatabase;
use crate::go_back::open_log;
use crate::progress::Progress;

/// How many findings of one kind are told; a damaged page has many rows.
const TOLD_MAX: usize = 20;

/// Something that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, table and key.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

/// Looks at all of a directory: Cairn's, or etcd's. Findings are the result; none is good.
///
/// # Errors
///
/// If it cannot be looked at: the directory is in use, or is nobody's.
pub fn check(directory: &DataDir, progress: &mut dyn Progress) -> Result<Vec<Finding>, Error> {
    let mut findings = Findings::default();
    match directory.kind()? {
        Kind::Empty => {
            return Err(Error::Refused(format!(
                "{} holds no member's data",
                directory.root().display()
            )));
        }
        Kind::Etcd => check_etcd(directory, &mut findings),
        Kind::Cairn => check_cairn(directory, &mut findings, progress)?,
    }
    Ok(findings.found)
}

#[derive(Default)]
struct Findings {
    found: Vec<Finding>,
}

impl Findings {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a text or an error, whichever is at hand"
    )]
    fn note(&mut self, place: impl Into<String>, what: impl ToString) {
        self.found.push(Finding {
            place: place.into(),
            what: what.to_string(),
        });
    }

    /// Notes what is wrong with a row, if not too much was already.
    fn row(&mut self, table: Table, key: &[u8], what: impl ToString) {
        if self.found.len() < TOLD_MAX {
            let place = format!("table {}, key {}", table.name(), key.escape_ascii());
            self.note(place, what);
        }
    }
}

fn check_etcd(directory: &DataDir, findings: &mut Findings) {
    let checked = EtcdDatabase::open(&directory.database()).and_then(|file| {
        let failed = Error::bolt(file.path());
        file.database().check().map_err(failed)?;
        file.rows_for_cairn(&mut |_, _, _| Ok(()))
    });
    if let Err(error) = checked {
        findings.note(directory.database().display().to_string(), error);
    }
    if let Err(error) = cairn_etcd_file::wal::Log::read(&directory.wal()) {
        findings.note(directory.wal().display().to_string(), error);
    }
}

fn check_cairn(
    directory: &DataDir,
    findings: &mut Findings,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    let place = directory.database().display().to_string();
    // LMDB believes what pages say, and a damaged one may end the process: it gets a whole file alone.
    if !check_pages(directory, findings)? {
        return Ok(());
    }
    let engine = LmdbEngine::open(&directory.snap(), LmdbOptions::default());
    let backend = engine.and_then(|engine| Backend::open(engine, BackendOptions::default()));
    let backend = match backend {
        Err(error @ OpenError::InUse { .. }) => return Err(Error::database(error)),
        Err(error) => {
            findings.note(place, Error::database(error));
            return Ok(());
        }
        Ok(backend) => backend,
    };
    let view = backend.read().map_err(Error::database)?;
    progress.begin("checking", backend.size_in_use());
    if let Err(error) = check_rows(&view, findings, progress) {
        findings.note(place.clone(), error);
    }
    let applied = Applied::read(&view).map_err(Error::database);
    let members = Membership::restore(&view).map_err(Error::database);
    drop(view);
    match (applied, members) {
        (Ok(applied), Ok(members)) => {
            let log = open_log(&directory.wal(), applied, members.conf_state());
            match log.and_then(|log| check_log(&log)) {
                Ok(()) => {}
                Err(error) => findings.note(directory.wal().display().to_string(), error),
            }
        }
        (Err(error), _) | (_, Err(error)) => findings.note(place.clone(), error),
    }
    // As a start reads all that.
    let restored = Restored::read(backend).map_err(Error::database);
    let restored = restored.and_then(|it| Applier::restore(it).map_err(Error::database));
    if let Err(error) = restored {
        findings.note(place, error);
    }
    Ok(())
}

/// Reads every page of the database as plain bytes; whether all are whole.
fn check_pages(directory: &DataDir, findings: &mut Findings) -> Result<bool, Error> {
    let snap = directory.snap();
    if !directory.database().exists() {
        return Ok(true);
    }
    let lock = File::open(&snap).map_err(Error::io(&snap))?;
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        return Err(Error::database(OpenError::InUse { directory: snap }));
    }
    match cairn_backend::check(&directory.database()) {
        Err(error) => findings.note(
            directory.database().display().to_string(),
            Error::database(error),
        ),
        Ok(report) => {
            for damage in &report.damage {
                findings.note(directory.database().display().to_string(), damage);
            }
        }
    }
    Ok(findings.found.is_empty())
}

/// Reads every entry of the log.
fn check_log(log: &cairn_consensus::LogCopy) -> Result<(), Error> {
    let mut next = log.head().begins_after.next();
    loop {
        let entries = log.read(next)?;
        match entries.last() {
            Some(last) => next = last.index.next(),
            None if next > log.last() => return Ok(()),
            None => {
                return Err(Error::Entry {
                    index: next.get(),
                    reason: "it is not in the log".to_owned(),
                });
            }
        }
    }
}

/// Reads every row of every table, each for itself.
fn check_rows(
    view: &ReadTx,
    findings: &mut Findings,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    let everything = || (Bound::Unbounded, Bound::Unbounded);
    for table in Table::ALL {
        view.scan(table, everything(), &mut |key, value| {
            progress.advance((key.len() + value.len()) as u64);
            if let Err(what) = check_row(table, key, value) {
                findings.row(table, key, what);
            }
            ControlFlow::Continue(())
        })
        .map_err(Error::database)?;
    }
    Ok(())
}

/// What must be true of a row by itself.
fn check_row(table: Table, key: &[u8], value: &[u8]) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    match table {
        Table::Key => {
            let (at, kind) = BucketKey::decode(key).map_err(|error| text(&error))?;
            let fields = KvFields::parse(value).map_err(|error| text(&error))?;
            let is_put = kind == cairn_mvcc::ChangeKind::Put;
            if is_put && fields.modified != at.main.to_wire() {
                return Err(format!(
                    "it says that it is of revision {}",
                    fields.modified
                ));
            }
            Ok(())
        }
        Table::Lease => {
            let lease = leasepb::Lease::decode(value).map_err(|error| text(&error))?;
            if key != lease.id.to_be_bytes() {
                return Err(format!("it says that it is lease {:x}", lease.id));
            }
            Ok(())
        }
        Table::Members => {
            let member: Member = serde_json::from_slice(value).map_err(|error| text(&error))?;
            let id = member.id;
            if key != format!("{:016x}", id.get()).as_bytes() {
                return Err(format!("it says that it is member {id}"));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
