//! What goes wrong: one trouble after the other, with time to recover in between, or not quite.

use std::time::Duration;

use anyhow::Result;
use cairn_history::MemberId;
use clap::ValueEnum;
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::time::sleep;

use super::cluster::{Cluster, Forgetting};

/// How long a trouble lasts.
const TROUBLE_MS: std::ops::Range<u64> = 300..3500;
/// How long there is none.
const PEACE_MS: std::ops::Range<u64> = 200..2500;

/// How long a long pause is.
const LONG_PAUSE: Duration = Duration::from_secs(30);
/// How wrong a wall clock becomes.
const HOUR_SECS: i64 = 3600;

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Trouble {
    /// A member is killed (SIGKILL) and started again.
    Kill,
    /// All members are killed at once and started again.
    KillAll,
    /// A member is stopped (SIGSTOP) and goes on later.
    Pause,
    /// A member is stopped for half a minute: far longer than leases and terms of leaders last.
    LongPause,
    /// A member's wall clock jumps by an hour, forward or back, and later again.
    Clock,
    /// A member is cut off from the others, both ways or one way.
    Partition,
    /// Another member is to lead.
    Move,
    /// A member is killed for good, removed, and a new one is added.
    Replace,
    /// A member's directory goes back to an older copy, or is emptied, also while all are down: it must
    /// say so and end. Then it is replaced.
    Forget,
}

/// Makes trouble of these kinds, as the seed has it.
pub(crate) struct Nemesis {
    troubles: Vec<Trouble>,
    rng: SmallRng,
    /// How often there was trouble.
    pub(crate) count: u32,
}

impl Nemesis {
    pub(crate) fn new(troubles: Vec<Trouble>, rng: SmallRng) -> Self {
        Self {
            troubles,
            rng,
            count: 0,
        }
    }

    /// Makes trouble without end; whoever drops this ends it at any point.
    pub(crate) async fn run(&mut self, cluster: &mut Cluster) -> Result<()> {
        loop {
            let peace = self.rng.random_range(PEACE_MS);
            sleep(Duration::from_millis(peace)).await;
            if self.troubles.is_empty() {
                continue;
            }
            let at = self.rng.random_range(0..self.troubles.len());
            let Some(trouble) = self.troubles.get(at).copied() else {
                continue;
            };
            self.count += 1;
            if let Err(error) = self.make(trouble, cluster).await {
                // Some servers cannot do all that is asked of them.
                println!("no more {trouble:?}: {error:#}");
                self.troubles.retain(|it| *it != trouble);
                cluster.heal().await?;
            }
        }
    }

    async fn make(&mut self, trouble: Trouble, cluster: &mut Cluster) -> Result<()> {
        let Some(victim) = self.victim(cluster).await else {
            return Ok(());
        };
        let lasting = Duration::from_millis(self.rng.random_range(TROUBLE_MS));
        match trouble {
            Trouble::Kill => {
                cluster.kill(victim)?;
                sleep(lasting).await;
                cluster.restart(victim)?;
            }
            Trouble::KillAll => {
                for id in cluster.ids() {
                    cluster.kill(id)?;
                }
                for id in cluster.ids() {
                    cluster.restart(id)?;
                }
                sleep(lasting).await;
            }
            Trouble::Pause => {
                cluster.pause(victim)?;
                sleep(lasting).await;
                cluster.go_on(victim)?;
            }
            Trouble::LongPause => {
                cluster.pause(victim)?;
                sleep(LONG_PAUSE).await;
                cluster.go_on(victim)?;
            }
            Trouble::Clock => {
                let by = [-HOUR_SECS, 0, HOUR_SECS];
                let at = self.rng.random_range(0..by.len());
                cluster.set_wall_clock(victim, by.get(at).copied().unwrap_or_default())?;
                sleep(lasting).await;
            }
            Trouble::Partition => {
                let is_one_way = self.rng.random_bool(0.4);
                cluster.cut_off(victim, is_one_way)?;
                sleep(lasting).await;
                cluster.heal_network()?;
            }
            // A cluster without a leader cannot hand over; that is no reason to stop.
            Trouble::Move => drop(cluster.move_leader(victim).await),
            Trouble::Replace => {
                cluster.heal().await?;
                cluster.replace(victim).await?;
            }
            Trouble::Forget => {
                cluster.heal().await?;
                let forgetting = Forgetting {
                    empties: self.rng.random_bool(0.3),
                    all_down: self.rng.random_bool(0.5),
                    after: lasting,
                };
                cluster.forget(victim, forgetting).await?;
                cluster.replace(victim).await?;
            }
        }
        Ok(())
    }

    /// The leader every other time, as it has most to lose.
    async fn victim(&mut self, cluster: &Cluster) -> Option<MemberId> {
        if self.rng.random_bool(0.5)
            && let Some(leader) = cluster.leader().await
        {
            return Some(leader.member);
        }
        let ids = cluster.ids();
        ids.get(self.rng.random_range(0..ids.len().max(1))).copied()
    }
}
