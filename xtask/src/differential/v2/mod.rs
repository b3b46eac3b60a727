//! Random scripts on the second API: etcd 3.4 or 3.5 with `--enable-v2` beside Cairn.
//!
//! Status, every header and every byte of every answer are compared, but for times, IDs and the
//! log's place. Indexes are counted from that of the new member.

mod player;
mod script;

use anyhow::Result;

pub(super) use self::script::V2Step;
use super::gateway::Channels;
use super::text::TextStep;
use crate::server_process::{ApiVersion, ServerProcess};

impl TextStep for V2Step {
    const FLAG: &'static str = "--enable-v2";

    fn script(seed: u64, steps: usize, _: ApiVersion) -> Vec<Self> {
        script::script(seed, steps)
    }

    fn show(&self) -> String {
        self.show()
    }

    async fn play(server: &ServerProcess, _: Channels, script: &[Self]) -> Result<Vec<String>> {
        player::play(server, script).await
    }
}
