//! The backend: buffer and engine as one.
//!
//! ```text
//!            write()                      commit()
//!  writer ──────────▶ active ──seal──▶ sealed ──▶ engine
//!                        │                │           │
//!  reader ◀──────────────┴── Published ───┘    snapshot at open
//! ```
//!
//! An installation publishes another engine with empty buffers, in one step. So the engine is among
//! what is published, and a view has engine and buffers that belong together.
//!
//! Invariants:
//! 1. The engine's content, then `sealed`, then `active` written over it, is every ended batch.
//! 2. A batch is wholly in `active` or wholly in `sealed`: sealing takes the writer's lock.
//! 3. A seal is published before the engine sees it, and taken back after the engine has it, so
//!    a reader that loads `Published` and then opens the engine misses nothing.
//!    What the engine had no space for stays sealed until a later commit has written it.
//! 4. Once poisoned, nothing more is published, sealed, committed or installed.
//!
//! Locks are taken in the order `committing`, `writer`, then the engine's own; `published` is only
//! ever swapped. A commit takes both, one after the other; an installation holds both, so the engine
//! is never replaced under a commit or a batch. Reads, copies and defragmentations take neither: they
//! work on the engine that they found, to the end.

use std::io;
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::applied::Applied;
use crate::batch_tx::BatchTx;
use crate::buffer::Buffer;
use crate::committer::Committer;
use crate::engine::{Engine, EngineSize};
use crate::error::{
    CommitError, DefragmentError, InstallError, OpenError, Poisoned, ReadError, ReceiveError,
    SnapshotError, Uncommitted,
};
use crate::installing::Installing;
use crate::read_tx::ReadTx;
use crate::receiver::SnapshotReceiver;
use crate::sender::SnapshotSender;
use crate::signal::Signal;
use crate::table::Table;

/// How many times the size of a due batch may be buffered before a writer has to wait for the
/// engine: enough to ride out a slow sync, and bounded.
const BUFFERED_BATCHES_MAX: usize = 4;

/// Told once, when the backend is poisoned, on the thread that did it; it must not write or commit.
pub type PoisonHook = Arc<dyn Fn(&Poisoned) + Send + Sync>;

/// Told when commits begin to fail for want of space, with the failure, and with none when they
/// succeed again; it must not write or commit.
pub type SpaceHook = Arc<dyn Fn(Option<&CommitError>) + Send + Sync>;

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
    /// Told when there is no space for what is buffered, and when there is again.
    pub on_space: Option<SpaceHook>,
    /// Told of every commit of the committer, for metrics.
    pub on_commit: Option<CommitHook>,
}

impl Default for BackendOptions {
    fn default() -> Self {
        Self {
            batch_ops_max: 10_000,
            batch_bytes_max: 16 * 1024 * 1024,
            on_poison: None,
            on_space: None,
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
    options: BackendOptions,
    committing: Mutex<()>,
    writer: Mutex<Writer>,
    published: ArcSwap<Published>,
    poison: OnceLock<Poisoned>,
    /// Why the last commit found no space.
    no_space: Mutex<Option<Arc<CommitError>>>,
    total_bytes: AtomicU64,
    in_use_bytes: AtomicU64,
    /// How many senders there are.
    sending: Arc<AtomicUsize>,
    /// How many views are open.
    reading: Arc<AtomicUsize>,
    signal: Arc<Signal>,
}

/// What the one writer owns.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) active: Buffer,
}

/// What readers load.
pub(crate) struct Published {
    /// What keeps the committed tables.
    pub(crate) engine: Arc<dyn Engine>,
    /// Ended batches that no commit has begun to write.
    pub(crate) active: Buffer,
    /// The batch that a commit is writing.
    pub(crate) sealed: Option<Arc<Buffer>>,
    /// How many buffers were ever sealed, and databases installed.
    pub(crate) seals: u64,
}

impl Backend {
    /// A backend over `engine`, with nothing buffered. What it has received and overtaken is deleted.
    ///
    /// # Errors
    ///
    /// If the engine cannot be read.
    pub fn open(engine: impl Engine, options: BackendOptions) -> Result<Self, OpenError> {
        let size = engine.size().map_err(OpenError::Read)?;
        let shared = Shared {
            options,
            committing: Mutex::default(),
            writer: Mutex::default(),
            published: ArcSwap::from_pointee(Published::empty(Arc::new(engine))),
            poison: OnceLock::new(),
            no_space: Mutex::default(),
            total_bytes: AtomicU64::new(size.total_bytes),
            in_use_bytes: AtomicU64::new(size.in_use_bytes),
            sending: Arc::default(),
            reading: Arc::default(),
            signal: Arc::default(),
        };
        let backend = Self {
            shared: Arc::new(shared),
        };
        let ours = backend.read().and_then(|view| Applied::read(&view));
        backend.discard_all_received(ours.map_err(OpenError::Read)?)?;
        Ok(backend)
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
            // A failure poisons, which `BatchTx::end` then reports; without space it goes on for a
            // while.
            if let Err(Uncommitted::NoSpace { cause }) = self.commit() {
                self.shared.bound_waiting(&cause);
            }
        }
        BatchTx::new(self, self.shared.writer.lock())
    }

