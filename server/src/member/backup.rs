//! The continuous backup: the thread that writes it while this member leads.
//!
//! What is written, and when, is `cairn_backup`'s; here are the clock, the store and who leads. The
//! apply thread puts what it has applied into the tail and goes on; it waits for nothing here. Members that
//! follow keep their tail too, so that whoever leads next can go on where the last one ended.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cairn_backend::Backend;
use cairn_backup::{
    Around, Environment, Error, Event, Key, Nonce, Start, Step, Tail, Writer, WriterOptions,
    check_store,
};
use cairn_consensus::{ClusterId, LogIndex};
use cairn_object_store::{AddressedStore, OpenError};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rand::TryRng;
use rand::rngs::SysRng;

use super::progress::Progress;
use crate::logging::Chain;
use crate::metrics::Metrics;
use crate::settings::BackupSettings;

/// How often the thread looks whether there is something to do.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The rest after a failure, doubled with each further one,
const REST_MIN: Duration = Duration::from_millis(500);
/// up to this.
const REST_MAX: Duration = Duration::from_secs(15);
/// How much goes into one object, at most about.
const SEGMENT_BYTES: usize = 4 << 20;

/// Why there can be no backup.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// The store.
    #[error("--backup-url: {0}")]
    Store(#[from] OpenError),
    /// The key file.
    #[error("--backup-key-file {path}: {reason}")]
    Key {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system gives no thread.
    #[error("starting the backup's thread: {0}")]
    Thread(#[from] io::Error),
}

/// A member's backup, as its apply thread and its pages see it.
pub(crate) struct Backup {
    /// What was applied last.
    pub tail: Tail,
    standing: Standing,
}

/// How a backup stands.
#[derive(Default)]
struct Standing {
    /// Whether this member writes it, and since when, in milliseconds since 1970; 0 if it does not.
    writes_since_ms: AtomicU64,
    /// Whether anything can be restored up to `index` and `revision`.
    covers: AtomicBool,
    index: AtomicU64,
    revision: AtomicU64,
}

/// What the thread works with.
pub(crate) struct BackupParts {
    /// Whose backup it is.
    pub cluster: ClusterId,
    /// What the member holds.
    pub backend: Backend,
    /// Whether it leads.
    pub progress: Arc<Progress>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Backup {
    /// Opens the store and starts the thread. It ends when the sender is dropped, and nobody waits for that:
    /// the store may not answer.
    ///
    /// # Errors
    ///
    /// [`BackupError`]. That the store answers is not looked at.
    pub(crate) fn start(
        settings: &BackupSettings,
        parts: BackupParts,
        start: Start,
    ) -> Result<(Arc<Self>, Sender<()>), BackupError> {
        let variables = std::env::vars_os();
        let variables = variables.filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let store = AddressedStore::open(&settings.url, settings.endpoint.as_deref(), variables)?;
        let options = WriterOptions {
            cluster: parts.cluster,
            interval: settings.interval,
            segment_bytes: SEGMENT_BYTES.min(settings.buffer_bytes / 2),
            base_interval: settings.base_interval,
            retention: settings.retention,
            key: read_key(settings)?,
        };
        let backup = Arc::new(Self {
            tail: Tail::new(settings.buffer_bytes, start),
            standing: Standing::default(),
        });
        let (alive, stopped) = bounded(0);
        let thread = BackupThread {
            writer: Writer::new(options),
            store,
            backend: parts.backend,
            cluster: parts.cluster,
            is_store_checked: false,
            surroundings: Surroundings {
                backup: Arc::clone(&backup),
                progress: parts.progress,
                metrics: parts.metrics,
                url: settings.url.clone(),
                stopped,
            },
        };
        let builder = thread::Builder::new().name("backup".to_owned());
        builder.spawn(move || thread.run())?;
        Ok((backup, alive))
    }

    /// Brings the numbers of the backup up to date; `revision` is the store's.
    pub(crate) fn measure(&self, metrics: &Metrics, revision: u64) {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let standing = &self.standing;
        let writes_since = standing.writes_since_ms.load(Ordering::Acquire);
        let covers = standing.covers.load(Ordering::Acquire);
        let covered = standing.revision.load(Ordering::Acquire);
        let (mut lag_ms, mut lag_revisions) = (0, 0);
        if writes_since > 0 {
            let index = LogIndex::new(standing.index.load(Ordering::Acquire));
            let waits_since = if covers {
                self.tail.lag(index).since_ms
            } else {
                Some(writes_since)
            };
            lag_ms = waits_since.map_or(0, |since| millis_now().saturating_sub(since));
            lag_revisions = revision.saturating_sub(if covers { covered } else { 0 });
        }
        metrics.backup_writes.set((writes_since > 0).into());
        metrics
            .backup_revision
            .set(number(if covers { covered } else { 0 }));
        metrics.backup_lag_revisions.set(number(lag_revisions));
        metrics.backup_lag_milliseconds.set(number(lag_ms));
    }
}

fn read_key(settings: &BackupSettings) -> Result<Option<Key>, BackupError> {
    let Some(path) = &settings.key_file else {
        return Ok(None);
    };
    let wrong = |reason: String| BackupError::Key {
        path: path.display().to_string(),
        reason,
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let key = Key::parse(&text).map_err(|error| wrong(error.to_string()))?;
    Ok(Some(key))
}

fn millis_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

impl Backup {
    /// Notes what was applied just now.
    pub(crate) fn applied(
        &self,
        entries: impl IntoIterator<Item = (cairn_consensus::RawEntry, u64)>,
    ) {
        self.tail.push(entries, millis_now());
    }
}

struct BackupThread {
    writer: Writer,
    store: AddressedStore,
    backend: Backend,
    cluster: ClusterId,
    is_store_checked: bool,
    surroundings: Surroundings,
}

impl BackupThread {
    fn run(mut self) {
        let mut failures = 0;
        loop {
            if self.surroundings.is_stopped(Duration::ZERO) {
                return;
            }
            let wait = if self.surroundings.leads() {
                self.surroundings.backup.standing.begins();
                match self.step() {
                    Ok(Step::Again) => {
                        failures = 0;
                        continue;
                    }
                    Ok(Step::Idle) => LOOK_INTERVAL,
                    Ok(Step::Wait(time)) => time.min(LOOK_INTERVAL),
                    Err(error) => {
                        self.surroundings.failed(&error);
                        let rest = REST_MIN * 2_u32.saturating_pow(failures);
                        failures = (failures + 1).min(8);
                        rest.min(REST_MAX)
                    }
                }
            } else {
                self.writer.rewind();
                self.surroundings.backup.standing.ends();
                failures = 0;
                LOOK_INTERVAL
            };
            if self.surroundings.is_stopped(wait) {
                return;
            }
        }
    }

    fn step(&mut self) -> Result<Step, Error> {
        if !self.is_store_checked {
            check_store(&self.store, self.cluster, self.surroundings.nonce()?)?;
            self.is_store_checked = true;
        }
        self.writer.step(&Around {
            store: &self.store,
            tail: &self.surroundings.backup.tail,
            backend: &self.backend,
            environment: &self.surroundings,
        })
    }
}

impl Standing {
    fn begins(&self) {
        if self.writes_since_ms.load(Ordering::Acquire) == 0 {
            self.writes_since_ms.store(millis_now(), Ordering::Release);
        }
    }

    fn ends(&self) {
        self.covers.store(false, Ordering::Release);
        self.writes_since_ms.store(0, Ordering::Release);
    }
}

/// Clock, chance and who leads.
struct Surroundings {
    backup: Arc<Backup>,
    progress: Arc<Progress>,
    metrics: Arc<Metrics>,
    /// The store's, to be told with what fails there.
    url: String,
    stopped: Receiver<()>,
}

impl Surroundings {
    /// Whether this member leads, and has applied an entry of its term: all that a leader before it can
    /// have put into the backup is then in its own log.
    fn leads(&self) -> bool {
        let progress = &self.progress;
        let applied_term = progress.applied_term();
        let term = progress.term();
        progress.role().leads() && applied_term == term && progress.term() == term
    }

    /// Waits; whether the thread is to end.
    fn is_stopped(&self, time: Duration) -> bool {
        self.stopped.recv_timeout(time) == Err(RecvTimeoutError::Disconnected)
    }

    fn failed(&self, error: &Error) {
        if matches!(error, Error::Stopped) {
            return;
        }
        self.metrics.backup_errors_total.inc();
        let error = Chain(error);
        let url = &self.url;
        tracing::warn!(url, %error, "the backup could not be written; it will be tried again");
    }

    fn succeeded(&self) {
        let seconds = i64::try_from(millis_now() / 1000).unwrap_or(i64::MAX);
        self.metrics.backup_last_success_seconds.set(seconds);
    }
}

impl Environment for Surroundings {
    fn now_ms(&self) -> u64 {
        millis_now()
    }

    fn nonce(&self) -> Result<Nonce, Error> {
        let mut nonce = Nonce::default();
        SysRng
            .try_fill_bytes(&mut nonce)
            .map_err(|_| Error::Chance)?;
        Ok(nonce)
    }

    fn rest(&self, time: Duration) {
        let end = Instant::now() + time;
        while self.goes_on() && Instant::now() < end {
            self.is_stopped(LOOK_INTERVAL);
        }
    }

    fn goes_on(&self) -> bool {
        self.leads() && !self.is_stopped(Duration::ZERO)
    }

    fn note(&self, event: Event<'_>) {
        let metrics = &self.metrics;
        match event {
            Event::Covered { revision, index } => {
                let standing = &self.backup.standing;
                standing.index.store(index.get(), Ordering::Release);
                standing.revision.store(revision, Ordering::Release);
                standing.covers.store(true, Ordering::Release);
                self.succeeded();
            }
            Event::Wrote { bytes } => {
                metrics.backup_objects_total.inc();
                metrics.backup_bytes_total.inc_by(bytes as u64);
                self.succeeded();
            }
            Event::Began { reason, revision } => {
                self.backup.standing.covers.store(false, Ordering::Release);
                tracing::info!(reason, revision, "the backup begins with a whole database");
            }
            Event::Base(base) => {
                metrics.backup_bases_total.inc();
                let (revision, bytes) = (base.revision(), base.bytes());
                tracing::info!(revision, bytes, "wrote a whole database to the backup");
            }
            Event::Deleted { objects } => {
                tracing::info!(objects, "deleted what is old from the backup");
            }
            Event::Failed(error) => self.failed(error),
        }
    }
}
