//! Settings: what the command line, the environment or a configuration file ask of a member.
//!
//! [`read`] turns them into one immutable [`Settings`] whose values are known to fit together;
//! nobody checks them again. Flags, their defaults and their help are rows of `flag_table`.
//! Nothing is opened, bound or logged here, and nothing here knows whether the data directory
//! already holds a member: what counts only for a first start is in [`FirstStart`].

mod assembly;
mod auth;
mod backup;
mod cipher_suite;
mod command_line;
mod config_file;
mod discovery;
mod duration;
mod environment;
mod error;
mod feature_gate;
mod first_start;
mod flag;
mod flag_table;
mod flag_value;
mod help;
mod jwt;
mod later;
mod log;
mod notice;
mod tls;
mod url;
mod version;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use self::auth::{AuthSettings, TokenSettings};
use cairn_consensus::MemberId;
use cairn_replica::identity::member_at_bootstrap;

pub(crate) use self::backup::BackupSettings;
pub(crate) use self::discovery::{Discovery, RegistrySettings, SrvSettings};
pub(crate) use self::duration::FlagDuration;
pub(crate) use self::error::SettingsError;
pub(crate) use self::feature_gate::FeatureGates;
pub(crate) use self::first_start::{FirstStart, InitialMember, JoinedCluster, NewCluster};
pub(crate) use self::jwt::{Algorithm, Digest, JwtSettings};
pub(crate) use self::log::{LogFormat, LogLevel, LogOutput, LogSettings};
pub(crate) use self::notice::Notice;
pub(crate) use self::tls::{
    AllowedSubjects, Callers, GeneratedIdentity, KeyPairFiles, ProxyTls, ServiceTls, TlsEndpoint,
    TlsIdentity, TlsKind, TlsProtocol, TlsSettings, TlsVersions,
};
pub(crate) use self::url::{ListenAddress, ListenUrl, Place, Protection, Url};
pub(crate) use cairn_replica::quota::Quota;

pub(crate) use self::version::{CAIRN_VERSION, CLUSTER_VERSION, ETCD_VERSION};

/// What a start of the binary is to do.
#[derive(Debug)]
pub(crate) enum Invocation {
    /// Print this text on stdout and leave with success.
    Print(String),
    /// Run a member.
    Serve(Box<Settings>),
}

/// Reads everything a user can say to a member.
///
/// `arguments` come without the program's name; `environment` is every variable;
/// `read_file` reads the configuration file, if one is named.
///
/// # Errors
///
/// [`SettingsError`]: its text is for the user, its exit code for the process.
pub(crate) fn read(
    arguments: &[String],
    environment: &[(String, String)],
    read_file: impl FnOnce(&str) -> std::io::Result<String>,
) -> Result<Invocation, SettingsError> {
    use self::command_line::CommandLine;

    let (mut given, mut named) = match command_line::read_command_line(arguments)? {
        CommandLine::Help => return Ok(Invocation::Print(help::help_text())),
        CommandLine::Version => return Ok(Invocation::Print(version::version_text())),
        CommandLine::Flags { given, named } => (given, named),
    };
    let mut notices = Vec::new();
    let config_file = config_file_path(&given.config_file, environment);
    let source = if let Some(path) = config_file {
        let text = read_file(&path).map_err(|source| SettingsError::FileUnreadable {
            path: path.clone(),
            source,
        })?;
        let (from_file, named_in_file) = config_file::read_config_file(&path, &text, &mut notices)?;
        *given = from_file;
        named = named_in_file;
        let loaded = "loaded server configuration, other configuration command line flags and \
                      environment variables will be ignored if provided";
        notices.push(Notice::info(loaded).about(&path));
        Source::File
    } else {
        environment::read_environment(environment, &mut given, &mut named, &mut notices)?;
        Source::Flags
    };
    assembly::assemble(&given, &named, source, notices).map(|it| Invocation::Serve(Box::new(it)))
}

/// [`read`], with this process's own arguments and variables.
///
/// What is not UTF-8 is read as far as it is; paths beyond it cannot be given.
///
/// # Errors
///
/// As [`read`].
pub(crate) fn read_process() -> Result<Invocation, SettingsError> {
    let text = |it: std::ffi::OsString| it.to_string_lossy().into_owned();
    let arguments: Vec<String> = std::env::args_os().skip(1).map(text).collect();
    let environment: Vec<(String, String)> = std::env::vars_os()
        .map(|(name, value)| (text(name), text(value)))
        .collect();
    read(&arguments, &environment, |path| {
        std::fs::read_to_string(path)
    })
}

