//! Answers shells that ask what could stand next: commands, flags, and keys from the server.

use std::ffi::OsStr;
use std::time::Duration;

use cairn_proto::etcdserverpb::RangeRequest;
use clap_complete::{CompleteEnv, CompletionCandidate};

use crate::cli::{self, Environment, Flags, Globals};
use crate::command::COMPLETION_VARIABLE;
use crate::key_range::prefix_end;
use crate::session;

/// How long a shell waits for keys.
const KEYS_TIME: Duration = Duration::from_secs(1);
/// How many keys it is shown.
const KEYS_MAX: i64 = 200;

/// If a shell asks, answers it and ends the program.
pub(crate) fn answer_shell() {
    let program = crate::program_name(std::env::args_os().next());
    CompleteEnv::with_factory(|| cli::tree(&program))
        .var(COMPLETION_VARIABLE)
        .complete();
}

/// Keys that begin so; none if the server does not say.
pub(crate) fn keys(beginning: &OsStr) -> Vec<CompletionCandidate> {
    let Some(beginning) = beginning.to_str() else {
        return Vec::new();
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return Vec::new();
    };
    // Within the runtime, which is the timer's too.
    let asked = async { tokio::time::timeout(KEYS_TIME, ask(beginning)).await };
    runtime.block_on(asked).ok().flatten().unwrap_or_default()
}

/// The settings of the line that is being typed, which stands behind `--`.
fn globals() -> Option<Globals> {
    let line: Vec<_> = std::env::args_os()
        .skip_while(|it| it != "--")
        .skip(1)
        .collect();
    let tree = cli::tree("cairnctl").ignore_errors(true);
    let matches = tree.try_get_matches_from(line).ok()?;
    let mut below = &matches;
    while let Some((_, matches)) = below.subcommand() {
        below = matches;
    }
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let environment = Environment::new(variables);
    Globals::read(&Flags::new(below.clone()), &environment).ok()
}

async fn ask(beginning: &str) -> Option<Vec<CompletionCandidate>> {
    let globals = globals()?;
    // Nobody can type a password here.
    let user = globals.user.split_once(':');
    let credentials = user.map(|(user, password)| (user.to_owned(), password.to_owned()));
    let client = session::connect(&globals, &globals.endpoints, credentials)
        .await
        .ok()?;
    let first = if beginning.is_empty() {
        "\0"
    } else {
        beginning
    };
    let request = RangeRequest {
        key: first.to_owned().into(),
        range_end: prefix_end(beginning.as_bytes()).into(),
        limit: KEYS_MAX,
        keys_only: true,
        serializable: true,
        ..RangeRequest::default()
    };
    let response = client.call(request).await.ok()?;
    let keys = response
        .kvs
        .iter()
        .filter_map(|kv| std::str::from_utf8(&kv.key).ok());
    Some(keys.map(CompletionCandidate::new).collect())
}
