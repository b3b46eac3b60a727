//! What the log of events is to be: level, form and outputs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::error::SettingsError;
use super::flag_table::GivenFlags;
use super::notice::Notice;

/// The log of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogSettings {
    /// The least that is written.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
    /// Where lines go; each gets every line.
    pub outputs: Vec<LogOutput>,
}

impl Default for LogSettings {
    /// A log without flags; also for what goes wrong before there are settings.
    fn default() -> Self {
        Self {
            level: LogLevel::Info,
            format: LogFormat::Json,
            outputs: vec![LogOutput::Stderr],
        }
    }
}

/// The least severe event that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogLevel {
    /// Everything.
    Debug,
    /// What an operator may want to know.
    Info,
    /// What an operator should look at.
    Warn,
    /// What went wrong; etcd's panic and fatal levels are this one here.
    Error,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// One JSON object.
    Json,
    /// Columns with tabs, for people.
    Console,
}

/// One place where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogOutput {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

pub(super) fn log_settings(
    given: &GivenFlags,
    notices: &mut Vec<Notice>,
) -> Result<LogSettings, SettingsError> {
    match given.logger.as_str() {
        "zap" => {}
        "capnslog" => return Err(SettingsError::unfit("--logger=capnslog is removed in v3.5")),
        other => {
            return Err(SettingsError::unfit(format!(
                "unknown logger option {other:?}"
            )));
        }
    }
    let level = match given.log_level.to_ascii_lowercase().as_str() {
        "debug" => LogLevel::Debug,
        "info" | "" => LogLevel::Info,
        "warn" | "warning" => LogLevel::Warn,
        "error" | "dpanic" | "panic" | "fatal" => LogLevel::Error,
        other => {
            return Err(SettingsError::unfit(format!(
                "unknown --log-level {other:?}; write debug, info, warn, error, panic or fatal"
            )));
        }
    };
    let format = match given.log_format.as_str() {
        "json" => LogFormat::Json,
        "console" => LogFormat::Console,
        other => {
            return Err(SettingsError::unfit(format!(
                "unknown --log-format {other:?}; write json or console"
            )));
        }
    };
    Ok(LogSettings {
        level,
        format,
        outputs: log_outputs(&given.log_outputs.0, notices)?,
    })
}

fn log_outputs(
    names: &BTreeSet<String>,
    notices: &mut Vec<Notice>,
) -> Result<Vec<LogOutput>, SettingsError> {
    if names.len() > 1 && names.contains("default") {
        return Err(SettingsError::unfit(
            "multi logoutput for \"default\" is not supported yet; write stderr instead",
        ));
    }
    if names.contains("/dev/null") {
        return Ok(Vec::new());
    }
    let mut outputs = Vec::new();
    for name in names {
        let output = match name.as_str() {
            "default" | "stderr" => LogOutput::Stderr,
            "stdout" => LogOutput::Stdout,
            "systemd/journal" => {
                let missing = "the journal is not in this build yet; the log goes to stderr, \
                               which systemd collects";
                notices.push(Notice::warn(missing).about("log-outputs"));
                LogOutput::Stderr
            }
            path => LogOutput::File(PathBuf::from(path)),
        };
        if !outputs.contains(&output) {
            outputs.push(output);
        }
    }
    if outputs.is_empty() {
        outputs.push(LogOutput::Stderr);
    }
    Ok(outputs)
}
