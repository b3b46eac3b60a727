//! The commands, one file each.

mod alarm;
mod auth;
mod check;
mod compaction;
mod defrag;
mod del;
mod diff;
mod downgrade;
mod elect;
mod endpoint;
mod get;
mod keys;
mod lease;
mod lock;
mod make_mirror;
mod member;
mod move_leader;
mod put;
mod role;
mod snapshot;
mod tool;
mod top;
mod txn;
mod user;
mod watch;

use clap::Command;

pub(crate) use self::tool::COMPLETION_VARIABLE;
use crate::failure::Failure;
use crate::session::Context;

pub(crate) fn key_commands() -> Vec<Command> {
    vec![
        get::definition(),
        put::definition(),
        del::definition(),
        txn::definition(),
        watch::definition(),
        compaction::definition(),
        lease::definition(),
    ]
}

pub(crate) fn cluster_commands() -> Vec<Command> {
    vec![
        alarm::definition(),
        defrag::definition(),
        endpoint::definition(),
        move_leader::definition(),
        member::definition(),
        downgrade::definition(),
        snapshot::definition(),
    ]
}

pub(crate) fn concurrency_commands() -> Vec<Command> {
    vec![lock::definition(), elect::definition()]
}

pub(crate) fn auth_commands() -> Vec<Command> {
    vec![auth::definition(), user::definition(), role::definition()]
}

pub(crate) fn insight_commands() -> Vec<Command> {
    vec![top::definition(), keys::definition(), diff::definition()]
}

pub(crate) fn tool_commands() -> Vec<Command> {
    vec![
        make_mirror::definition(),
        check::definition(),
        tool::version(),
        tool::options(),
        tool::completion(),
        tool::man(),
    ]
}

/// Runs the command that a line names.
pub(crate) async fn run(path: &[&str], context: &Context) -> Result<(), Failure> {
    match path {
        ["get"] => get::run(context).await,
        ["put"] => put::run(context).await,
        ["del"] => del::run(context).await,
        ["txn"] => txn::run(context).await,
        ["watch"] => watch::run(context).await,
        ["compaction"] => compaction::run(context).await,
        ["lease", action] => lease::run(action, context).await,
        ["alarm", action] => alarm::run(action, context).await,
        ["defrag"] => defrag::run(context).await,
        ["endpoint", question] => endpoint::run(question, context).await,
        ["move-leader"] => move_leader::run(context).await,
        ["member", action] => member::run(action, context).await,
        ["snapshot", "save"] => snapshot::run(context).await,
        ["downgrade", action] => downgrade::run(action, context).await,
        ["auth", action] => auth::run(action, context).await,
        ["user", action] => user::run(action, context).await,
        ["role", action] => role::run(action, context).await,
        ["top"] => top::run(context).await,
        ["keys"] => keys::run(context).await,
        ["diff"] => diff::run(context).await,
        ["lock"] => lock::run(context).await,
        ["elect"] => elect::run(context).await,
        ["make-mirror"] => make_mirror::run(context).await,
        ["check", what] => check::run(what, context).await,
        ["version"] => tool::print_version(),
        ["options"] => tool::print_options(context),
        ["completion"] => tool::print_completion(context),
        ["man"] => tool::write_man(context),
        _ => Err(no_such(path)),
    }
}

/// The tree and [`run`] do not fit together; a test sees to it that they do.
fn no_such(path: &[&str]) -> Failure {
    Failure::error(format!("there is no command {}", path.join(" ")))
}
