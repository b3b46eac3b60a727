//! `cargo xtask schemathesis`: random requests, made from the document that the gateway serves of
//! itself, at a fresh server; every answer must be one that the document tells of.
//!
//! What etcd answers otherwise than tools like it is not asked for: other methods get 501, fields that
//! are unknown are ignored, and a request that is well-formed may still be refused.

use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::outcome::Outcome;
use crate::server_process::{ServerCommand, on_path};
use crate::workspace::Workspace;

/// How many requests, to which server.
#[derive(Args, Clone, Debug)]
pub(crate) struct Schemathesis {
    /// Requests for each path, at most.
    #[arg(long, default_value_t = 30)]
    examples: u32,
    /// The same seed makes the same requests.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The server to check: a command line; this workspace's if not given.
    #[arg(long, value_name = "COMMAND")]
    server: Option<String>,
}

/// What is looked at in every answer.
const ALWAYS: &str =
    "status_code_conformance,content_type_conformance,response_headers_conformance";

/// Paths, and what else is looked at in their answers.
///
/// Left out are changes of the members: a second one that nobody started would end the quorum.
const GROUPS: [(&str, &str); 3] = [
    (
        "^/v3/(kv|lease/(grant|leases|revoke|timetolive)\
         |auth/(authenticate|disable|enable|role|status|user/(add|delete|get|grant|list|revoke))\
         |cluster/member/list|maintenance/(alarm|defragment|hash|hashkv|status))",
        "response_schema_conformance,not_a_server_error",
    ),
    // Some of these wait for their turn, until their time is over, and etcd's codes of some refusals
    // are 500 and 501: of a password for a user without one, for instance.
    (
        "^/v3/(lock|election/(campaign|leader|proclaim|resign)|auth/user/changepw\
         |maintenance/(downgrade|transfer-leadership))",
        "response_schema_conformance",
    ),
    // Streams are several JSON texts, which is no JSON text.
    (
        "^/v3/(watch|election/observe|lease/keepalive|maintenance/snapshot)",
        "content_type_conformance",
    ),
];

/// What there is no option for: other methods are not tried.
const SETTINGS: &str = "[phases.coverage]\nunexpected-methods = []\n";

/// How long a request that waits or streams may take, in gRPC's words.
const TIME: &str = "Grpc-Timeout: 300m";

impl Schemathesis {
    pub(crate) async fn run(&self, workspace: &Workspace) -> Result<Outcome> {
        let Some(program) = on_path("schemathesis") else {
            return Ok(Outcome::Skipped(
                "there is no `schemathesis` on the path (`pip install schemathesis`)".to_owned(),
            ));
        };
        let server = match &self.server {
            Some(line) => ServerCommand::parse(line)?,
            None => ServerCommand::program(workspace.build_server()?),
        };
        let home = tempfile::tempdir().context("making a folder for the server's data")?;
        let server = server.start(home.path()).await?;
        std::fs::write(home.path().join("schemathesis.toml"), SETTINGS)?;
        let mut failed = false;
        for (paths, checks) in GROUPS {
            println!("\n== {paths} ==");
            let mut command = Command::new(&program);
            command
                .args(["--no-color", "run", "--phases", "coverage,fuzzing"])
                .args(["--include-path-regex", paths])
                .args(["--checks", &format!("{ALWAYS},{checks}")])
                .args(["--max-examples", &self.examples.to_string()])
                .args(["--seed", &self.seed.to_string()])
                .args(["--continue-on-failure", "--warnings", "off"])
                .args(["-H", TIME])
                .arg(format!("{}/openapi.json", server.url()))
                // Where its settings are, and what it remembers.
                .current_dir(home.path());
            let mut command = tokio::process::Command::from(command);
            failed |= !command.kill_on_drop(true).status().await?.success();
        }
        Ok(if failed {
            Outcome::Failed
        } else {
            Outcome::Passed
        })
    }
}
