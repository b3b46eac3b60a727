//! Developer tasks, run as `cargo xtask TASK`.
//!
//! [`verify`] is the one gate: it only reads, on a developer's machine and in CI alike. [`fix`]
//! writes. Nothing here is part of the product.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a developer's tool prints, waits and measures time"
)]

mod fix;
mod layers;
mod tidy;
mod verify;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use crate::verify::Verify;
use crate::workspace::Workspace;

/// Developer tasks of the Cairn workspace.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Checks everything and writes nothing: the gate for every change.
    Verify(Verify),
    /// Formats, applies clippy's suggestions and lowers the ratchet.
    Fix,
}

fn main() -> ExitCode {
    let workspace = Workspace::of_this_build();
    let done = match Task::parse() {
        Task::Verify(verify) => verify.run(&workspace),
        Task::Fix => fix::run_all(&workspace),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Task::command().debug_assert();
    }
}