fn config_file_path(flag: &str, environment: &[(String, String)]) -> Option<String> {
    let from_variable = || {
        let found = environment
            .iter()
            .find(|(name, _)| name == "ETCD_CONFIG_FILE");
        found.map(|(_, value)| value.as_str())
    };
    let path = if flag.is_empty() {
        from_variable()?
    } else {
        flag
    };
    (!path.is_empty()).then(|| path.to_owned())
}

/// Where the settings came from: a few rules of etcd hold for flags alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Flags,
    File,
}

/// The settings of a member, checked.
///
/// Invariants:
/// 1. Every listening address can be bound to as it stands, and at least one is for clients.
/// 2. The election timeout is at least five heartbeats and at most 50 s.
/// 3. No setting that this build cannot honour safely has a value of the user's choosing.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The member's name.
    pub name: String,
    /// All data lives below it.
    pub data_dir: PathBuf,
    /// The log's own directory, if it is not to be in the data directory.
    pub wal_dir: Option<PathBuf>,
    /// Where to listen.
    pub listen: ListenSettings,
    /// Certificates, and who may connect.
    pub tls: TlsSettings,
    /// What member lists show.
    pub advertise: AdvertiseSettings,
    /// What a member that has no data yet starts with; read through [`Settings::first_start`].
    bootstrap: first_start::Bootstrap,
    /// Time and size of the replicated log.
    pub raft: RaftSettings,
    /// Commits to the database, and its limit.
    pub backend: BackendSettings,
    /// Limits of a request.
    pub limits: RequestLimits,
    /// Pings on client connections.
    pub keepalive: KeepaliveSettings,
    /// Compaction: when by itself, and how gently.
    pub compaction: CompactionSettings,
    /// Time between progress notices to watchers that asked for them.
    pub watch_progress_interval: Duration,
    /// What counts as slow.
    pub slow: SlowThresholds,
    /// The continuous backup, if there is to be one.
    pub backup: Option<BackupSettings>,
    /// How users are known.
    pub auth: AuthSettings,
    /// Who may speak HTTP.
    pub http: HttpSettings,
    /// The log of events, for people.
    pub log: LogSettings,
    /// How much is measured.
    pub metrics_detail: MetricsDetail,
    /// Features switched by name.
    pub feature_gates: FeatureGates,
    /// To be logged first thing.
    pub notices: Vec<Notice>,
    /// Every flag with its effective value, for the line that announces the start.
    effective: serde_json::Map<String, serde_json::Value>,
}

impl Settings {
    /// How long a request may take: queueing, disk, and an election in between.
    #[must_use]
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + 2 * self.raft.election_timeout
    }

    /// Every flag and its effective value, as the members of one JSON object.
    #[must_use]
    pub(crate) fn effective_json(&self) -> String {
        serde_json::Value::from(self.effective.clone()).to_string()
    }

    /// What a member without data starts with. On a restart this is not asked: the flags it
    /// comes from are then ignored.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] if the flags contradict each other or ask for more than one member.
    pub(crate) fn first_start(&self) -> Result<FirstStart, SettingsError> {
        self.bootstrap
            .first_start(&self.name, &self.advertise.peers)
    }

    /// Whom to ask for the members of a new cluster.
    #[must_use]
    pub(crate) const fn discovery(&self) -> &Discovery {
        self.bootstrap.discovery()
    }

    /// What a member that has no data yet starts with, among members that were found: the text of
    /// `--initial-cluster`.
    ///
    /// # Errors
    ///
    /// As [`Settings::first_start`].
    pub(crate) fn first_start_among(&self, members: String) -> Result<FirstStart, SettingsError> {
        let bootstrap = self.bootstrap.with_members(members);
        bootstrap.first_start(&self.name, &self.advertise.peers)
    }

    /// This member before the others are known: its number, and its entry in `--initial-cluster`.
    #[must_use]
    pub(crate) fn own_entry(&self, token: &str) -> (MemberId, String) {
        let urls = &self.advertise.peers;
        let entries: Vec<_> = urls
            .iter()
            .map(|url| format!("{}={url}", self.name))
            .collect();
        (member_at_bootstrap(urls, token), entries.join(","))
    }
}

/// Where to listen, and how sockets are opened.
#[derive(Clone, Debug)]
pub(crate) struct ListenSettings {
    /// For other members.
    pub peers: Vec<ListenUrl>,
    /// For clients: gRPC, and HTTP unless `http` has addresses.
    pub clients: Vec<ListenUrl>,
    /// For HTTP alone.
    pub http: Vec<ListenUrl>,
    /// For metrics and health alone.
    pub metrics: Vec<ListenUrl>,
    /// Set `SO_REUSEPORT`.
    pub reuse_port: bool,
}

