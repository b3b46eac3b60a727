//! `cairnctl`: etcdctl's commands with its output to the letter, and more.
//!
//! | module | what |
//! |---|---|
//! | `cli` | the tree of commands, flags, variables, and what is said of a line that makes no sense |
//! | `command` | the commands, one file each |
//! | `show` | answers in each format, one file a noun |
//! | `session` | what a command stands on: its flags and the cluster they name |
//! | `data_at_rest` | commands that the server's program has |
//! | `golang` | texts as Go writes and reads them |
//!
//! A message on stderr is etcdctl's where that has one; on a terminal, advice follows it.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "a program that people run: it looks at the clock, sleeps and draws lots"
)]

mod cli;
mod command;
mod completion;
mod data_at_rest;
mod discovery;
mod failure;
mod golang;
mod key_range;
mod key_tree;
mod pages;
mod paint;
mod program;
mod progress;
mod prompt;
mod session;
mod show;
mod value_diff;
mod words;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use crate::cli::{Environment, Flags, Refused};
use crate::failure::Failure;
use crate::session::Context;

fn main() -> ExitCode {
    completion::answer_shell();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(run());
            // A thread may still wait for standard input.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(Failure::error(error)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = failure.text(io::stderr().is_terminal());
            // Without stderr, only the code tells.
            let _ = io::stderr().write_all(text.as_bytes());
            ExitCode::from(failure.exit.code())
        }
    }
}

/// By this name the program has no commands that etcdctl has not.
const ETCDCTL: &str = "etcdctl";

async fn run() -> Result<(), Failure> {
    let mut line = std::env::args_os();
    let program = program_name(line.next());
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        Some((
            name.into_string().ok()?,
            value.to_string_lossy().into_owned(),
        ))
    });
    let line: Vec<OsString> = line.collect();
    if program != ETCDCTL {
        data_at_rest::run(&line)?;
    }
    let tree = cli::tree(&program);
    let line = cli::hoist(&tree, &line);
    let whole = [OsString::from(&program)]
        .into_iter()
        .chain(line.iter().cloned());
    let matches = match tree.clone().try_get_matches_from(whole) {
        Ok(matches) => matches,
        Err(error) => return refuse(cli::explain(&error, &tree, &program, &line)),
    };
    let (mut path, mut below) = (Vec::new(), &matches);
    while let Some((name, matches)) = below.subcommand() {
        path.push(name.to_owned());
        below = matches;
    }
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let flags = Flags::new(below.clone());
    if let Some(help) = cli::help_of_group(&tree, &path) {
        return session::put_out(help.as_bytes());
    }
    let context = Context {
        program,
        flags,
        line,
        environment: Environment::new(variables),
        tree,
    };
    command::run(&path, &context).await
}

fn refuse(refused: Refused) -> Result<(), Failure> {
    match refused {
        Refused::Help(help) => session::put_out(help.as_bytes()),
        Refused::Failure(failure) => Err(failure),
    }
}

/// The name under which the program was called; scripts may call it `etcdctl`.
fn program_name(first: Option<OsString>) -> String {
    let first = first.unwrap_or_default();
    let name = Path::new(&first)
        .file_name()
        .map(|name| name.to_string_lossy());
    name.map_or_else(|| "cairnctl".to_owned(), std::borrow::Cow::into_owned)
}
