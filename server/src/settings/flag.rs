//! What a flag is: name, group, default, help and how far this build supports it.
//!
//! The table of all flags is in `flag_table`; command line, environment, configuration file and
//! `--help` are derived from it. Nothing here knows what a flag means.

use super::flag_table::GivenFlags;
use super::flag_value::{Input, InvalidValue};

/// The heading a flag stands under in `--help`, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Member,
    Backup,
    Clustering,
    Security,
    Auth,
    Monitoring,
    Logging,
    Tracing,
    Features,
    Unsafe,
    Start,
    Ignored,
}

impl Group {
    /// Those that `--help` lists.
    pub(crate) const SHOWN: [Self; 11] = [
        Self::Start,
        Self::Member,
        Self::Backup,
        Self::Clustering,
        Self::Security,
        Self::Auth,
        Self::Monitoring,
        Self::Logging,
        Self::Tracing,
        Self::Features,
        Self::Unsafe,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Member => "Member",
            Self::Backup => "Continuous backup",
            Self::Clustering => "Clustering",
            Self::Security => "Security",
            Self::Auth => "Auth",
            Self::Monitoring => "Profiling and monitoring",
            Self::Logging => "Logging",
            Self::Tracing => "Distributed tracing",
            Self::Features => "Features",
            Self::Unsafe => "Unsafe (may break the guarantees that consensus gives)",
            Self::Start => "General",
            Self::Ignored => "Ignored",
        }
    }
}

/// How far this build supports a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It does what its help says.
    Works,
    /// Cairn needs no such setting: accepted, without effect, for good.
    Moot,
    /// The same, and etcd's own words about its end when it is set.
    Deprecated(&'static str),
    /// Its feature comes later, and starting without it is safe: a warning when set.
    LaterWarn,
    /// etcd itself only accepts it.
    Ignored,
}

/// Where a flag stands in a configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKey {
    /// Under its own name.
    Same,
    /// Under these nested keys.
    Path(&'static [&'static str]),
    /// Nowhere: command line and environment only.
    Absent,
}

/// One row of the table.
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) group: Group,
    pub(crate) default: &'static str,
    pub(crate) state: State,
    pub(crate) file_key: FileKey,
    pub(crate) help: &'static str,
    /// May stand without a value, meaning `true`.
    pub(crate) is_bare: bool,
    pub(crate) store: fn(&mut GivenFlags, Input<'_>) -> Result<(), InvalidValue>,
    pub(crate) is_equal: fn(&GivenFlags, &GivenFlags) -> bool,
    pub(crate) to_json: fn(&GivenFlags) -> serde_json::Value,
}

impl Flag {
    /// The environment variable of this flag.
    pub(crate) fn env_name(&self) -> String {
        format!("ETCD_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }
}
