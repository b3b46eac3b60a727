//! Why a start is refused before anything runs.

use super::flag_value::InvalidValue;
use super::url::UrlError;

/// A start that cannot be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// A flag that nobody knows.
    #[error("flag provided but not defined: -{name}; --help lists all flags")]
    UnknownFlag {
        /// Its name, without dashes.
        name: String,
    },
    /// Too many dashes, or no name.
    #[error("bad flag syntax: {argument}; write --name=value or --name value")]
    BadSyntax {
        /// The argument as given.
        argument: String,
    },
    /// The command line ends where a value should be.
    #[error("flag needs an argument: -{name}")]
    MissingValue {
        /// The flag.
        name: &'static str,
    },
    /// A value that its flag cannot take.
    #[error("invalid value {value:?} for flag -{name}: {source}")]
    FlagValue {
        /// The flag.
        name: &'static str,
        /// The value as given.
        value: String,
        /// What is wrong with it.
        source: InvalidValue,
    },
    /// An argument that is no flag.
    #[error("{argument:?} is not a valid flag; flags begin with --")]
    NotAFlag {
        /// The argument.
        argument: String,
    },
    /// A value that the flag of a variable cannot take.
    #[error("invalid value {value:?} for {variable}: {source}")]
    VariableValue {
        /// The variable.
        variable: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        source: InvalidValue,
    },
    /// Flag and variable for the same setting.
    #[error(
        "conflicting environment variable {variable} is shadowed by command-line flag --{name}; unset one of the two"
    )]
    SetTwice {
        /// The flag.
        name: &'static str,
        /// The variable.
        variable: String,
    },
    /// A configuration file that cannot be read.
    #[error("cannot read configuration file {path}")]
    FileUnreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A configuration file that is no YAML.
    #[error("configuration file {path} is not valid YAML: {source}")]
    FileSyntax {
        /// The file.
        path: String,
        /// Where and why.
        source: serde_yaml_ng::Error,
    },
    /// YAML, but no map of flag names.
    #[error("configuration file {path} is not a map of settings; write one `name: value` a line")]
    FileShape {
        /// The file.
        path: String,
    },
    /// A value that the key's flag cannot take.
    #[error("invalid value for {key} in configuration file {path}: {source}")]
    FileValue {
        /// The file.
        path: String,
        /// The key, nested ones joined by dots.
        key: String,
        /// What is wrong with it.
        source: InvalidValue,
    },
    /// A default that does not parse: a mistake in the flag table.
    #[error("a default in the flag table is malformed: {source}")]
    DefaultValue {
        /// What is wrong with it.
        source: InvalidValue,
    },
    /// An address that cannot be listened on or advertised.
    #[error("--{name}: {source}")]
    Address {
        /// The flag.
        name: &'static str,
        /// What is wrong with it.
        source: UrlError,
    },
    /// Values that contradict each other, or one outside its limits.
    #[error("{reason}")]
    Unfit {
        /// What is wrong, and what to set instead.
        reason: String,
    },
}

impl SettingsError {
    /// The exit code of a process that stops for this: 2 for a command line that cannot be
    /// parsed, as Go programs have it, 1 for the rest.
    #[must_use]
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::UnknownFlag { .. }
            | Self::BadSyntax { .. }
            | Self::MissingValue { .. }
            | Self::FlagValue { .. } => 2,
            Self::NotAFlag { .. }
            | Self::VariableValue { .. }
            | Self::SetTwice { .. }
            | Self::FileUnreadable { .. }
            | Self::FileSyntax { .. }
            | Self::FileShape { .. }
            | Self::FileValue { .. }
            | Self::DefaultValue { .. }
            | Self::Address { .. }
            | Self::Unfit { .. } => 1,
        }
    }

    pub(super) fn unfit(reason: impl Into<String>) -> Self {
        Self::Unfit {
            reason: reason.into(),
        }
    }

    pub(super) fn default_value(source: InvalidValue) -> Self {
        Self::DefaultValue { source }
    }
}
