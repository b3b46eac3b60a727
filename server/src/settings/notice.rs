//! What reading the settings has to say once the log is open.
//!
//! Settings decide where the log goes, so nothing can be logged while they are read.

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// Worth knowing.
    Info,
    /// Worth changing.
    Warn,
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// How much it matters.
    pub severity: Severity,
    /// The message.
    pub message: String,
    /// The flag, variable or key it is about.
    pub about: Option<String>,
}

impl Notice {
    pub(super) fn info(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Info,
            message: message.into(),
            about: None,
        }
    }

    pub(super) fn warn(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warn,
            message: message.into(),
            about: None,
        }
    }

    pub(super) fn about(self, about: &str) -> Self {
        Self {
            about: Some(about.to_owned()),
            ..self
        }
    }

    /// Writes it to the log.
    pub(crate) fn log(&self) {
        let Self {
            severity,
            message,
            about,
        } = self;
        match (severity, about) {
            (Severity::Info, Some(setting)) => tracing::info!(setting, "{message}"),
            (Severity::Info, None) => tracing::info!("{message}"),
            (Severity::Warn, Some(setting)) => tracing::warn!(setting, "{message}"),
            (Severity::Warn, None) => tracing::warn!("{message}"),
        }
    }
}
