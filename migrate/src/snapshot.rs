//! A member's state as a file of etcd's, sent while it is made.
//!
//! One view of the tables is gone through twice: first to count pages, then to write them. Nothing is
//! copied aside, and memory is taken for a page a level and a row.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use cairn_backend::{Applied, ReadTx, Table};
use cairn_consensus::ConfState;
use cairn_etcd_file::bolt::{BuildError, FileWriter, Layout, LayoutCounter};
use cairn_replica::membership::Membership;
use serde::Serialize;

use crate::error::Error;
use crate::mapping::{
    CLUSTER_VERSION_KEY, CONF_STATE_KEY, Mapping, SCHEDULED_KEY, STORAGE_VERSION_KEY,
    StorageVersion, mapping,
};

/// Whoever takes the bytes wants no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// A file of etcd's that holds what a view shows, about to be written.
pub struct SnapshotPlan<'a> {
    rows: Rows<'a>,
    layout: Layout,
    applied: Applied,
    revision: u64,
}

/// What goes into the file.
struct Rows<'a> {
    view: &'a ReadTx,
    conf_state: Vec<u8>,
    version: StorageVersion,
    /// Whether members are to agree on `version` anew.
    sets_cluster_version: bool,
    /// Whether leases keep what only Cairn knows of them, so that later log entries can be applied.
    keeps_renewals: bool,
}

/// Is called with a stored row.
type VisitStored<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), Error> + 'a;

/// What comes next in a file.
enum Step<'a> {
    Bucket(&'a [u8]),
    Row(&'a [u8], &'a [u8]),
}

/// raft's configuration as etcd stores it.
#[derive(Serialize)]
struct StoredConfState {
    voters: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    learners: Vec<u64>,
    auto_leave: bool,
}

impl<'a> SnapshotPlan<'a> {
    /// Counts what the file of a view will hold. Its version is the one that members have agreed on,
    /// so that any etcd starts on it that could join them.
    ///
    /// # Errors
    ///
    /// If the view cannot be read, or nothing was ever applied.
    pub fn new(view: &'a ReadTx) -> Result<Self, Error> {
        Self::plan(view, None, true)
    }

    /// The same for etcd alone, for members of another version perhaps, which they are told to have
    /// agreed on.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn of_version(view: &'a ReadTx, version: Option<StorageVersion>) -> Result<Self, Error> {
        Self::plan(view, version, false)
    }

    fn plan(
        view: &'a ReadTx,
        version: Option<StorageVersion>,
        keeps_renewals: bool,
    ) -> Result<Self, Error> {
        let applied = Applied::read(view).map_err(Error::database)?;
        if applied.index == 0 {
            return Err(Error::Refused("nothing was applied yet".to_owned()));
        }
        let members = Membership::restore(view).map_err(Error::database)?;
        let agreed = members.version().and_then(StorageVersion::parse);
        let rows = Rows {
            view,
            conf_state: stored_conf_state(&members.conf_state())?,
            version: version.or(agreed).unwrap_or(StorageVersion::OURS),
            sets_cluster_version: version.is_some(),
            keeps_renewals,
        };
        let mut counter = LayoutCounter::default();
        let mut revision = 1;
        let mut of_keys = false;
        rows.visit(&mut |step| match step {
            Step::Bucket(name) => {
                of_keys = name == Table::Key.name().as_bytes();
                counter.bucket(name)
            }
            Step::Row(key, value) => {
                if of_keys {
                    revision = revision.max(first_number(key));
                } else if key == SCHEDULED_KEY {
                    // A compaction at the last revision may have deleted its row.
                    revision = revision.max(first_number(value));
                }
                counter.row(key, value)
            }
        })?;
        let layout = counter.finish()?;
        Ok(Self {
            rows,
            layout,
            applied,
            revision,
        })
    }

    /// The last log entry in the file.
    #[must_use]
    pub const fn applied(&self) -> Applied {
        self.applied
    }

    /// The revision of the store in the file.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The length of the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.layout.bytes()
    }

    /// The version of its format, if that is one which says so.
    #[must_use]
    pub fn version(&self) -> Option<StorageVersion> {
        Some(self.rows.version).filter(|version| version.is_stored())
    }

    /// Gives the file to `take`, page by page. Ends early, without an error, where `take` wants no more.
    ///
    /// # Errors
    ///
    /// If the view cannot be read; what was given is worth nothing then.
    pub fn write(self, mut take: impl FnMut(&[u8]) -> Result<(), Stopped>) -> Result<(), Error> {
        let take = |page: &[u8]| take(page).map_err(|Stopped| BuildError::Closed);
        let written = FileWriter::new(self.layout, take).map_err(Error::from);
        let written = written.and_then(|mut writer| {
            self.rows.visit(&mut |step| match step {
                Step::Bucket(name) => writer.bucket(name),
                Step::Row(key, value) => writer.row(key, value),
            })?;
            Ok(writer.finish()?)
        });
        match written {
            Err(Error::Build(BuildError::Closed)) => Ok(()),
            other => other,
        }
    }
}

