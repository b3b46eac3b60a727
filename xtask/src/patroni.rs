//! `cargo xtask patroni`: PostgreSQL kept available by Patroni, with its state in a cluster.
//!
//! Two PostgreSQL servers are bootstrapped, each with a Patroni that competes for the leader's key:
//! through the JSON gateway (Patroni's `etcd3`), or through v2 (its `etcd`). The leader is killed
//! together with its PostgreSQL (SIGKILL); the other must take its place, with what was written.

mod node;

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use self::node::{Node, Programs, Role, USER};
use crate::members::{HttpPlace, Members};
use crate::outcome::Outcome;
use crate::server_process::ServerCommand;
use crate::workspace::{Workspace, run};

/// How long a step may take; the leader's key alone is kept for 20 s after the leader is gone.
const PATIENCE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(500);

/// Which server, and by which API.
#[derive(Args, Clone, Debug)]
pub(crate) struct Patroni {
    /// By the v2 API, which the server is told to serve (`--enable-v2`).
    #[arg(long)]
    v2: bool,
    /// How many members keep Patroni's state.
    #[arg(long, default_value_t = 3)]
    members: usize,
    /// The server to check: a command line; this workspace's if not given.
    #[arg(long, value_name = "COMMAND")]
    server: Option<String>,
}

impl Patroni {
    pub(crate) async fn run(&self, workspace: &Workspace) -> Result<Outcome> {
        let programs = match Programs::find() {
            Ok(programs) => programs,
            Err(missing) => return Ok(Outcome::Skipped(format!("{missing:#}"))),
        };
        let mut server = match &self.server {
            Some(line) => ServerCommand::parse(line)?,
            None => ServerCommand::program(workspace.build_server()?),
        };
        if self.v2 {
            server = server.flag("--enable-v2");
        }
        let home = tempfile::tempdir().context("making a folder for data")?;
        let data = home.path().join("members");
        let http = HttpPlace::WithGrpc;
        let members = Members::start(&server, &data, self.members, None, http).await?;
        let folder = tempfile::tempdir().context("making a folder for PostgreSQL")?;
        let hosts = members.endpoints().replace("http://", "");
        let mut nodes = Vec::new();
        for name in ["pg1", "pg2"] {
            nodes.push(Node::new(name, folder.path(), &hosts, self.v2)?);
        }
        if programs.changes_user() {
            let mut own = Command::new("chown");
            run(own.args(["-R", USER]).arg(folder.path()))?;
        }
        let replaced = replaced(&programs, &mut nodes).await;
        if replaced.is_err() {
            for node in &nodes {
                println!("the end of {}'s log:\n{}", node.name(), node.log_end());
            }
        }
        replaced.map(|()| Outcome::Passed)
    }
}

/// Lets both servers start, kills the leader, and sees that the other takes over.
async fn replaced(programs: &Programs, nodes: &mut [Node]) -> Result<()> {
    let start = Instant::now();
    let say = |what: &str| println!("{:>4.0} s: {what}", start.elapsed().as_secs_f64());
    let [first, second] = nodes else {
        bail!("there are two of them");
    };
    first.start(programs)?;
    wait_for(first, Role::Leader).await?;
    say("pg1 is bootstrapped and leads");
    second.start(programs)?;
    wait_for(second, Role::Replica).await?;
    say("pg2 is a copy of it and follows");
    let make = "create table told (what text); insert into told values ('before')";
    first.sql(programs, make)?;
    wait_for_rows(programs, second, "before").await?;
    say("what is written to pg1 is in pg2");
    first.kill()?;
    say("pg1 is killed");
    wait_for(second, Role::Leader).await?;
    say("pg2 leads");
    // Patroni says so as soon as it has the key, and promotes PostgreSQL then.
    wait_for_answer(programs, second, "select pg_is_in_recovery()", "f").await?;
    second.sql(programs, "insert into told values ('after')")?;
    wait_for_rows(programs, second, "before,after").await?;
    say("pg2 has what was written before, and takes more");
    first.start(programs)?;
    wait_for(first, Role::Replica).await?;
    wait_for_rows(programs, first, "before,after").await?;
    say("pg1 is back, follows, and has it all");
    Ok(())
}

async fn wait_for(node: &mut Node, role: Role) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !node.has(role).await {
        node.check_runs()?;
        if Instant::now() > deadline {
            bail!("{} is not yet {role:?}", node.name());
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

async fn wait_for_rows(programs: &Programs, node: &Node, wanted: &str) -> Result<()> {
    let sql = "select string_agg(what, ',') from told";
    wait_for_answer(programs, node, sql, wanted).await
}

async fn wait_for_answer(programs: &Programs, node: &Node, sql: &str, wanted: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match node.sql(programs, sql) {
            Ok(found) if found == wanted => return Ok(()),
            _ if Instant::now() < deadline => tokio::time::sleep(POLL).await,
            Ok(found) => bail!("{} has {found:?}, not {wanted:?}", node.name()),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_name_the_api() {
        let home = tempfile::tempdir().unwrap();
        for (is_v2, section) in [(false, "etcd3:"), (true, "etcd:")] {
            let node = Node::new("pg1", home.path(), "127.0.0.1:1", is_v2).unwrap();
            let settings = std::fs::read_to_string(node.settings()).unwrap();
            assert!(
                settings.lines().any(|line| line.starts_with(section)),
                "{settings}"
            );
        }
    }
}
