//! Random scripts of users: who may do what, on Cairn and on a real etcd.
//!
//! Everybody tries everything, with tokens of their own from either server; every answer is compared
//! but for ids, term and the tokens themselves.

mod player;
mod script;

use anyhow::Result;

pub(super) use self::script::AuthStep;
use super::gateway::Channels;
use super::text::TextStep;
use crate::server_process::{ApiVersion, ServerProcess};

impl TextStep for AuthStep {
    /// The least that bcrypt can cost.
    const FLAG: &'static str = "--bcrypt-cost=4";

    fn script(seed: u64, steps: usize, version: ApiVersion) -> Vec<Self> {
        script::script(seed, steps, version)
    }

    fn show(&self) -> String {
        self.show()
    }

    async fn play(_: &ServerProcess, channel: Channels, script: &[Self]) -> Result<Vec<String>> {
        player::play(channel, script).await
    }
}
