//! The backend: buffer and engine as one.
//!
//! ```text
//!            write()                      commit()
//!  writer ──────────▶ active ──seal──▶ sealed ──▶ engine
//!                        │                │           │
//!  reader ◀──────────────┴── Published ───┘    snapshot at open
//! ```
//!
//! Invariants:
//! 1. The engine's content, then `sealed`, then `active` written over it, is every ended batch.
//! 2. A batch is wholly in `active` or wholly in `sealed`: sealing takes the writer's lock.
//! 3. A seal is published before the engine sees it, and taken back after the engine has it, so
//!    a reader that loads `Published` and then opens the engine misses nothing.
//! 4. Once poisoned, nothing more is published, sealed or committed.
//!
//! Locks are taken in the order `committing`, `writer`; `published` is only ever swapped.

use std::io;
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::batch_tx::BatchTx;
use crate::buffer::Buffer;
use crate::committer::Committer;
use crate::engine::{Engine, EngineSize, SnapshotReader};
use crate::error::{CommitError, DefragmentError, OpenError, Poisoned, ReadError, SnapshotError};
use crate::read_tx::ReadTx;
use crate::signal::Signal;
use crate::table::Table;

/// How many times the size of a due batch may be buffered before a writer has to wait for the
/// engine: enough to ride out a slow sync, and bounded.
const BUFFERED_BATCHES_MAX: usize = 4;

/// Told once, when the backend is poisoned, on the thread that did it; it must not write or commit.
pub type PoisonHook = Arc<dyn Fn(&Poisoned) + Send + Sync>;

/// Told by the committer how long a commit took, if there was something to commit.
pub type CommitHook = Arc<dyn Fn(Duration) + Send + Sync>;

/// How a backend batches, and whom it tells.
#[derive(Clone)]
pub struct BackendOptions {
    /// A commit is due when so many puts and deletes are buffered.
    pub batch_ops_max: usize,
    /// A commit is due when so many bytes of keys and values are buffered.
    pub batch_bytes_max: usize,
    /// Told when the backend is poisoned, so that the process can be stopped.
    pub on_poison: Option<PoisonHook>,
    /// Told of every commit of the committer, for metrics.
    pub on_commit: Option<CommitHook>,
}

impl Default for BackendOptions {
    fn default() -> Self {
        Self {
            batch_ops_max: 10_000,
            batch_bytes_max: 16 * 1024 * 1024,
            on_poison: None,
            on_commit: None,
        }
    }
}

impl std::fmt::Debug for BackendOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackendOptions")
            .field("batch_ops_max", &self.batch_ops_max)
            .field("batch_bytes_max", &self.batch_bytes_max)
            .finish_non_exhaustive()
    }
}

/// A handle to the store; clones are the same store.
///
/// When the last is dropped, what is buffered is lost, as in a crash: commit before, or stop the
/// [`Committer`], which does.
#[derive(Clone)]
pub struct Backend {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Box<dyn Engine>,
    options: BackendOptions,
    committing: Mutex<()>,
    writer: Mutex<Writer>,
    published: ArcSwap<Published>,
    poison: OnceLock<Poisoned>,
    total_bytes: AtomicU64,
    in_use_bytes: AtomicU64,
    signal: Arc<Signal>,
}

/// What the one writer owns.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) active: Buffer,
}

/// What readers load.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// Ended batches that no commit has begun to write.
    pub(crate) active: Buffer,
    /// The batch that a commit is writing.
    pub(crate) sealed: Option<Arc<Buffer>>,
    /// How many buffers were ever sealed.
    pub(crate) seals: u64,
}

impl Backend {
    /// A backend over `engine`, with nothing buffered.
    ///
    /// # Errors
    ///
    /// If the engine cannot be read.
    pub fn open(engine: impl Engine, options: BackendOptions) -> Result<Self, OpenError> {
        let size = engine.size().map_err(OpenError::Size)?;
        let shared = Shared {
            engine: Box::new(engine),
            options,
            committing: Mutex::default(),
            writer: Mutex::default(),
            published: ArcSwap::default(),
            poison: OnceLock::new(),
            total_bytes: AtomicU64::new(size.total_bytes),
            in_use_bytes: AtomicU64::new(size.in_use_bytes),
            signal: Arc::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Begins a batch, when the writer before has ended its own.
    ///
    /// If writers are too far ahead of the engine, it first helps to commit. So a thread should
    /// not hold a [`ReadTx`] meanwhile: if LMDB's map has to grow, growth waits for it.
    #[must_use]
    pub fn write(&self) -> BatchTx<'_> {
        if self
            .shared
            .is_beyond(BUFFERED_BATCHES_MAX, &self.shared.published.load().active)
        {
            // A failure poisons, which `BatchTx::end` then reports.
            let _ = self.commit();
        }
        BatchTx::new(self, self.shared.writer.lock())
    }

    /// Opens a view of all batches that have ended.
    ///
    /// # Errors
    ///
    /// If the engine cannot be read.
    pub fn read(&self) -> Result<ReadTx, ReadError> {
        ReadTx::open(&*self.shared.engine, || self.shared.published.load_full())
    }

    /// Writes what is buffered to the engine: all batches that ended before are durable after.
    ///
    /// Writers and readers go on meanwhile; a second commit waits for the first.
    ///
    /// # Errors
    ///
    /// [`Poisoned`] if this commit fails or one before did.
    pub fn commit(&self) -> Result<(), Poisoned> {
        self.commit_pending().map(|_| ())
    }

    /// [`Backend::commit`]; answers whether there was something to commit.
    pub(crate) fn commit_pending(&self) -> Result<bool, Poisoned> {
        let shared = &*self.shared;
        let _turn = shared.committing.lock();
        shared.check_poison()?;
        let Some(sealed) = shared.seal() else {
            return Ok(false);
        };
        shared
            .engine
            .commit(&sealed)
            .map_err(|cause| shared.poison(cause))?;
        shared.published.rcu(|published| Published {
            active: published.active.clone(),
            sealed: None,
            seals: published.seals,
        });
        shared.refresh_size();
        Ok(true)
    }

    /// [`Backend::commit`], under the name for callers that need the durability now.
    ///
    /// # Errors
    ///
    /// As [`Backend::commit`].
    pub fn force_commit(&self) -> Result<(), Poisoned> {
        self.commit()
    }

    /// Starts the thread that commits every `interval`, and sooner when a batch is due. One is
    /// enough; start another only after the first is dropped.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub fn spawn_committer(&self, interval: Duration) -> io::Result<Committer> {
        let Shared {
            signal, options, ..
        } = &*self.shared;
        Committer::spawn(
            self.clone(),
            Arc::clone(signal),
            interval,
            options.on_commit.clone(),
        )
    }

