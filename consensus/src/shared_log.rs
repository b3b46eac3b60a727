//! A member's log in the hands of whoever does its work, in this thread or another.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::log_work::{LogDone, LogWork};
use crate::wal::{Wal, WalError};

/// A member's log; clones are the same.
#[derive(Clone)]
pub struct SharedLog {
    wal: Arc<Mutex<Wal>>,
}

impl SharedLog {
    pub(crate) fn new(wal: Wal) -> Self {
        Self {
            wal: Arc::new(Mutex::new(wal)),
        }
    }

    /// Does `work`, as [`Wal::perform`]. Work is to be done in the order in which it was given.
    ///
    /// # Errors
    ///
    /// [`WalError`], after which the member must stop: what is on disk is not known.
    pub fn perform(&self, work: LogWork) -> Result<LogDone, WalError> {
        self.wal().perform(work)
    }

    /// As [`Wal::take_warning`]; nothing while the log works, so that nobody waits for its disk.
    #[must_use]
    pub fn take_warning(&self) -> Option<WalError> {
        self.wal.try_lock().ok()?.take_warning()
    }

    /// The log itself; while this is held, no work is done.
    pub fn wal(&self) -> MutexGuard<'_, Wal> {
        // Who panicked in the middle of a write has poisoned the log in its own way.
        self.wal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
