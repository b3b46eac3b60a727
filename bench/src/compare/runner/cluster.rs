//! Benchmarks of clusters: load on several members, a leader that is killed, a member that was away.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::compare::quantity::Quantity;
use crate::compare::runner::{MANY, READERS, Results, Runner, some_puts, some_reads};
use crate::gap::longest_gap;
use crate::probe;
use crate::pulse::Pulse;
use crate::scenario::Consistency;

/// How long writes are watched before the leader is killed, and again after it was replaced: a
/// cluster that stumbles twice was not well after the first time.
const CALM: Duration = Duration::from_secs(2);
/// The longest that a cluster may be without a leader.
const FAILOVER_MAX: Duration = Duration::from_secs(60);
/// The longest that catching up may take.
const CATCH_UP_MAX: Duration = Duration::from_secs(1800);
/// How often a member that catches up is asked where it is.
const LOOK: Duration = Duration::from_millis(5);

impl Runner<'_> {
    /// Puts to the leader, and then to all members.
    pub(super) fn cluster_puts(&mut self) -> Result<()> {
        let leader = self.side.cluster.leader()?;
        let results = Results {
            rate: Quantity::LeaderPutRate,
            cpu: Quantity::LeaderPutCpu,
            latency: Some((Quantity::LeaderPutsP50, Quantity::LeaderPutsP99)),
        };
        let target = self.side.cluster.one(leader)?;
        self.compete(MANY, target, &some_puts(), &results)?;
        let results = Results {
            rate: Quantity::MembersPutRate,
            cpu: Quantity::MembersPutCpu,
            latency: Some((Quantity::MembersPutsP50, Quantity::MembersPutsP99)),
        };
        self.compete(MANY, self.side.cluster.all()?, &some_puts(), &results)
    }

    /// Linearizable reads from all members, and then serializable ones.
    pub(super) fn cluster_reads(&mut self) -> Result<()> {
        let kinds = [
            (
                Consistency::Linearizable,
                Quantity::MembersReadRate,
                Quantity::MembersReadCpu,
            ),
            (
                Consistency::Serializable,
                Quantity::SerializableRate,
                Quantity::SerializableCpu,
            ),
        ];
        for (consistency, rate, cpu) in kinds {
            let results = Results {
                rate,
                cpu,
                latency: None,
            };
            let reads = some_reads(consistency);
            self.compete(READERS, self.side.cluster.all()?, &reads, &results)?;
        }
        Ok(())
    }

    /// Kills the leader several times, and starts it again each time.
    pub(super) fn failover(&mut self) -> Result<()> {
        for _ in 0..self.scale.kills {
            let cluster = &mut self.side.cluster;
            let leader = cluster.leader()?;
            let pulse = Pulse::start(cluster.others(leader))?;
            pulse.wait_for_one_sent_after(Instant::now(), FAILOVER_MAX)?;
            std::thread::sleep(CALM);
            let killed = Instant::now();
            cluster.kill(leader)?;
            pulse.wait_for_one_sent_after(killed, FAILOVER_MAX)?;
            std::thread::sleep(CALM);
            let gap = longest_gap(&pulse.end()?).context("no write was acknowledged")?;
            cluster.revive(leader)?.wait_until_ready()?;
            self.side.add(Quantity::Failover, gap.as_secs_f64());
        }
        Ok(())
    }

    /// Kills a follower, lets it miss revisions, starts it and waits until it has them.
    pub(super) fn catch_up(&mut self) -> Result<()> {
        let leader = self.side.cluster.leader()?;
        let away = usize::from(leader == 0);
        self.side.cluster.kill(away)?;
        let target = self.side.cluster.one(leader)?;
        self.send(self.scale.revisions, target, &some_puts())?;
        let cluster = &mut self.side.cluster;
        let (ahead, behind) = (cluster.endpoint(leader)?, cluster.endpoint(away)?);
        let revision = probe::revision(ahead)?;
        let started = cluster.revive(away)?.started();
        // It does not answer while it starts.
        while probe::revision(behind).unwrap_or(0) < revision {
            ensure!(started.elapsed() < CATCH_UP_MAX, "it has not caught up");
            std::thread::sleep(LOOK);
        }
        self.side
            .add(Quantity::CatchUp, started.elapsed().as_secs_f64());
        ensure!(
            probe::hash(behind, revision)? == probe::hash(ahead, revision)?,
            "the member that caught up has other data than the leader"
        );
        Ok(())
    }
}
