//! `check`: whether a cluster is up to a load.

mod datascale;
mod load;
mod memory;
mod perf;

use std::time::Duration;

use cairn_proto::etcdserverpb::{
    CompactionRequest, DefragmentRequest, DeleteRangeRequest, RangeRequest,
};
use clap::{Arg, Command};

use crate::cli::{arguments, choice, group, leaf, switch, text};
use crate::failure::Failure;
use crate::golang::quote;
use crate::key_range::prefix_end;
use crate::session::{Context, DEADLINE, Session, put_out};

/// How long tidying up may take.
const CLEANUP_TIME: Duration = Duration::from_secs(30);

const LOAD_HELP: &str = "How much: s(mall), m(edium), l(arge) or xl(arge)";

pub(crate) fn definition() -> Command {
    let load = || choice("load", "s", &["s", "m", "l", "xl"], LOAD_HELP);
    let finally = || -> [Arg; 2] {
        [
            switch("auto-compact", "Compact when it is over"),
            switch("auto-defrag", "Defragment when it is over"),
        ]
    };
    let prefix = |default| {
        text("prefix", "Where to write; nothing may be there")
            .default_value(default)
            .hide_default_value(false)
    };
    let perf = leaf(
        "perf",
        "Writes at a steady pace for a minute: does the cluster keep up?",
    )
    .args([load(), prefix("/etcdctl-check-perf/")])
    .args(finally());
    let datascale = leaf(
        "datascale",
        "Writes many pairs: how much memory do they take?",
    )
    .args([load(), prefix("/etcdctl-check-datascale/")])
    .args(finally());
    group(
        "check",
        "Whether a cluster is up to a load: perf, datascale",
    )
    .after_help(
        "What a data directory holds is checked by the server's own `cairn check --data-dir DIR`.",
    )
    .subcommands([arguments(perf, ""), arguments(datascale, "")])
}

pub(crate) async fn run(what: &str, context: &Context) -> Result<(), Failure> {
    match what {
        "perf" => perf::run(context).await,
        _ => datascale::run(context).await,
    }
}

/// Which of the four loads a flag names.
fn size(context: &Context) -> Result<usize, Failure> {
    let load = context.flags.text("load");
    let sizes = [
        ["s", "small"],
        ["m", "medium"],
        ["l", "large"],
        ["xl", "xLarge"],
    ];
    let found = sizes
        .iter()
        .position(|names| names.contains(&load.as_str()));
    found.ok_or_else(|| Failure::feature(format!("unknown load option {load}")))
}

/// Sees to it that nothing of the user's is deleted afterwards. The command line is the one that
/// deletes what is in the way.
async fn check_empty(session: &Session, prefix: &str, command: &str) -> Result<(), Failure> {
    let request = RangeRequest {
        key: prefix.to_owned().into(),
        range_end: prefix_end(prefix.as_bytes()).into(),
        limit: 1,
        ..RangeRequest::default()
    };
    if session.call(request).await?.kvs.is_empty() {
        return Ok(());
    }
    let quoted = quote(prefix.as_bytes());
    Err(Failure::input(format!(
        "prefix {quoted} has keys. Delete with {command} first"
    )))
}

/// Deletes what was written; returns the revision of that.
async fn delete(session: &Session, prefix: &str) -> Result<i64, Failure> {
    let request = DeleteRangeRequest {
        key: prefix.to_owned().into(),
        range_end: prefix_end(prefix.as_bytes()).into(),
        prev_kv: false,
    };
    let response = in_time(session.call(request)).await?;
    Ok(response.header.map_or(0, |header| header.revision))
}

async fn in_time<T>(call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let ended = tokio::time::timeout(CLEANUP_TIME, call).await;
    ended.unwrap_or_else(|_| Err(Failure::error(DEADLINE)))
}

async fn compact(session: &Session, revision: i64) -> Result<(), Failure> {
    put_out(format!("Compacting with revision {revision}\n").as_bytes())?;
    let physical = true;
    in_time(session.call(CompactionRequest { revision, physical })).await?;
    put_out(format!("Compacted with revision {revision}\n").as_bytes())
}

async fn defragment(session: &Session) -> Result<(), Failure> {
    for endpoint in &session.globals.endpoints {
        let at_endpoint = session.at(endpoint)?;
        let quoted = quote(endpoint.as_bytes());
        put_out(format!("Defragmenting {quoted}\n").as_bytes())?;
        in_time(at_endpoint.call(DefragmentRequest {})).await?;
        put_out(format!("Defragmented {quoted}\n").as_bytes())?;
    }
    Ok(())
}
