//! `cargo xtask differential`: the same random scripts on Cairn and on a real etcd.
//!
//! Each script is played on both servers, started fresh, and every field of every answer is
//! compared; ids, term and sizes are not. A script that shows a difference is shrunk and printed
//! with both answers.

mod answer;
mod auth;
mod gateway;
mod generator;
mod known;
mod player;
mod shrink;
mod step;
mod terse;
mod text;
mod v2;
mod watch_stream;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use self::answer::Answer;
use self::auth::AuthStep;
use self::step::Step;
use self::v2::V2Step;
use crate::outcome::Outcome;
use crate::server_process::{ApiVersion, ServerCommand, on_path};
use crate::workspace::Workspace;

/// The first version of etcd whose gateway has a path for `HashKV`.
const HASHKV_IN_JSON: ApiVersion = ApiVersion { major: 3, minor: 5 };

/// The first version of etcd without the second API.
const V2_REMOVED: ApiVersion = ApiVersion { major: 3, minor: 6 };

/// Which scripts, on which servers.
#[derive(Args, Clone, Debug)]
pub(crate) struct Differential {
    /// How many scripts to play.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The seed of the first; the next ones count up.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps in a script.
    #[arg(long, default_value_t = 120)]
    steps: usize,
    /// Start no further script after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Scripts of users, roles and tokens instead.
    #[arg(long)]
    auth: bool,
    /// Scripts on the second API instead; the real etcd must still have it (3.4 or 3.5).
    #[arg(long, conflicts_with = "auth")]
    v2: bool,
    /// Call everything but watches through the JSON gateway.
    #[arg(long, conflicts_with = "v2")]
    json: bool,
    /// End after so many differences.
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    differences: u64,
    /// The real etcd: a command line; `etcd` from the path if not given.
    #[arg(long, value_name = "COMMAND")]
    etcd: Option<String>,
    /// The server to check: a command line; this workspace's if not given.
    #[arg(long, value_name = "COMMAND")]
    server: Option<String>,
}

impl Differential {
    /// What every change is checked with: always the same scripts.
    pub(crate) fn short() -> Self {
        Self {
            seeds: 40,
            seed: 1,
            steps: 120,
            seconds: Some(60),
            auth: false,
            json: false,
            v2: false,
            differences: 1,
            etcd: None,
            server: None,
        }
    }

    /// The same for users.
    pub(crate) fn short_of_users() -> Self {
        Self {
            seeds: 12,
            seconds: Some(25),
            auth: true,
            ..Self::short()
        }
    }

    /// The same for the second API.
    pub(crate) fn short_of_v2() -> Self {
        Self {
            seeds: 12,
            seconds: Some(25),
            v2: true,
            ..Self::short()
        }
    }

    /// The same scripts of keys by JSON, beside an etcd whose gateway is like today's.
    pub(crate) fn short_of_json() -> Self {
        Self {
            seeds: 6,
            seconds: Some(15),
            json: true,
            ..Self::short()
        }
    }

    pub(crate) async fn run(&self, workspace: &Workspace) -> Result<Outcome> {
        let real = match (&self.etcd, on_path("etcd")) {
            (Some(line), _) => ServerCommand::parse(line)?,
            (None, Some(program)) => ServerCommand::program(program),
            (None, None) => {
                return Ok(Outcome::Skipped(
                    "there is no `etcd` on the path (Debian: etcd-server)".to_owned(),
                ));
            }
        };
        let checked = match &self.server {
            Some(line) => ServerCommand::parse(line)?,
            None => ServerCommand::program(workspace.build_server()?),
        };
        let arena = Arena {
            real_version: real.api_version()?,
            real,
            checked,
            is_json: self.json,
        };
        if self.v2 && arena.real_version >= V2_REMOVED {
            return Ok(Outcome::Skipped(
                "the real etcd has no second API any more (3.4 and 3.5 have)".to_owned(),
            ));
        }
        let start = Instant::now();
        let (mut played, mut differences) = (0, 0);
        for seed in self.seed..self.seed.saturating_add(self.seeds) {
            let longest = self.seconds.map(Duration::from_secs);
            if longest.is_some_and(|longest| start.elapsed() >= longest) {
                break;
            }
            let difference = if self.auth {
                text::compare::<AuthStep>(&arena, seed, self.steps).await?
            } else if self.v2 {
                text::compare::<V2Step>(&arena, seed, self.steps).await?
            } else {
                self.compare_kv(&arena, seed).await?
            };
            if let Some(difference) = difference {
                println!("seed {seed}: a difference\n{difference}");
                differences += 1;
            }
            played += 1;
            if differences >= self.differences {
                break;
            }
        }
        println!(
            "{played} scripts of {} steps, {:.0} s: {differences} with a difference",
            self.steps,
            start.elapsed().as_secs_f64()
        );
        Ok(if differences == 0 {
            Outcome::Passed
        } else {
            Outcome::Failed
        })
    }
}

