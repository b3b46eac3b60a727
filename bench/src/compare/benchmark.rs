//! The benchmarks, by name.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::compare::scale::Scale;

/// One comparison of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Benchmark {
    /// Puts with 1,000 clients: rate and server CPU.
    Puts,
    /// Puts with one client: latency, beside that of the disk.
    Put,
    /// Linearizable reads of one key with 100 clients.
    Read,
    /// Scans of 100,000 keys in one answer.
    Scan,
    /// 10,000 watchers of one key.
    Watch,
    /// Consistent lists from a cache that a watch feeds, while eight clients put what it does not hold.
    ConsistentList,
    /// A million keys: memory, and the time of a restart.
    Million,
    /// A cluster: puts to its leader, then to all members, with 1,000 clients; the CPU of all
    /// members.
    ClusterPuts,
    /// A cluster: linearizable and serializable reads from all members with 100 clients.
    ClusterReads,
    /// A cluster: for how long no write is acknowledged when the leader is killed (SIGKILL), seen
    /// by a client of the others that sends a put every 5 ms.
    Failover,
    /// A cluster: how long a member that was killed and missed many revisions takes to have them
    /// all, from its start; its hash is then compared with the leader's.
    CatchUp,
    /// Renewals of 1,000 leases by as many clients, each on a stream that it holds open.
    KeepAlive,
    /// Memory with 100,000 leases, and after a restart with them.
    Leases,
    /// Puts of a user with a role, beside puts to the same server without auth.
    Auth,
    /// Puts by the JSON gateway with 100 clients, each on an HTTP/1.1 connection of its own.
    JsonPuts,
    /// Linearizable reads of one key by the JSON gateway with 100 clients.
    JsonReads,
    /// 1,000 watchers of one key, each by JSON on a WebSocket of its own.
    JsonWatch,
    /// Sets and gets by the second API with 100 clients; both servers are given --enable-v2.
    V2,
}

impl Benchmark {
    /// All benchmarks, in the order of reports.
    pub const ALL: [Self; 18] = [
        Self::Puts,
        Self::Put,
        Self::Read,
        Self::Scan,
        Self::Watch,
        Self::ConsistentList,
        Self::Million,
        Self::ClusterPuts,
        Self::ClusterReads,
        Self::Failover,
        Self::CatchUp,
        Self::KeepAlive,
        Self::Leases,
        Self::Auth,
        Self::JsonPuts,
        Self::JsonReads,
        Self::JsonWatch,
        Self::V2,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Puts => "puts",
            Self::Put => "put",
            Self::Read => "read",
            Self::Scan => "scan",
            Self::Watch => "watch",
            Self::ConsistentList => "consistent-list",
            Self::Million => "million",
            Self::ClusterPuts => "cluster-puts",
            Self::ClusterReads => "cluster-reads",
            Self::Failover => "failover",
            Self::CatchUp => "catch-up",
            Self::KeepAlive => "keep-alive",
            Self::Leases => "leases",
            Self::Auth => "auth",
            Self::JsonPuts => "json-puts",
            Self::JsonReads => "json-reads",
            Self::JsonWatch => "json-watch",
            Self::V2 => "v2",
        }
    }

    /// How many members each side has.
    pub(super) fn members(self, scale: &Scale) -> usize {
        match self {
            Self::ClusterPuts | Self::ClusterReads | Self::Failover | Self::CatchUp => {
                scale.members
            }
            Self::Puts
            | Self::Put
            | Self::Read
            | Self::Scan
            | Self::Watch
            | Self::ConsistentList
            | Self::Million
            | Self::KeepAlive
            | Self::Leases
            | Self::Auth
            | Self::JsonPuts
            | Self::JsonReads
            | Self::JsonWatch
            | Self::V2 => 1,
        }
    }

    /// Flags that the servers need for it.
    pub(super) fn flags(self) -> &'static [&'static str] {
        match self {
            Self::V2 => &["--enable-v2"],
            _ => &[],
        }
    }

    /// How many rounds there are: catching up is done once, for what there is to catch up with
    /// would grow from round to round.
    pub(super) fn rounds(self, scale: &Scale) -> u32 {
        match self {
            Self::CatchUp => 1,
            _ => scale.rounds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn benchmarks_are_called_what_the_command_line_calls_them() {
        for benchmark in Benchmark::ALL {
            assert_eq!(Benchmark::from_str(benchmark.name(), false), Ok(benchmark));
        }
    }
}
