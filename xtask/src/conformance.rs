//! `cargo xtask conformance`: what a client, an operator and a script can see of etcd's rules, rule by
//! rule, on any server that claims to follow them.
//!
//! Each rule is a function whose name says it; a file has those of one area. A rule holds, or it is told
//! what was seen instead. [`known`] lists what is different on purpose, and why.

mod auth;
mod cluster;
mod context;
mod expect;
mod health;
mod http;
mod json;
mod keys;
mod known;
mod lease;
mod limits;
mod lock;
mod maintenance;
mod metrics;
mod page;
mod process;
mod range;
mod rule;
mod txn;
mod watch;
mod watching;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;

use self::context::Context;
use self::rule::{Rule, Seen};
use crate::outcome::Outcome;
use crate::server_process::{ServerCommand, on_path};
use crate::workspace::Workspace;

/// All rules. Those of users come last: they turn authentication on and off.
const AREAS: [&[Rule]; 15] = [
    range::RULES,
    keys::RULES,
    txn::RULES,
    watch::RULES,
    lease::RULES,
    lock::RULES,
    maintenance::RULES,
    cluster::RULES,
    limits::RULES,
    http::RULES,
    health::RULES,
    json::RULES,
    metrics::RULES,
    process::RULES,
    auth::RULES,
];

/// How long one rule may take.
const RULE_MAX: Duration = Duration::from_secs(60);

/// Which rules, of whom.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Conformance {
    /// A server that runs: its URL. It is written to, compacted, defragmented, and has its
    /// authentication turned on and off. Rules of processes are left out.
    #[arg(long, value_name = "URL", conflicts_with = "server")]
    endpoint: Option<String>,
    /// A server to start: a command line; this workspace's if neither is given.
    #[arg(long, value_name = "COMMAND")]
    server: Option<String>,
    /// Only rules whose area or name has this in it.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Show the rules that hold too.
    #[arg(long)]
    verbose: bool,
}

/// How many rules ended how.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    seen: usize,
    different: usize,
    later: usize,
    broken: usize,
}

impl Conformance {
    /// What every change is checked with: this workspace's server, and the etcd on the path.
    pub(crate) async fn in_gate(workspace: &Workspace) -> Result<Outcome> {
        let ours = Self::default().run(workspace).await?;
        let Some(etcd) = on_path("etcd") else {
            return Ok(ours);
        };
        println!("\n{}:", etcd.display());
        let command = etcd.to_string_lossy().into_owned();
        let theirs = Self {
            server: Some(command),
            ..Self::default()
        };
        match (ours, theirs.run(workspace).await?) {
            (Outcome::Passed, theirs) => Ok(theirs),
            (ours, _) => Ok(ours),
        }
    }

    pub(crate) async fn run(&self, workspace: &Workspace) -> Result<Outcome> {
        if let Some(endpoint) = &self.endpoint {
            return self.check(&Context::of_endpoint(endpoint).await?).await;
        }
        let command = match &self.server {
            Some(line) => ServerCommand::parse(line)?,
            None => ServerCommand::program(workspace.build_server()?),
        };
        let home = tempfile::tempdir()?;
        let path: &Path = home.path();
        // Passwords are hashed as seldom as possible.
        let shared = command.clone().flag("--bcrypt-cost=4");
        let server = shared.start(&path.join("shared")).await?;
        let context = Context::of_server(&command, &server, path).await?;
        self.check(&context).await
    }

    async fn check(&self, context: &Context) -> Result<Outcome> {
        let begun = Instant::now();
        let rules = AREAS.into_iter().flatten().filter(|rule| self.wants(rule));
        let (alone, shared): (Vec<_>, Vec<_>) = rules.partition(|rule| rule.needs_process);
        ensure!(
            alone.len() + shared.len() > 0,
            "no rule has that in its name"
        );
        println!("{:<12} {:<9} rule", "area", "seen");
        // Those that start servers of their own disturb nobody.
        let (one, other) = alone.split_at(alone.len() / 2);
        let tallies = tokio::join!(
            self.see_all(&shared, context),
            self.see_all(one, context),
            self.see_all(other, context),
        );
        let mut tally = tallies.0;
        tally.add(&tallies.1);
        tally.add(&tallies.2);
        println!(
            "{} {}: {} rules seen, {} differ on purpose, {} came later, {} not seen, in {:.1} s",
            context.product(),
            context.version,
            tally.seen,
            tally.different,
            tally.later,
            tally.broken,
            begun.elapsed().as_secs_f64(),
        );
        Ok(if tally.broken == 0 {
            Outcome::Passed
        } else {
            Outcome::Failed
        })
    }

    fn wants(&self, rule: &Rule) -> bool {
        let only = self.only.as_deref();
        only.is_none_or(|only| rule.area == only || rule.name().contains(only))
    }

    async fn see_all(&self, rules: &[&Rule], context: &Context) -> Tally {
        let mut tally = Tally::default();
        for rule in rules {
            let begun = Instant::now();
            let seen = self.see(rule, context).await;
            tally.note(&seen);
            let took = begun.elapsed();
            if self.verbose || !matches!(seen, Seen::Yes) {
                let (area, word, name) = (rule.area, seen.word(), rule.name());
                println!("{area:<12} {word:<9} {name}{} ({took:.1?})", seen.told());
            }
        }
        tally
    }

    async fn see(&self, rule: &Rule, context: &Context) -> Seen {
        if context.version < rule.since {
            return Seen::CameLater(rule.since);
        }
        if rule.needs_process && context.command.is_none() {
            return Seen::NeedsServer;
        }
        let looked = tokio::time::timeout(RULE_MAX, (rule.look)(context.for_rule()));
        let looked = looked
            .await
            .unwrap_or_else(|_| Err(anyhow::anyhow!("there is no end to it within {RULE_MAX:?}")));
        match (looked, known::why(rule, context)) {
            (Ok(()), None) => Seen::Yes,
            (Ok(()), Some(_)) => {
                Seen::No("it is seen, and known.rs says that it is not".to_owned())
            }
            (Err(_), Some(why)) => Seen::Different(why),
            (Err(error), None) => Seen::No(format!("{error:#}")),
        }
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.seen += other.seen;
        self.different += other.different;
        self.later += other.later;
        self.broken += other.broken;
    }

    fn note(&mut self, seen: &Seen) {
        match seen {
            Seen::Yes => self.seen += 1,
            Seen::Different(_) => self.different += 1,
            Seen::CameLater(_) | Seen::NeedsServer => self.later += 1,
            Seen::No(_) => self.broken += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::server_process::ApiVersion;

    #[test]
    fn no_two_rules_have_one_name_and_what_is_known_is_of_a_rule() {
        let mut names = BTreeSet::new();
        for rule in AREAS.into_iter().flatten() {
            assert!(names.insert(rule.name()), "{}", rule.name());
        }
        assert!(names.len() >= 150, "{}", names.len());
        for known in known::KNOWN {
            assert!(names.contains(known.rule), "{}", known.rule);
        }
    }

    #[test]
    fn releases_are_in_order() {
        assert!(rule::V3_4 < rule::V3_5 && rule::V3_6 < rule::V3_7);
        assert!(ApiVersion { major: 3, minor: 4 } == rule::V3_4);
    }
}