impl Rows<'_> {
    /// Goes through all of the file's rows in order.
    fn visit(
        &self,
        visit: &mut dyn FnMut(Step<'_>) -> Result<(), BuildError>,
    ) -> Result<(), Error> {
        for table in Table::ALL {
            visit(Step::Bucket(table.name().as_bytes()))?;
            let Mapping {
                outward,
                keeps_order,
                ..
            } = mapping(table);
            if table == Table::Lease && self.keeps_renewals {
                self.scan(table, &mut |key, value| Ok(visit(Step::Row(key, value))?))?;
                continue;
            }
            if keeps_order {
                self.scan(table, &mut |key, value| match outward(key, value)
                    .map_err(|why| Error::row(table.name(), key, why))?
                {
                    Some((key, value)) => Ok(visit(Step::Row(&key, &value))?),
                    None => Ok(()),
                })?;
                continue;
            }
            for (key, value) in self.few(table)? {
                visit(Step::Row(&key, &value))?;
            }
        }
        Ok(())
    }

    /// The rows of a table that has few, in etcd's order.
    fn few(&self, table: Table) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Error> {
        let mut rows = BTreeMap::new();
        self.scan(table, &mut |key, value| {
            let mapped = (mapping(table).outward)(key, value);
            let mapped = mapped.map_err(|why| Error::row(table.name(), key, why))?;
            rows.extend(mapped.map(|(key, value)| (key.into_owned(), value.into_owned())));
            Ok(())
        })?;
        let version = self.version.to_string().into_bytes();
        match table {
            Table::Meta => {
                rows.insert(CONF_STATE_KEY.to_vec(), self.conf_state.clone());
                if self.version.is_stored() {
                    rows.insert(STORAGE_VERSION_KEY.to_vec(), version);
                }
            }
            Table::Cluster if self.sets_cluster_version => {
                rows.clear();
                rows.insert(CLUSTER_VERSION_KEY.to_vec(), version);
            }
            _ => {}
        }
        Ok(rows)
    }

    fn scan(&self, table: Table, visit: &mut VisitStored<'_>) -> Result<(), Error> {
        let mut failed = None;
        let everything = (Bound::Unbounded, Bound::Unbounded);
        let scanned = self.view.scan(
            table,
            everything,
            &mut |key, value| match visit(key, value) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            },
        );
        scanned.map_err(Error::database)?;
        failed.map_or(Ok(()), Err)
    }
}

/// The main revision that a key, or a mark of compaction, begins with.
fn first_number(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |head| u64::from_be_bytes(*head))
}

fn stored_conf_state(state: &ConfState) -> Result<Vec<u8>, Error> {
    let stored = StoredConfState {
        voters: state.voters.iter().map(|id| id.get()).collect(),
        learners: state.learners.iter().map(|id| id.get()).collect(),
        auto_leave: state.auto_leave,
    };
    serde_json::to_vec(&stored).map_err(Error::database)
}
