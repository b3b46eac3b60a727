//! Scripts whose answers are compared as text: playing them on both servers, and making one that
//! shows a difference as short as it gets.

use std::path::Path;

use anyhow::{Context, Result};

use super::Arena;
use super::gateway::Channels;
use crate::server_process::{ApiVersion, ServerCommand, ServerProcess};

/// A step of such a script.
pub(super) trait TextStep: Clone {
    /// What both servers need.
    const FLAG: &'static str;

    /// A script of about so many steps for servers that stand for at least this version; the same
    /// seed gives the same script.
    fn script(seed: u64, steps: usize, version: ApiVersion) -> Vec<Self>;

    fn show(&self) -> String;

    /// Plays a script on a fresh server: the answer to each step.
    async fn play(
        server: &ServerProcess,
        channel: Channels,
        script: &[Self],
    ) -> Result<Vec<String>>;
}

/// What is compared and found different.
struct Difference<S> {
    at: usize,
    script: Vec<S>,
    real: String,
    checked: String,
}

/// Plays the script of a seed; a difference is told with as few steps as show it.
pub(super) async fn compare<S: TextStep>(
    arena: &Arena,
    seed: u64,
    steps: usize,
) -> Result<Option<String>> {
    let script = S::script(seed, steps, arena.real_version);
    let Some(mut found) = play_both(arena, script).await? else {
        return Ok(None);
    };
    // Where a step is answered only by what comes later, this is no script that shows it.
    let mut head = found.script.clone();
    head.truncate(found.at + 1);
    if let Some(shorter) = play_both(arena, head).await? {
        found = shorter;
    }
    // Half of it at a time, then fewer, down to single steps.
    let mut piece = found.script.len() / 2;
    while piece > 0 {
        let mut start = 0;
        while start < found.script.len() {
            let mut fewer = found.script.clone();
            fewer.drain(start..(start + piece).min(fewer.len()));
            match play_both(arena, fewer).await? {
                Some(shorter) => found = shorter,
                None => start += piece,
            }
        }
        piece /= 2;
    }
    Ok(Some(found.show()))
}

async fn play_both<S: TextStep>(arena: &Arena, script: Vec<S>) -> Result<Option<Difference<S>>> {
    let home = tempfile::tempdir().context("making a folder for the servers' data")?;
    let (real_home, checked_home) = (home.path().join("real"), home.path().join("checked"));
    let (real, checked) = tokio::try_join!(
        play_fresh(arena, &arena.real, &real_home, &script),
        play_fresh(arena, &arena.checked, &checked_home, &script)
    )?;
    let differs = real.iter().zip(&checked).position(|(a, b)| a != b);
    Ok(differs.map(|at| Difference {
        at,
        real: real.get(at).cloned().unwrap_or_default(),
        checked: checked.get(at).cloned().unwrap_or_default(),
        script,
    }))
}

async fn play_fresh<S: TextStep>(
    arena: &Arena,
    command: &ServerCommand,
    home: &Path,
    script: &[S],
) -> Result<Vec<String>> {
    let server = command.clone().flag(S::FLAG).start(home).await?;
    let channel = Channels::of(&server, arena.is_json)?;
    S::play(&server, channel, script)
        .await
        .with_context(|| format!("log of {}:\n{}", server.name(), server.log_end()))
}

impl<S: TextStep> Difference<S> {
    fn show(&self) -> String {
        let mut lines = vec![format!("shortest script ({} steps):", self.script.len())];
        for (at, step) in self.script.iter().enumerate() {
            let mark = if at == self.at { ">" } else { " " };
            lines.push(format!("{mark} {:>3}. {}", at + 1, step.show()));
        }
        lines.push(format!("the real one answers:\n{}", self.real));
        lines.push(format!("the checked one answers:\n{}", self.checked));
        lines.join("\n")
    }
}
