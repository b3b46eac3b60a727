//! The two engines, each with a disk that survives a crash of the backend over it.

use std::ops::{Bound, ControlFlow};
use std::path::Path;

use cairn_backend::{
    Backend, BackendOptions, Engine, LmdbEngine, LmdbOptions, MemoryEngine, OpenError, ReadTx,
    Table,
};
use tempfile::TempDir;

/// Everything, as bounds.
pub(crate) const ALL: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Unbounded, Bound::Unbounded);

/// A place where one backend at a time can live.
pub(crate) trait Disk {
    /// Opens a backend over what was committed.
    fn open_with(&self, options: BackendOptions) -> Backend;

    fn open(&self) -> Backend {
        self.open_with(BackendOptions::default())
    }
}

/// A directory for LMDB.
pub(crate) struct LmdbDisk {
    directory: TempDir,
    options: LmdbOptions,
}

impl LmdbDisk {
    pub(crate) fn new() -> Self {
        Self::with_options(LmdbOptions::default())
    }

    pub(crate) fn with_options(options: LmdbOptions) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            options,
        }
    }

    /// With a map that must grow, and small pieces of defragmentation.
    pub(crate) fn small() -> Self {
        Self::with_options(LmdbOptions {
            map_bytes: 64 * 1024,
            defragment_piece_bytes: 16 * 1024,
            ..LmdbOptions::default()
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn engine(&self) -> LmdbEngine {
        let open = || LmdbEngine::open(self.path(), self.options.clone());
        // A process that another test is starting has for a moment all files that are open here, and
        // so the lock of the engine before.
        for _ in 0..100_000 {
            match open() {
                Err(OpenError::InUse { .. }) => std::thread::yield_now(),
                opened => return opened.unwrap(),
            }
        }
        open().unwrap()
    }
}

impl Disk for LmdbDisk {
    fn open_with(&self, options: BackendOptions) -> Backend {
        Backend::open(self.engine(), options).unwrap()
    }
}

impl Disk for MemoryEngine {
    fn open_with(&self, options: BackendOptions) -> Backend {
        let engine: Self = self.clone();
        Backend::open(engine, options).unwrap()
    }
}

/// Runs `check` over each engine.
pub(crate) fn on_each_engine(check: impl Fn(&dyn Disk)) {
    check(&MemoryEngine::new());
    check(&LmdbDisk::new());
}

/// What a table holds.
pub(crate) fn entries(view: &ReadTx, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    view.scan(table, ALL, &mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

/// A key of the kind that the table of revisions has.
pub(crate) fn revision_key(main: u64) -> [u8; 17] {
    let mut key = [0; 17];
    key[..8].copy_from_slice(&main.to_be_bytes());
    key[8] = b'_';
    key
}

/// Checks at compile time that both can be an engine.
const _: fn() = || {
    fn engine<E: Engine>() {}
    engine::<LmdbEngine>();
    engine::<MemoryEngine>();
};
