//! The command line, read as Go's `flag` package reads it.
//!
//! `--flag value`, `--flag=value`, one dash or two, a bare boolean, `--` as the end; the last
//! of several wins.

use std::collections::BTreeSet;

use super::error::SettingsError;
use super::flag::Flag;
use super::flag_table::{GivenFlags, flag_named};
use super::flag_value::Input;

/// What a command line asks for.
#[derive(Debug)]
pub(super) enum CommandLine {
    /// The help text.
    Help,
    /// The version text.
    Version,
    /// A server, with these flags; the names are those that were given.
    Flags {
        given: Box<GivenFlags>,
        named: BTreeSet<&'static str>,
    },
}

/// Reads `arguments`, which do not hold the program's name.
pub(super) fn read_command_line(arguments: &[String]) -> Result<CommandLine, SettingsError> {
    let mut given = Box::new(GivenFlags::defaults().map_err(SettingsError::default_value)?);
    let mut named = BTreeSet::new();
    let mut rest = arguments.iter();
    let mut stray = None;
    while let Some(argument) = rest.next() {
        let Some(dashed) = argument.strip_prefix('-').filter(|tail| !tail.is_empty()) else {
            stray = Some(argument);
            break;
        };
        let body = dashed.strip_prefix('-').unwrap_or(dashed);
        if body.is_empty() {
            stray = rest.next();
            break;
        }
        if body.starts_with(['-', '=']) {
            return Err(SettingsError::BadSyntax {
                argument: argument.clone(),
            });
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        if matches!(name, "help" | "h") {
            return Ok(CommandLine::Help);
        }
        let flag = flag_named(name).ok_or_else(|| SettingsError::UnknownFlag {
            name: name.to_owned(),
        })?;
        let value = match value {
            Some(value) => value,
            None if flag.is_bare => "true",
            None => match rest.next() {
                Some(value) => value,
                None => return Err(SettingsError::MissingValue { name: flag.name }),
            },
        };
        store(flag, &mut given, value)?;
        named.insert(flag.name);
    }
    if let Some(stray) = stray {
        return Err(SettingsError::NotAFlag {
            argument: stray.clone(),
        });
    }
    if given.version {
        return Ok(CommandLine::Version);
    }
    Ok(CommandLine::Flags { given, named })
}

fn store(flag: &Flag, given: &mut GivenFlags, value: &str) -> Result<(), SettingsError> {
    (flag.store)(given, Input::Text(value)).map_err(|source| SettingsError::FlagValue {
        name: flag.name,
        value: value.to_owned(),
        source,
    })
}
