//! The `cairn` binary: settings, logs, signals; everything else is the library's.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use cairn_server::fatal;
use cairn_server::logging::Log;
use cairn_server::settings::{self, Invocation, Settings};
use cairn_server::start::{Server, StartError};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Requests are many small allocations that one thread makes and another frees: the system's
/// allocator spends a sixth of a put on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let read_file = |path: &str| std::fs::read_to_string(path);
    match settings::read(&arguments, &environment, read_file) {
        Ok(Invocation::Print(text)) => {
            // Whoever closed the pipe has read enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Invocation::Serve(settings)) => serve(&settings),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn serve(settings: &Settings) -> ExitCode {
    match Log::start(&settings.log) {
        Ok(log) => fatal::keep_log(log),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            return ExitCode::FAILURE;
        }
    }
    for notice in &settings.notices {
        notice.log();
    }
    tracing::info!(
        settings = settings.effective_json(),
        "starting an etcd server"
    );
    match run(settings) {
        Ok(ending) => {
            fatal::flush_log();
            ExitCode::from(ending.exit_code())
        }
        Err(error) => fatal::stop("start", error),
    }
}

/// Runs a member until a signal says to stop.
fn run(settings: &Settings) -> Result<Ending, StartError> {
    let server = Server::start(settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ending = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            published = server.publish(settings) => published?,
            ending = asked_to_stop(&mut terminate, &mut interrupt) => return Ok(ending),
        }
        for url in &settings.listen.clients {
            tracing::info!(url = url.url().as_str(), "ready to serve client requests");
        }
        Ok::<_, StartError>(asked_to_stop(&mut terminate, &mut interrupt).await)
    })?;
    tracing::info!(signal = ending.name(), "received signal; shutting down");
    server.stop();
    Ok(ending)
}

async fn asked_to_stop(terminate: &mut Signal, interrupt: &mut Signal) -> Ending {
    tokio::select! {
        _ = terminate.recv() => Ending::Terminated,
        _ = interrupt.recv() => Ending::Interrupted,
    }
}

/// Which signal ended the process.
#[derive(Clone, Copy)]
enum Ending {
    Terminated,
    Interrupted,
}

impl Ending {
    const fn name(self) -> &'static str {
        match self {
            Self::Terminated => "terminated",
            Self::Interrupted => "interrupt",
        }
    }

    /// The exit code that a shell gives a process that died of the signal, which is what etcd's
    /// supervisors see.
    const fn exit_code(self) -> u8 {
        match self {
            Self::Terminated => 143,
            Self::Interrupted => 130,
        }
    }
}
