//! `lock`: holds a lock, for a program or until it is ended.

use std::ffi::OsString;
use std::time::Duration;

use cairn_client::Lock;
use cairn_proto::etcdserverpb::RangeRequest;
use clap::Command;

use crate::cli::{arguments, leaf, number};
use crate::failure::{Exit, Failure};
use crate::program::{self, ProgramError};
use crate::session::{Context, failure, interrupted};

/// What a program that died of a signal ends this one with.
const DIED: u8 = 255;

pub(crate) fn definition() -> Command {
    let ttl = number(
        "ttl",
        "Seconds after which the lock is free if this program is dead",
    )
    .default_value("10")
    .hide_default_value(false);
    let lock = leaf("lock", "Holds a lock, for a program or until Ctrl-C").arg(ttl);
    arguments(lock, "<name> [program …]").after_help(
        "The program runs while the lock is held, with ETCD_LOCK_KEY and ETCD_LOCK_REV set; what it\n\
         ends with, this ends with. Flags of the program follow `--`.\n\n\
         Example:\n  lock jobs/nightly -- ./nightly.sh --all",
    )
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let arguments = context.flags.byte_strings();
    let Some(name) = arguments.first().cloned() else {
        return Err(Failure::arguments(
            "lock takes a lock name argument and an optional command to execute",
        ));
    };
    let program: Vec<OsString> = context.flags.arguments().into_iter().skip(1).collect();
    let ttl = Duration::from_secs(context.flags.number("ttl").max(1).unsigned_abs());
    let session = context.session().await?;
    let told = |error| failure(Exit::Error, &error);
    let life = session.client.session(ttl).await.map_err(told)?;
    let lock = tokio::select! {
        lock = life.lock(name) => lock.map_err(told)?,
        () = interrupted() => return Err(Failure::error("context canceled")),
    };
    if !program.is_empty() {
        let ran = run_program(&lock, &program).await;
        let unlocked = lock.unlock().await.map_err(told);
        return ran.and(unlocked);
    }
    let request = RangeRequest {
        key: lock.key().clone(),
        ..RangeRequest::default()
    };
    let response = session.call(request).await?;
    if response.kvs.is_empty() {
        return Err(Failure::error("lock lost on init"));
    }
    session.show(&response)?;
    tokio::select! {
        () = lock.lost() => Err(Failure::error("session expired")),
        () = interrupted() => lock.unlock().await.map_err(told),
    }
}

async fn run_program(lock: &Lock, program: &[OsString]) -> Result<(), Failure> {
    let variables = [
        (
            "ETCD_LOCK_KEY",
            String::from_utf8_lossy(lock.key()).into_owned(),
        ),
        ("ETCD_LOCK_REV", lock.fencing_token().to_string()),
    ];
    let ran = program::run(program, &variables).await;
    ran.map_err(|error| {
        let exit = match &error {
            ProgramError::NotStarted(..) => Exit::Error,
            ProgramError::Ended(_) => Exit::Program(error.code().unwrap_or(DIED)),
        };
        Failure::new(exit, error)
    })
}
