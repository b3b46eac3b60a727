//! Ending the servers that we started when we are told to end ourselves.
//!
//! A server is killed when its handle is dropped, but a signal drops nothing: without this, an
//! interrupted comparison would leave two servers running.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

use crate::server_process::ServerProcess;

/// What the shell expects of a program ended by SIGINT.
const EXIT_CODE: i32 = 130;

/// Ids of the servers that run.
static SERVERS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Starts a thread that, at SIGINT or SIGTERM, ends all servers and then this process.
///
/// # Errors
///
/// If the thread cannot be started or signals cannot be listened to.
pub fn end_servers_on_signal() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut interrupt, mut terminate) = {
        let _context = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            for &pid in running().iter() {
                // One that has ended already needs no more.
                drop(ServerProcess::with_pid(pid).kill());
            }
            std::process::exit(EXIT_CODE);
        })?;
    Ok(())
}

/// The servers that run.
pub(crate) fn running() -> MutexGuard<'static, BTreeSet<u32>> {
    // The set is whole at any moment: a panic elsewhere does not spoil it.
    SERVERS.lock().unwrap_or_else(PoisonError::into_inner)
}