    /// A copy of all batches that have ended, as a stream; writes go on while it is read.
    ///
    /// # Errors
    ///
    /// If what is buffered cannot be committed, or the copy cannot be made.
    pub fn snapshot(&self) -> Result<Box<dyn SnapshotReader>, SnapshotError> {
        self.commit()?;
        self.shared.engine.copy()
    }

    /// Gives free room back to the file system while reads and writes go on.
    ///
    /// # Errors
    ///
    /// If it could not be done; but for [`DefragmentError::Poisoned`] and
    /// [`DefragmentError::Swap`], which stop all writing, the database is as before.
    pub fn defragment(&self) -> Result<(), DefragmentError> {
        self.shared.check_poison()?;
        let done = self
            .shared
            .engine
            .defragment()
            .map_err(|error| match error {
                DefragmentError::Swap(cause) => self.shared.poison(cause).into(),
                other => other,
            });
        self.shared.refresh_size();
        done
    }

    /// CRC-32C over every table's name and its entries in order, but for what belongs to this
    /// member alone ([`Table::is_member_local`]).
    ///
    /// # Errors
    ///
    /// If the engine cannot be read.
    pub fn hash(&self) -> Result<u32, ReadError> {
        let view = self.read()?;
        let mut hash = 0;
        for table in Table::ALL {
            hash = table.hash_name(hash);
            view.scan(
                table,
                (Bound::Unbounded, Bound::Unbounded),
                &mut |key, value| {
                    hash = table.hash_entry(hash, key, value);
                    ControlFlow::Continue(())
                },
            )?;
        }
        Ok(hash)
    }

    /// What the database occupied on disk after the last commit, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.shared.total_bytes.load(Ordering::Relaxed)
    }

    /// The part of [`Backend::size`] that holds data.
    #[must_use]
    pub fn size_in_use(&self) -> u64 {
        self.shared.in_use_bytes.load(Ordering::Relaxed)
    }

    /// Why nothing more may be written, if a commit failed.
    #[must_use]
    pub fn poisoned(&self) -> Option<&Poisoned> {
        self.shared.poison.get()
    }

    /// Lets readers see what `writer` has written.
    pub(crate) fn publish(&self, writer: &mut Writer) -> Result<(), Poisoned> {
        let shared = &*self.shared;
        shared.check_poison()?;
        shared.published.rcu(|published| Published {
            active: writer.active.clone(),
            sealed: published.sealed.clone(),
            seals: published.seals,
        });
        if shared.is_beyond(1, &writer.active) {
            shared.signal.due();
        }
        Ok(())
    }

    /// Refuses all writes from now on.
    #[cold]
    pub(crate) fn poison(&self, cause: CommitError) -> Poisoned {
        self.shared.poison(cause)
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend")
            .field("size", &self.size())
            .field("poisoned", &self.poisoned())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Moves what is buffered aside for a commit; nothing if nothing is.
    fn seal(&self) -> Option<Arc<Buffer>> {
        let mut writer = self.writer.lock();
        if writer.active.is_empty() {
            return None;
        }
        let sealed = Arc::new(std::mem::take(&mut writer.active));
        self.published.rcu(|published| {
            assert!(published.sealed.is_none(), "two commits at once");
            Published {
                active: Buffer::default(),
                sealed: Some(Arc::clone(&sealed)),
                seals: published.seals + 1,
            }
        });
        Some(sealed)
    }

    fn is_beyond(&self, batches: usize, buffer: &Buffer) -> bool {
        buffer.ops() >= self.options.batch_ops_max.saturating_mul(batches)
            || buffer.bytes() >= self.options.batch_bytes_max.saturating_mul(batches)
    }

    fn check_poison(&self) -> Result<(), Poisoned> {
        self.poison
            .get()
            .map_or(Ok(()), |poisoned| Err(poisoned.clone()))
    }

    #[cold]
    fn poison(&self, cause: CommitError) -> Poisoned {
        let mut first = false;
        let poisoned = self.poison.get_or_init(|| {
            first = true;
            Poisoned {
                cause: Arc::new(cause),
            }
        });
        if first && let Some(hook) = &self.options.on_poison {
            hook(poisoned);
        }
        poisoned.clone()
    }

    /// Keeps the size at hand; where it cannot be learnt, the last one stands.
    fn refresh_size(&self) {
        if let Ok(EngineSize {
            total_bytes,
            in_use_bytes,
        }) = self.engine.size()
        {
            self.total_bytes.store(total_bytes, Ordering::Relaxed);
            self.in_use_bytes.store(in_use_bytes, Ordering::Relaxed);
        }
    }
}
