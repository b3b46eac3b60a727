//! The log of events: one line an event, JSON as etcd writes it, or columns for people.
//!
//! [`Log::start`] makes it the process's `tracing` subscriber. A line is formatted by the thread
//! that logs and written by the thread of its output, so that a stuck terminal, pipe or disk
//! never holds up the server: past a bound lines are dropped and counted. Neither a terminal nor
//! a missing HOME changes a line.

mod chain;
pub(crate) mod fatal;
mod layer;
mod line;
mod output;
pub(crate) mod size;
mod timestamp;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::layer::EventLayer;
use self::output::Output;
use crate::settings::{LogLevel, LogOutput, LogSettings};

pub(crate) use self::chain::Chain;

/// Time that the last lines get when the log is dropped.
const FLUSH_MAX: Duration = Duration::from_millis(500);

/// The running log. Dropping it writes what is queued, if the outputs take it in time.
pub(crate) struct Log {
    outputs: Arc<[Output]>,
}

/// A log that cannot be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// An output that cannot be opened.
    #[error("cannot open log output {path:?}: {source}; see --log-outputs")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No thread to write from.
    #[error("cannot start the log's thread: {source}")]
    Thread {
        /// Why.
        source: io::Error,
    },
    /// The process logs already.
    #[error("the process has a log already")]
    Started,
}

impl Log {
    /// Opens the outputs and makes this the log of the process.
    ///
    /// # Errors
    ///
    /// [`LogError`] if an output cannot be opened or there is a log already.
    pub(crate) fn start(settings: &LogSettings) -> Result<Self, LogError> {
        let outputs: Result<Vec<Output>, LogError> = settings
            .outputs
            .iter()
            .map(|output| start_output(output, settings))
            .collect();
        let outputs: Arc<[Output]> = outputs?.into();
        let layer = EventLayer::new(settings.format, Arc::clone(&outputs));
        tracing_subscriber::registry()
            .with(layer.with_filter(levels(settings.level)))
            .try_init()
            .map_err(|_| LogError::Started)?;
        Ok(Self { outputs })
    }

    /// Lines given up so far, over all outputs.
    #[must_use]
    pub(crate) fn lines_lost(&self) -> u64 {
        self.outputs.iter().map(Output::lines_lost).sum()
    }

    /// Waits until every line logged before is written, at most `time_max` for each output.
    pub(crate) fn flush(&self, time_max: Duration) {
        for output in self.outputs.iter() {
            output.flush(time_max);
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush(FLUSH_MAX);
    }
}

fn start_output(output: &LogOutput, settings: &LogSettings) -> Result<Output, LogError> {
    Output::start(open(output)?, settings.format).map_err(|source| LogError::Thread { source })
}

/// Standard streams are written through a descriptor of their own: the lock that `std` has on
/// them would be held while a write is stuck, and a panic message would wait for it.
fn open(output: &LogOutput) -> Result<Box<dyn Write + Send>, LogError> {
    let (path, file) = match output {
        LogOutput::Stderr => ("stderr".into(), io::stderr().as_fd().try_clone_to_owned()),
        LogOutput::Stdout => ("stdout".into(), io::stdout().as_fd().try_clone_to_owned()),
        LogOutput::File(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            (path.clone(), file.map(Into::into))
        }
    };
    match file {
        Ok(descriptor) => Ok(Box::new(std::fs::File::from(descriptor))),
        Err(source) => Err(LogError::Open { path, source }),
    }
}

/// Our own crates at the level asked for; the libraries below only when something is wrong.
fn levels(level: LogLevel) -> Targets {
    let own = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    Targets::new()
        .with_default(own.min(LevelFilter::WARN))
        .with_target("cairn", own)
}

#[cfg(test)]
mod tests;
