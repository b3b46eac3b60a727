//! The process: settings, logs, signals.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::emulate_default_handler;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::service_manager::ServiceManager;
use super::{Server, StartError};
use crate::logging::{Chain, Log, fatal};
use crate::settings::{
    self, CAIRN_VERSION, ETCD_VERSION, Invocation, LogSettings, Settings, SettingsError,
};

/// Runs the process: what its command line asks for, until a signal ends it.
pub(crate) fn run() -> ExitCode {
    match settings::read_process() {
        Ok(Invocation::Print(text)) => {
            // Whoever closed the pipe has read enough.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Invocation::Serve(settings)) => serve(&settings),
        Err(error) => refuse(&error),
    }
}

/// Says what is wrong with the settings: a mistake in the command line's form as plain text, any
/// other in the log, where supervisors look for it.
fn refuse(error: &SettingsError) -> ExitCode {
    const MALFORMED: u8 = 2;

    let code = error.exit_code();
    match Log::start(&LogSettings::default()) {
        Ok(log) if code != MALFORMED => {
            tracing::warn!(error = %Chain(error), "failed to verify flags");
            drop(log);
        }
        _ => {
            let _ = writeln!(io::stderr(), "{}", Chain(error));
        }
    }
    ExitCode::from(code)
}

fn serve(settings: &Settings) -> ExitCode {
    match Log::start(&settings.log) {
        Ok(log) => fatal::keep_log(log),
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            return ExitCode::FAILURE;
        }
    }
    for notice in &settings.notices {
        notice.log();
    }
    tracing::info!(
        etcd_version = ETCD_VERSION,
        cairn_version = CAIRN_VERSION,
        fields_json = settings.effective_json(),
        "starting an etcd server"
    );
    match serve_until_stopped(settings) {
        Ok(ending) => {
            fatal::flush_log();
            ending.end_process()
        }
        Err(error) => fatal::stop("start", &*error),
    }
}

/// Runs a member until a signal says to stop.
fn serve_until_stopped(settings: &Settings) -> Result<Ending, StartError> {
    let manager = ServiceManager::of_environment();
    manager.status("reading the member's data");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    stay_on_signals(&runtime)?;
    let server = Server::start(settings)?;
    let ending = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            published = server.publish(settings) => published?,
            ending = asked_to_stop(&mut terminate, &mut interrupt) => return Ok(ending),
            () = server.removed() => return Ok(Ending::Removed),
            never = keep_told(&server, &manager) => match never {},
        }
        manager.ready();
        let urls = settings.listen.clients.iter();
        let listeners: BTreeMap<_, _> = urls.map(|url| (url.address(), url.url())).collect();
        for url in listeners.values() {
            tracing::info!(url = url.as_str(), "ready to serve client requests");
        }
        let ending = tokio::select! {
            ending = asked_to_stop(&mut terminate, &mut interrupt) => ending,
            () = server.removed() => return Ok(Ending::Removed),
            never = keep_told(&server, &manager) => match never {},
        };
        tracing::info!(signal = ending.name(), "received signal; shutting down");
        server.hand_over().await;
        Ok::<_, StartError>(ending)
    })?;
    manager.stopping();
    if matches!(ending, Ending::Removed) {
        let error = "the member has been permanently removed from the cluster";
        tracing::error!(error, "server error");
        tracing::warn!("data-dir used by this member must be removed");
    }
    server.stop();
    Ok(ending)
}

/// Tells the service manager how the member stands, and that it is well as long as all its threads are
/// there.
async fn keep_told(server: &Server, manager: &ServiceManager) -> Infallible {
    const LOOK_INTERVAL: Duration = Duration::from_secs(1);

    // Twice in the time that is allowed, as systemd advises.
    let interval = manager
        .watchdog()
        .map_or(LOOK_INTERVAL, |time| (time / 2).min(LOOK_INTERVAL));
    let mut told = String::new();
    loop {
        let status = server.standing();
        if status != told {
            manager.status(&status);
            told = status;
        }
        if manager.watchdog().is_some() && server.is_whole() {
            manager.alive();
        }
        tokio::time::sleep(interval).await;
    }
}

async fn asked_to_stop(terminate: &mut Signal, interrupt: &mut Signal) -> Ending {
    tokio::select! {
        _ = terminate.recv() => Ending::Terminated,
        _ = interrupt.recv() => Ending::Interrupted,
    }
}

/// Has signals that mean nothing here not end the process, from before its data is read.
fn stay_on_signals(runtime: &Runtime) -> io::Result<()> {
    let _in_runtime = runtime.enter();
    runtime.spawn(stay_on_hangup(signal(SignalKind::hangup())?));
    for kind in [SignalKind::user_defined1(), SignalKind::user_defined2()] {
        runtime.spawn(stay_on(signal(kind)?));
    }
    Ok(())
}

/// Others reload on it; here every connection looks for changed files, so there is nothing to do but to
/// stay.
async fn stay_on_hangup(mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        tracing::info!("received SIGHUP: changed TLS files are loaded with the next connection");
    }
}

/// Signals that mean nothing here must not end the process, as their default does.
async fn stay_on(mut signal: Signal) {
    while signal.recv().await.is_some() {}
}

/// What ended the process.
#[derive(Clone, Copy)]
enum Ending {
    Terminated,
    Interrupted,
    /// No signal: the cluster has removed this member.
    Removed,
}

impl Ending {
    const fn name(self) -> &'static str {
        match self {
            Self::Terminated => "terminated",
            Self::Interrupted => "interrupt",
            Self::Removed => "removed",
        }
    }

    /// Ends the process as etcd does: by the signal itself, so that whoever waits for it sees that it
    /// did what it was told. The first process of a container, which no signal can kill, ends with 0.
    fn end_process(self) -> ExitCode {
        let signal = match self {
            Self::Terminated => SIGTERM,
            Self::Interrupted => SIGINT,
            Self::Removed => return ExitCode::SUCCESS,
        };
        if std::process::id() != 1 {
            // Where it fails, there is nothing to do but to end without it.
            let _ = emulate_default_handler(signal);
        }
        ExitCode::SUCCESS
    }
}
