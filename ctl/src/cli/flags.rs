//! Kinds of flags and how they are read: as Go's pflag reads them.
//!
//! A truth value is `--flag` or `--flag=VALUE`; everything else takes the next argument whatever
//! it looks like; of a flag that is given twice the last counts; numbers may be `0x10`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use clap_complete::ArgValueCompleter;

use crate::golang::{Base, parse_bool, parse_duration, parse_i64};

/// The name of the arguments that are no flags.
const ARGUMENTS: &str = "arguments";

/// A command that does something.
pub(crate) fn leaf(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).args_override_self(true)
}

/// Arguments that are no flags, any number; the command checks them, in etcdctl's words. The
/// text says what they are.
pub(crate) fn arguments(command: Command, text: &'static str) -> Command {
    let argument = Arg::new(ARGUMENTS)
        .value_name(text)
        .num_args(0..)
        .value_parser(OsStringValueParser::new())
        .hide(true);
    let is_key = ["<key>", "[key]", "[prefix]"]
        .iter()
        .any(|key| text.starts_with(key));
    command.arg(match is_key {
        true => argument.add(ArgValueCompleter::new(crate::completion::keys)),
        false => argument,
    })
}

/// The arguments of a command that are no flags, as help names them.
pub(crate) fn arguments_text(command: &Command) -> &str {
    let argument = command.get_arguments().find(|it| it.get_id() == ARGUMENTS);
    let names = argument.and_then(Arg::get_value_names);
    names
        .and_then(<[_]>::first)
        .map_or("", |name| name.as_str())
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::Set)
}

/// A truth value, false by default.
pub(crate) fn switch(name: &'static str, help: &'static str) -> Arg {
    flag(name, help)
        .num_args(0..=1)
        .require_equals(true)
        .default_value("false")
        .default_missing_value("true")
        .hide_default_value(true)
        .value_parser(|text: &str| parse_bool(text))
        .value_name("BOOL")
}

/// A number, zero by default.
pub(crate) fn number(name: &'static str, help: &'static str) -> Arg {
    flag(name, help)
        .default_value("0")
        .hide_default_value(true)
        .allow_hyphen_values(true)
        .value_parser(|text: &str| parse_i64(text, Base::Prefixed))
        .value_name("N")
}

pub(crate) fn duration(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    flag(name, help)
        .default_value(default)
        .allow_hyphen_values(true)
        .value_parser(|text: &str| parse_duration(text))
        .value_name("TIME")
}

/// Text, empty by default.
pub(crate) fn text(name: &'static str, help: &'static str) -> Arg {
    flag(name, help)
        .default_value("")
        .hide_default_value(true)
        .allow_hyphen_values(true)
        .value_name("TEXT")
}

/// Text of which a few values make sense; the command checks it, in etcdctl's words.
pub(crate) fn choice(
    name: &'static str,
    default: &'static str,
    values: &'static [&'static str],
    help: &'static str,
) -> Arg {
    let parser = clap::builder::StringValueParser::new();
    text(name, help)
        .default_value(default)
        .hide_default_value(default.is_empty())
        .value_parser(parser.map(|value| value))
        .add(clap_complete::ArgValueCandidates::new(|| {
            values
                .iter()
                .map(clap_complete::CompletionCandidate::new)
                .collect()
        }))
        .value_name("CHOICE")
}

/// What a command was given.
#[derive(Clone, Debug)]
pub(crate) struct Flags(ArgMatches);

impl Flags {
    pub(crate) fn new(matches: ArgMatches) -> Self {
        Self(matches)
    }

    fn value<T: Clone + Default + Send + Sync + 'static>(&self, name: &str) -> T {
        let found = self.0.try_get_one::<T>(name);
        found.ok().flatten().cloned().unwrap_or_default()
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.value(name)
    }

    pub(crate) fn number(&self, name: &str) -> i64 {
        self.value(name)
    }

    pub(crate) fn duration(&self, name: &str) -> Duration {
        self.value(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.value(name)
    }

    /// All values of a flag that may be given several times, with commas between them.
    pub(crate) fn texts(&self, name: &str) -> String {
        let found = self.0.try_get_many::<String>(name).ok().flatten();
        let texts: Vec<&str> = found.into_iter().flatten().map(String::as_str).collect();
        texts.join(",")
    }

    /// Whether the command line has the flag.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.knows(name) && self.0.value_source(name) == Some(ValueSource::CommandLine)
    }

    /// A value as it was written.
    pub(crate) fn shown(&self, name: &str) -> String {
        let raw = self.0.try_get_raw(name).ok().flatten();
        let texts = raw
            .into_iter()
            .flatten()
            .map(|value| value.to_string_lossy());
        texts.collect::<Vec<_>>().join(",")
    }

    pub(crate) fn knows(&self, name: &str) -> bool {
        self.0.try_contains_id(name).is_ok()
    }

    /// Arguments that are no flags.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        self.all(ARGUMENTS)
    }

    /// What stands behind `--` where that parts two kinds of arguments.
    pub(crate) fn program(&self) -> Vec<OsString> {
        self.all("program")
    }

    fn all(&self, name: &str) -> Vec<OsString> {
        let found = self.0.try_get_many::<OsString>(name);
        found
            .ok()
            .flatten()
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Arguments as text; bytes that are none become `U+FFFD`.
    pub(crate) fn words(&self) -> Vec<String> {
        let lossy = |argument: &OsString| argument.to_string_lossy().into_owned();
        self.arguments().iter().map(lossy).collect()
    }

    /// Arguments as bytes, as keys and values are.
    pub(crate) fn byte_strings(&self) -> Vec<Vec<u8>> {
        let bytes = |argument: &OsString| OsStr::as_bytes(argument).to_vec();
        self.arguments().iter().map(bytes).collect()
    }
}
