//! What a member starts with.

use crate::conf_change::ConfState;
use crate::log_index::LogIndex;
use crate::wal::WalOptions;

/// How a member takes part, and where its application stands.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// How the log is kept.
    pub wal: WalOptions,
    /// The last entry that the application has made durable in its own data.
    pub applied: LogIndex,
    /// The configuration at that entry, which the application keeps with it; nobody if nothing
    /// was applied.
    pub conf_state: ConfState,
    /// Ticks without a leader after which an election begins; up to as many again are added,
    /// by chance.
    pub election_ticks: usize,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: usize,
    /// Whether to ask, before an election, if it can be won.
    pub pre_vote: bool,
    /// What all chance follows from.
    pub seed: u64,
}

impl Default for NodeOptions {
    /// etcd's defaults: with a tick of 100 ms, a heartbeat every tick, an election after 10.
    fn default() -> Self {
        Self {
            wal: WalOptions::default(),
            applied: LogIndex::ZERO,
            conf_state: ConfState::default(),
            election_ticks: 10,
            heartbeat_ticks: 1,
            pre_vote: true,
            seed: 0,
        }
    }
}