/// What member lists show, to the letter.
#[derive(Clone, Debug)]
pub(crate) struct AdvertiseSettings {
    /// For other members.
    pub peers: Vec<Url>,
    /// For clients.
    pub clients: Vec<Url>,
}

/// Time and size of the replicated log.
#[derive(Clone, Debug)]
pub(crate) struct RaftSettings {
    /// One tick: the time between heartbeats.
    pub heartbeat: Duration,
    /// The election timeout, rounded down to whole heartbeats.
    pub election_timeout: Duration,
    /// The same in ticks.
    pub election_ticks: u32,
    /// Ticks that a member which has just started need not wait for a leader once others are there.
    pub initial_ticks: Option<usize>,
    /// Ask for votes before raising the term.
    pub pre_vote: bool,
    /// Applied entries after which the log is shortened.
    pub snapshot_entries: u64,
    /// Entries kept when it is.
    pub catchup_entries: u64,
    /// Whether a write waits for the disk; without that a crash may lose and corrupt everything.
    pub syncs: bool,
    /// Refuse changes of the members that could cost the quorum.
    pub strict_reconfig_check: bool,
    /// Learners that there may be at a time.
    pub learners_max: usize,
    /// Go on alone, without the other members.
    pub force_new_cluster: bool,
    /// When members' data is compared.
    pub corruption_checks: CorruptionChecks,
}

/// When members' data is compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CorruptionChecks {
    /// Before clients are served.
    pub at_start: bool,
    /// Time between two looks at the latest revision.
    pub every: Option<Duration>,
    /// Time between two looks at what was left by the latest compaction.
    pub compacted_every: Option<Duration>,
}

/// Commits to the database, and its limit.
#[derive(Clone, Debug)]
pub(crate) struct BackendSettings {
    /// Longest time between two commits.
    pub batch_interval: Duration,
    /// Operations after which a commit is due.
    pub batch_ops_max: usize,
    /// Where writes stop.
    pub quota: Quota,
    /// What is kept free on the disks of database and log.
    pub disk_reserve_bytes: u64,
    /// Bytes that a defragmentation at the start must free to be worth it; none never does one.
    pub defragment_at_start: Option<NonZeroU64>,
    /// How long space must have been back until writes go on by themselves.
    pub alarm_clear_delay: Duration,
}

/// Limits of a request.
#[derive(Clone, Debug)]
pub(crate) struct RequestLimits {
    /// Operations in one transaction.
    pub txn_ops_max: usize,
    /// Bytes of one request.
    pub request_bytes_max: usize,
    /// Bytes that answers hold until they are read, all together.
    pub unread_bytes_max: usize,
    /// Streams on one connection.
    pub concurrent_streams_max: u32,
}

/// Pings on client connections.
#[derive(Clone, Debug)]
pub(crate) struct KeepaliveSettings {
    /// A client that pings faster is sent away.
    pub client_ping_interval_min: Duration,
    /// The server's own pings; `None` is gRPC's own measure, two hours and twenty seconds.
    pub server_ping: Option<ServerPing>,
}

/// The server's pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerPing {
    /// Silence after which a client is pinged.
    pub interval: Duration,
    /// Time for its answer.
    pub timeout: Duration,
}

/// Compaction: when by itself, and how gently.
#[derive(Clone, Debug)]
pub(crate) struct CompactionSettings {
    /// `None`: only when a client asks.
    pub auto: Option<AutoCompaction>,
    /// Revisions deleted in one batch.
    pub batch_revisions: usize,
    /// Rest between batches.
    pub batch_rest: Duration,
}

/// What the server compacts by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AutoCompaction {
    /// Keeps the history of this time.
    Periodic(Duration),
    /// Keeps this many revisions.
    Revisions(NonZeroU64),
}

/// What counts as slow and is named in the log.
#[derive(Clone, Debug)]
pub(crate) struct SlowThresholds {
    /// Applying one entry.
    pub apply: Duration,
    /// Answering one unary request.
    pub unary_request: Duration,
}

/// Who may speak HTTP, and to what.
#[derive(Clone, Debug)]
pub(crate) struct HttpSettings {
    /// Origins that browsers may call from.
    pub cors: Allowed,
    /// Host names that plaintext requests may carry.
    pub hosts: Allowed,
    /// Serve the JSON gateway.
    pub gateway: bool,
    /// Serve the second API.
    pub v2: bool,
}

/// Everything, or what is in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// No limit.
    All,
    /// These alone.
    Only(BTreeSet<String>),
}

impl Allowed {
    /// Whether `name` is allowed.
    #[must_use]
    pub(crate) fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricsDetail {
    /// Counts.
    Basic,
    /// Counts and a histogram of gRPC latency.
    Extensive,
}
