//! The last step of an installation.

use std::sync::Arc;

use parking_lot::MutexGuard;

use crate::backend::{Backend, Published, Writer};
use crate::buffer::Buffer;
use crate::engine::{Engine, EngineSize};
use crate::error::CommitError;

/// A received database that is durably in the place of ours, and that readers do not see yet.
///
/// Whoever keeps something about the tables can change it together with them: until this ends, no
/// batch begins or is committed. It ends when it is dropped, without touching storage. What was
/// buffered is then forgotten, and every view that is opened from then on is of the new database.
///
/// The thread that has one must neither write nor commit: it would wait for itself.
#[must_use = "the installation ends when this is dropped"]
pub struct Installing<'a> {
    pub(crate) backend: &'a Backend,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) size: EngineSize,
    pub(crate) writer: MutexGuard<'a, Writer>,
    /// Opened last: a commit waits for it first.
    pub(crate) _committing: MutexGuard<'a, ()>,
}

impl Installing<'_> {
    /// Shows readers the new database.
    pub fn end(self) {}
}

impl Drop for Installing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.backend.poison(CommitError::WriterPanicked);
            return;
        }
        self.writer.active = Buffer::default();
        self.backend.replace(&self.engine, self.size);
    }
}

impl std::fmt::Debug for Installing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Installing").finish_non_exhaustive()
    }
}

impl Published {
    /// What is published of an engine with nothing buffered.
    pub(crate) fn empty(engine: Arc<dyn Engine>) -> Self {
        Self {
            engine,
            active: Buffer::default(),
            sealed: None,
            seals: 0,
        }
    }
}