impl Differential {
    /// Plays the script of a seed; a difference is told as text.
    async fn compare_kv(&self, arena: &Arena, seed: u64) -> Result<Option<String>> {
        let mut script = generator::script(seed, self.steps, arena.real_version);
        if self.json && arena.real_version < HASHKV_IN_JSON {
            script.retain(|step| !matches!(step, Step::HashKv { .. }));
        }
        let Some(difference) = arena.compare(&script).await? else {
            return Ok(None);
        };
        println!("seed {seed}: a difference; looking for the shortest script");
        let (script, difference) = shrink::shrink(arena, script, difference).await?;
        Ok(Some(difference.show(arena, &script)))
    }
}

/// The two servers.
struct Arena {
    real: ServerCommand,
    real_version: ApiVersion,
    checked: ServerCommand,
    /// Whether scripts go through the JSON gateway.
    is_json: bool,
}

impl Arena {
    /// Plays a script on both, and finds the first answer that differs.
    async fn compare(&self, script: &[Step]) -> Result<Option<Difference>> {
        let home = tempfile::tempdir().context("making a folder for the servers' data")?;
        let (real_home, checked_home) = (home.path().join("real"), home.path().join("checked"));
        let (real, checked) = tokio::try_join!(
            self.play_fresh(&self.real, &real_home, script),
            self.play_fresh(&self.checked, &checked_home, script)
        )?;
        for (at, (mut real, mut checked)) in real.into_iter().zip(checked).enumerate() {
            let end = Step::Progress { stream: 0 };
            let step = script.get(at).unwrap_or(&end);
            known::forget(self.real_version, step, &mut real);
            known::forget(self.real_version, step, &mut checked);
            if real != checked {
                return Ok(Some(Difference { at, real, checked }));
            }
        }
        Ok(None)
    }

    async fn play_fresh(
        &self,
        command: &ServerCommand,
        home: &std::path::Path,
        script: &[Step],
    ) -> Result<Vec<Answer>> {
        let server = command.start(home).await?;
        player::play(&server, script, self.is_json)
            .await
            .with_context(|| format!("log of {}:\n{}", server.name(), server.log_end()))
    }
}

/// Where the answers to a script part.
struct Difference {
    /// The step; past the last one, what the watches saw.
    at: usize,
    real: Answer,
    checked: Answer,
}

impl Difference {
    fn show(&self, arena: &Arena, script: &[Step]) -> String {
        let mut lines = vec![format!("shortest script ({} steps):", script.len())];
        for (at, step) in script.iter().enumerate() {
            let mark = if at == self.at { ">" } else { " " };
            lines.push(format!("{mark} {:>3}. {}", at + 1, step.show()));
        }
        if self.at >= script.len() {
            lines.push(">      (what the watches saw)".to_owned());
        }
        for (name, answer) in [
            (arena.real.name(), &self.real),
            (arena.checked.name(), &self.checked),
        ] {
            lines.push(format!("{name} answers:\n{}", answer.show()));
        }
        lines.join("\n")
    }
}