    /// Opens a view of all batches that have ended.
    ///
    /// # Errors
    ///
    /// If the engine cannot be read.
    pub fn read(&self) -> Result<ReadTx, ReadError> {
        ReadTx::open(&self.shared.reading, || self.shared.published.load_full())
    }

    /// How many views of [`Self::read`] are open.
    #[must_use]
    pub fn open_reads(&self) -> usize {
        self.shared.reading.load(Ordering::Relaxed)
    }

    /// Writes what is buffered to the engine: all batches that ended before are durable after.
    ///
    /// Writers and readers go on meanwhile; a second commit waits for the first.
    ///
    /// # Errors
    ///
    /// [`Uncommitted::Poisoned`] if this commit fails or one before did, [`Uncommitted::NoSpace`] if
    /// it can be tried again.
    pub fn commit(&self) -> Result<(), Uncommitted> {
        self.commit_pending().map(|_| ())
    }

    /// [`Backend::commit`]; answers whether there was something to commit.
    pub(crate) fn commit_pending(&self) -> Result<bool, Uncommitted> {
        let shared = &*self.shared;
        let _turn = shared.committing.lock();
        shared.check_poison()?;
        // What an earlier commit found no space for comes first.
        let held = shared.published.load().sealed.clone();
        if let Some(held) = &held {
            shared.write_sealed(held)?;
        }
        let sealed = shared.seal();
        if let Some(sealed) = &sealed {
            shared.write_sealed(sealed)?;
        }
        Ok(held.is_some() || sealed.is_some())
    }

    /// [`Backend::commit`], under the name for callers that need the durability now.
    ///
    /// # Errors
    ///
    /// As [`Backend::commit`].
    pub fn force_commit(&self) -> Result<(), Uncommitted> {
        self.commit()
    }

    /// Why what is buffered waits for space, if it does.
    #[must_use]
    pub fn no_space(&self) -> Option<Arc<CommitError>> {
        self.shared.no_space.lock().clone()
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

    /// All batches that have ended, for another member; writes go on while it is read.
    ///
    /// # Errors
    ///
    /// If the engine cannot be read, or no [`Applied`] was ever stored.
    pub fn send(&self) -> Result<SnapshotSender, SnapshotError> {
        SnapshotSender::new(self.read()?, self.size_in_use(), &self.shared.sending)
    }

    /// Whether the database is being sent to another member. Pages that are freed meanwhile are not
    /// used again, so deleting much makes the file grow: that can wait.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        self.shared.sending.load(Ordering::Relaxed) > 0
    }

    /// Takes in the database of another member, beside this one.
    ///
    /// # Errors
    ///
    /// If there is no place for it.
    pub fn receive(&self) -> Result<SnapshotReceiver, ReceiveError> {
        Ok(SnapshotReceiver::new(self.shared.engine().receive()?))
    }

    /// The databases that were received whole and wait to be installed, in their order. They outlive
    /// a crash; what a crash cut off, and what ours has overtaken, is gone at the next start.
    #[must_use]
    pub fn received(&self) -> Vec<Applied> {
        self.shared.engine().received()
    }

    /// A view of a received database; `None` if there is none such.
    ///
    /// # Errors
    ///
    /// If it cannot be opened or read.
    pub fn read_received(&self, applied: Applied) -> Result<Option<ReadTx>, OpenError> {
        let engine = self.shared.engine();
        let snapshot = engine.read_received(applied)?;
        Ok(snapshot.map(|snapshot| ReadTx::of(snapshot, engine)))
    }

    /// Deletes a received database, if it is there: for whoever finds that nobody will install it.
    ///
    /// # Errors
    ///
    /// If its file cannot be deleted.
    pub fn discard_received(&self, applied: Applied) -> Result<(), OpenError> {
        self.shared.engine().discard_received(applied)
    }

