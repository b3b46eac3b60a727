//! What is said of a command line that makes no sense: pflag's and cobra's words, which scripts
//! may know, and where to read on.

use std::error::Error as _;
use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::hoist::below;
use crate::failure::{Exit, Failure};

/// A line that no command runs for.
#[derive(Clone, Debug)]
pub(crate) enum Refused {
    /// Help was asked for, or is the best answer.
    Help(String),
    Failure(Failure),
}

/// Explains why clap did not take a line. The arguments are without the program's name.
pub(crate) fn explain(
    error: &clap::Error,
    tree: &Command,
    program: &str,
    arguments: &[OsString],
) -> Refused {
    let (path, command) = addressed(tree, arguments);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return Refused::Help(error.render().to_string());
        }
        ErrorKind::InvalidSubcommand if path.is_empty() => {
            let name = context(error, ContextKind::InvalidSubcommand);
            return Refused::Failure(unknown_command(tree, program, &name));
        }
        // A command that only has others below shows them.
        ErrorKind::InvalidSubcommand => {
            return Refused::Help(command.clone().render_help().to_string());
        }
        _ => {}
    }
    let mut usage = command.clone().render_usage().to_string();
    usage = usage.replacen("Usage: ", "Usage:\n  ", 1);
    let path = [&[program], path.as_slice()].concat().join(" ");
    let more = format!("Run '{path} --help' for its flags.");
    Refused::Failure(Failure {
        usage: format!("{}\n\n{more}\n", usage.trim_end()),
        ..Failure::new(Exit::Error, flag_message(error, command, arguments))
    })
}

/// The command that a line is about.
fn addressed<'a>(tree: &'a Command, arguments: &[OsString]) -> (Vec<&'a str>, &'a Command) {
    let (mut path, mut command) = (Vec::new(), tree);
    for argument in arguments {
        let name = argument.to_string_lossy();
        if let Some(below) = below(command, &name) {
            path.push(below.get_name());
            command = below;
        }
    }
    (path, command)
}

fn context(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    }
}

fn flag_message(error: &clap::Error, command: &Command, arguments: &[OsString]) -> String {
    let argument = context(error, ContextKind::InvalidArg);
    let flag = argument.split([' ', '[', '=']).next().unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => match flag.strip_prefix("--") {
            Some(_) => format!("unknown flag: {flag}"),
            None => unknown_shorthand(flag, arguments),
        },
        ErrorKind::ValueValidation => {
            let value = context(error, ContextKind::InvalidValue);
            let value = crate::golang::quote(value.as_bytes());
            let reason = error.source().map(ToString::to_string).unwrap_or_default();
            let flag = with_short(command, flag);
            format!("invalid argument {value} for \"{flag}\" flag: {reason}")
        }
        ErrorKind::InvalidValue | ErrorKind::NoEquals => {
            let last = arguments.last().map(|it| it.to_string_lossy());
            match last.as_deref().and_then(|it| it.strip_prefix('-')) {
                Some(short) if !short.starts_with('-') => {
                    format!("flag needs an argument: '{short}' in -{short}")
                }
                _ => format!("flag needs an argument: {flag}"),
            }
        }
        _ => {
            let rendered = error.render().to_string();
            let first = rendered.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").to_owned()
        }
    }
}

/// Letters may stand together behind one dash.
fn unknown_shorthand(flag: &str, arguments: &[OsString]) -> String {
    let letter = flag.trim_start_matches('-').chars().next().unwrap_or('-');
    let holds = |argument: &String| {
        argument.starts_with('-') && !argument.starts_with("--") && argument.contains(letter)
    };
    let mut given = arguments.iter().map(|it| it.to_string_lossy().into_owned());
    let word = given.find(holds).unwrap_or_else(|| format!("-{letter}"));
    format!("unknown shorthand flag: '{letter}' in {word}")
}

/// A flag with its letter, as pflag names it.
fn with_short(command: &Command, flag: &str) -> String {
    let name = flag.trim_start_matches('-');
    let argument = command
        .get_arguments()
        .find(|it| it.get_long() == Some(name));
    match argument.and_then(clap::Arg::get_short) {
        Some(short) => format!("-{short}, {flag}"),
        None => flag.to_owned(),
    }
}

/// How many letters a name may differ from another that is meant.
const SUGGESTED_DISTANCE: usize = 2;

fn unknown_command(tree: &Command, program: &str, name: &str) -> Failure {
    let close = |known: &&str| {
        let is_beginning = known.starts_with(name);
        is_beginning || distance(name, known) <= SUGGESTED_DISTANCE
    };
    let names = tree.get_subcommands().map(Command::get_name);
    let close: Vec<&str> = names.filter(close).collect();
    let mut usage = String::new();
    if !close.is_empty() {
        let close: Vec<String> = close.iter().map(|name| format!("\t{name}\n")).collect();
        usage = format!("\nDid you mean this?\n{}\n", close.concat());
    }
    usage.push_str(&format!("Run '{program} --help' for usage.\n"));
    let quoted = crate::golang::quote(name.as_bytes());
    Failure {
        usage,
        ..Failure::error(format!("unknown command {quoted} for \"{program}\""))
    }
}

/// Letters to put in, take out or change, to make one word of another.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, left) in one.chars().enumerate() {
        let mut diagonal = at;
        let mut before = at + 1;
        let mut next = vec![before];
        for (above, right) in row.iter().skip(1).zip(&other) {
            let changed = diagonal + usize::from(left != *right);
            before = changed.min(*above + 1).min(before + 1);
            diagonal = *above;
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
