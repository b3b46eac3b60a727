//! How thoroughly is compared: rounds, times and sizes.

use std::time::Duration;

use crate::compare::CompareArgs;

/// Members of a cluster that can lose one.
const MEMBERS_MIN: usize = 3;

/// Rounds, times and sizes.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    pub(super) rounds: u32,
    pub(super) warm_up: Duration,
    pub(super) measure: Duration,
    /// Keys for memory and restart.
    pub(super) million: u64,
    /// For benchmarks with many clients.
    pub(super) connections: usize,
    /// Of a cluster.
    pub(super) members: usize,
    /// Of the leader, in each round.
    pub(super) kills: u32,
    /// Revisions that a member misses.
    pub(super) revisions: u64,
    /// Leases for memory.
    pub(super) leases: u64,
}

impl Scale {
    pub(super) fn new(args: &CompareArgs) -> Self {
        let CompareArgs {
            quick,
            rounds,
            connections,
            members,
            revisions,
            ..
        } = *args;
        let millis = Duration::from_millis;
        let full = Self {
            rounds: rounds.unwrap_or(if quick { 1 } else { 3 }).max(1),
            warm_up: millis(2000),
            measure: millis(5000),
            million: 1_000_000,
            connections,
            members: members.max(MEMBERS_MIN),
            kills: 5,
            revisions: revisions.unwrap_or(if quick { 50_000 } else { 1_000_000 }),
            leases: 100_000,
        };
        if quick {
            Self {
                warm_up: millis(500),
                measure: millis(2000),
                million: 100_000,
                kills: 1,
                leases: 10_000,
                ..full
            }
        } else {
            full
        }
    }
}

impl std::fmt::Display for Scale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            rounds,
            warm_up,
            measure,
            million,
            connections,
            members,
            kills,
            revisions,
            leases,
        } = self;
        write!(
            f,
            "{rounds} rounds of {measure:?} each after {warm_up:?} of warm-up, \
             {million} keys for memory and restart, {connections} connections for 1,000 clients, \
             {members} members in a cluster, {kills} kills of its leader in each round, \
             {revisions} revisions to catch up with, {leases} leases for memory"
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: CompareArgs,
    }

    fn scale(flags: &[&str]) -> Scale {
        let words = ["compare"].iter().chain(flags);
        Scale::new(&Cli::parse_from(words).args)
    }

    #[test]
    fn at_least_one_round_is_run_on_members_that_can_lose_one() {
        let scale = scale(&["--quick", "--rounds=0", "--members=1"]);
        assert_eq!((scale.rounds, scale.members), (1, 3));
    }

    #[test]
    fn quick_is_smaller_in_everything_that_takes_time() {
        let (full, quick) = (scale(&[]), scale(&["--quick"]));
        assert!(quick.rounds < full.rounds && quick.kills < full.kills);
        assert!(quick.warm_up < full.warm_up && quick.measure < full.measure);
        assert!(quick.million < full.million && quick.leases < full.leases);
        assert!(quick.revisions < full.revisions);
        assert_eq!(scale(&["--quick", "--revisions=7"]).revisions, 7);
    }
}