    /// Puts a received database durably in the place of this one. Readers see it, all at once, when
    /// what is returned ends; older views stay what they are. Older received databases are deleted.
    ///
    /// A crash leaves the one or the other, whole.
    ///
    /// # Errors
    ///
    /// [`InstallError`]; but for [`InstallError::Poisoned`] and [`InstallError::Swap`], which stop
    /// all writing, all is as before.
    pub fn begin_install(&self, received: Applied) -> Result<Installing<'_>, InstallError> {
        let shared = &*self.shared;
        let committing = shared.committing.lock();
        let writer = shared.writer.lock();
        shared.check_poison()?;
        let ours = Applied::read(&self.read()?)?;
        if received.index <= ours.index {
            return Err(InstallError::NotAhead { received, ours });
        }
        let engine = shared
            .engine()
            .install(received)
            .map_err(|error| match error {
                InstallError::Swap(cause) => shared.poison(cause).into(),
                other => other,
            })?;
        // The new file is in place, so it must be shown, whether its size can be learnt or not.
        let size = engine.size().unwrap_or_default();
        // What waited for space is in what takes its place.
        shared.end_waiting();
        Ok(Installing {
            backend: self,
            engine,
            size,
            writer,
            _committing: committing,
        })
    }

    /// Takes up at a start what a crash may have cut off. `log_begins_after` is where the log begins:
    /// if that is ahead of the tables, what was received of it is installed, and given back. All else
    /// that was received is deleted, as the log was never told of it.
    ///
    /// # Errors
    ///
    /// [`InstallError::NotReceived`] if log and tables do not belong together: nothing leads from the
    /// tables to where the log begins. Otherwise as [`Backend::begin_install`].
    pub fn resume_install(
        &self,
        log_begins_after: Applied,
    ) -> Result<Option<Applied>, InstallError> {
        let ours = Applied::read(&self.read()?)?;
        let behind = ours.index < log_begins_after.index;
        if behind {
            self.begin_install(log_begins_after)?.end();
        }
        self.discard_all_received(Applied::MAX)?;
        Ok(behind.then_some(log_begins_after))
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
            .engine()
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
            engine: Arc::clone(&published.engine),
            active: writer.active.clone(),
            sealed: published.sealed.clone(),
            seals: published.seals,
        });
        if shared.is_beyond(1, &writer.active) {
            shared.signal.due();
        }
        Ok(())
    }

    /// Deletes all received databases up to a place.
    fn discard_all_received(&self, upto: Applied) -> Result<(), OpenError> {
        let mut received = self.received().into_iter().filter(|it| *it <= upto);
        received.try_for_each(|it| self.discard_received(it))
    }

    /// Shows readers another engine, and nothing buffered.
    pub(crate) fn replace(&self, engine: &Arc<dyn Engine>, size: EngineSize) {
        self.shared.published.rcu(|published| Published {
            seals: published.seals + 1,
            ..Published::empty(Arc::clone(engine))
        });
        self.shared.keep_size(size);
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
    /// Writes what is moved aside. Without space it stays there, for the next commit.
    fn write_sealed(&self, sealed: &Buffer) -> Result<(), Uncommitted> {
        match self.engine().commit(sealed) {
            Ok(()) => {}
            Err(cause @ CommitError::NoSpace { .. }) => return Err(self.wait_for_space(cause)),
            Err(cause) => return Err(self.poison(cause).into()),
        }
        self.published.rcu(|published| Published {
            engine: Arc::clone(&published.engine),
            active: published.active.clone(),
            sealed: None,
            seals: published.seals,
        });
        self.refresh_size();
        self.end_waiting();
        Ok(())
    }

    #[cold]
    fn wait_for_space(&self, cause: CommitError) -> Uncommitted {
        let cause = Arc::new(cause);
        let is_new = self.no_space.lock().replace(Arc::clone(&cause)).is_none();
        if is_new && let Some(hook) = &self.options.on_space {
            hook(Some(&cause));
        }
        Uncommitted::NoSpace { cause }
    }

    fn end_waiting(&self) {
        let was_waiting = self.no_space.lock().take().is_some();
        if was_waiting && let Some(hook) = &self.options.on_space {
            hook(None);
        }
    }

    /// Poisons a backend that has waited for space so long that what is buffered is too much.
    fn bound_waiting(&self, cause: &Arc<CommitError>) {
        let published = self.published.load();
        if self.is_beyond(2 * BUFFERED_BATCHES_MAX, &published.active) {
            self.poison_shared(Arc::clone(cause));
        }
    }

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
                engine: Arc::clone(&published.engine),
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
        self.poison_shared(Arc::new(cause))
    }

    fn poison_shared(&self, cause: Arc<CommitError>) -> Poisoned {
        let mut first = false;
        let poisoned = self.poison.get_or_init(|| {
            first = true;
            Poisoned { cause }
        });
        if first && let Some(hook) = &self.options.on_poison {
            hook(poisoned);
        }
        poisoned.clone()
    }

    /// Keeps the size at hand; where it cannot be learnt, the last one stands.
    fn refresh_size(&self) {
        if let Ok(size) = self.engine().size() {
            self.keep_size(size);
        }
    }

    fn keep_size(&self, size: EngineSize) {
        let EngineSize {
            total_bytes,
            in_use_bytes,
        } = size;
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
        self.in_use_bytes.store(in_use_bytes, Ordering::Relaxed);
    }

    /// What keeps the committed tables now.
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.published.load().engine)
    }
}
