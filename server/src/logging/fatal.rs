//! Stopping for good: what a member does when it can no longer trust what it holds.

use std::error::Error;
use std::sync::OnceLock;
use std::time::Duration;

use crate::logging::{Chain, Log};

/// The log of the process, whose last lines must not be lost.
static LOG: OnceLock<Log> = OnceLock::new();
/// How long a stuck log output may keep the process alive.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Names the log that [`stop`] writes out. The first one stays.
pub(crate) fn keep_log(log: Log) {
    let _ = LOG.set(log);
}

/// Writes out what has been logged.
pub(crate) fn flush_log() {
    if let Some(log) = LOG.get() {
        log.flush(FLUSH_MAX);
    }
}

/// Log lines given up so far, because their output was stuck.
pub(crate) fn log_lines_lost() -> u64 {
    LOG.get().map_or(0, Log::lines_lost)
}

/// Stops the process with an error and its causes in the log. Other threads get no chance to answer
/// a client: a failed sync or commit means that nobody knows what is on disk, and a restart will
/// tell.
pub(crate) fn stop(part: &str, error: &(dyn Error + 'static)) -> ! {
    let error = Chain(error);
    tracing::error!(part, %error, "cannot go on: stopping before anything is lost");
    flush_log();
    std::process::exit(1)
}
