//! Random scripts on the second API: etcd 3.4 or 3.5 with `--enable-v2` beside Cairn.
//!
//! Status, every header and every byte of every answer are compared, but for times, IDs and the
//! log's place. Indexes are counted from that of the new member.

mod player;
mod script;

use anyhow::{Context, Result};

use self::script::{V2Step, script};
use super::Arena;
use crate::server_process::ServerCommand;

/// What is compared and found different.
pub(super) struct Difference {
    at: usize,
    script: Vec<V2Step>,
    real: String,
    checked: String,
}

impl Difference {
    pub(super) fn show(&self) -> String {
        let mut lines = vec![format!("\nshortest script ({} steps):", self.script.len())];
        for (at, step) in self.script.iter().enumerate() {
            let mark = if at == self.at { ">" } else { " " };
            lines.push(format!("{mark} {:>3}. {}", at + 1, step.show()));
        }
        lines.push(format!("the real one answers:\n{}", self.real));
        lines.push(format!("the checked one answers:\n{}", self.checked));
        lines.join("\n")
    }
}

/// Plays the script of a seed; a difference comes with as few steps as show it.
pub(super) async fn compare(arena: &Arena, seed: u64, steps: usize) -> Result<Option<Difference>> {
    let Some(mut found) = play_both(arena, script(seed, steps)).await? else {
        return Ok(None);
    };
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
    Ok(Some(found))
}

async fn play_both(arena: &Arena, script: Vec<V2Step>) -> Result<Option<Difference>> {
    let home = tempfile::tempdir().context("making a folder for the servers' data")?;
    let (real_home, checked_home) = (home.path().join("real"), home.path().join("checked"));
    let (real, checked) = tokio::try_join!(
        play_fresh(&arena.real, &real_home, &script),
        play_fresh(&arena.checked, &checked_home, &script)
    )?;
    let differs = real.iter().zip(&checked).position(|(a, b)| a != b);
    Ok(differs.map(|at| Difference {
        at,
        real: real.get(at).cloned().unwrap_or_default(),
        checked: checked.get(at).cloned().unwrap_or_default(),
        script,
    }))
}

async fn play_fresh(
    command: &ServerCommand,
    home: &std::path::Path,
    script: &[V2Step],
) -> Result<Vec<String>> {
    let command = command.clone().flag("--enable-v2");
    let server = command.start(home).await?;
    player::play(&server, script)
        .await
        .with_context(|| format!("log of {}:\n{}", server.name(), server.log_end()))
}
