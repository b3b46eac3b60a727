//! What is compared: each quantity with its unit, its better direction and its aim.

use serde::{Deserialize, Serialize};

use crate::report::{micros, rate};

/// Quantities with what they are, their unit and what reports call them, in the order of reports.
macro_rules! quantities {
    ($($(#[$doc:meta])* $name:ident: $unit:ident = $label:literal;)*) => {
        /// One measured thing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Quantity {
            $($(#[$doc])* $name,)*
        }

        impl Quantity {
            /// All quantities, in the order of reports.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What it is called in reports.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }

            fn unit(self) -> Unit {
                match self {
                    $(Self::$name => Unit::$unit,)*
                }
            }
        }
    };
}

quantities! {
    /// Puts per second, many clients.
    PutRate: PerSecond = "puts, 1,000 clients";
    /// Server processor time per put, many clients.
    PutCpu: Micros = "server CPU per put";
    /// Median latency of a put, many clients.
    PutsP50: Micros = "put latency p50, 1,000 clients";
    /// 99th percentile of it.
    PutsP99: Micros = "put latency p99, 1,000 clients";
    /// Median latency of a put, one client.
    PutP50: Micros = "put latency p50, 1 client";
    /// 99th percentile of it.
    PutP99: Micros = "put latency p99, 1 client";
    /// Median of a 4 KiB write and fdatasync on the same disk, between the rounds.
    DiskP50: Micros = "fdatasync of 4 KiB p50";
    /// 99th percentile of it.
    DiskP99: Micros = "fdatasync of 4 KiB p99";
    /// Linearizable reads of one key per second.
    ReadRate: PerSecond = "linearizable one-key reads, 100 clients";
    /// Server processor time per read.
    ReadCpu: Micros = "server CPU per read";
    /// Median latency of a read.
    ReadP50: Micros = "read latency p50, 100 clients";
    /// 99th percentile of it.
    ReadP99: Micros = "read latency p99, 100 clients";
    /// Scans of 100,000 keys per second, one client.
    ScanRate: PerSecond = "100,000-key scans, 1 client";
    /// Server processor time per scan.
    ScanCpu: Micros = "server CPU per scan";
    /// Events per second, 10,000 watchers.
    EventRate: PerSecond = "events, 10,000 watchers of one key";
    /// Events per second of server processor time.
    EventsPerCpu: PerSecond = "events per server CPU second";
    /// Median time from a put to the last watcher's event.
    EventsAll: Micros = "put until the last watcher has it, p50";
    /// Puts to the leader of a cluster per second, many clients.
    LeaderPutRate: PerSecond = "puts to the leader, 1,000 clients";
    /// Processor time of all members per put to the leader.
    LeaderPutCpu: Micros = "CPU of all members per put to the leader";
    /// Median latency of a put to the leader, many clients.
    LeaderPutsP50: Micros = "latency p50 of puts to the leader";
    /// 99th percentile of it.
    LeaderPutsP99: Micros = "latency p99 of puts to the leader";
    /// Puts to all members per second, many clients.
    MembersPutRate: PerSecond = "puts to all members, 1,000 clients";
    /// Processor time of all members per put to any of them.
    MembersPutCpu: Micros = "CPU of all members per put to any";
    /// Median latency of a put to any member, many clients.
    MembersPutsP50: Micros = "latency p50 of puts to all members";
    /// 99th percentile of it.
    MembersPutsP99: Micros = "latency p99 of puts to all members";
    /// Linearizable reads of one key from all members, per second.
    MembersReadRate: PerSecond = "linearizable reads from all members, 100 clients";
    /// Processor time of all members per linearizable read.
    MembersReadCpu: Micros = "CPU of all members per linearizable read";
    /// Serializable reads of one key from all members, per second.
    SerializableRate: PerSecond = "serializable reads from all members, 100 clients";
    /// Processor time of all members per serializable read.
    SerializableCpu: Micros = "CPU of all members per serializable read";
    /// The longest time without an acknowledged write when the leader is killed.
    Failover: Seconds = "longest time without a write, leader killed";
    /// From the start of a member that missed many revisions until it has them.
    CatchUp: Seconds = "catch-up of a member that was down";
    /// Renewals of leases per second, each client on a stream of its own.
    RenewalRate: PerSecond = "lease renewals, 1,000 streams";
    /// Server processor time per renewal.
    RenewalCpu: Micros = "server CPU per renewal";
    /// Median latency of a renewal.
    RenewalP50: Micros = "renewal latency p50, 1,000 streams";
    /// 99th percentile of it.
    RenewalP99: Micros = "renewal latency p99, 1,000 streams";
    /// Grants of leases per second, many clients.
    GrantRate: PerSecond = "leases granted, 1,000 clients";
    /// Resident memory with many leases.
    LeasesMemory: Bytes = "resident memory with the leases";
    /// Of it, what the leases added.
    LeasesAdded: Bytes = "of it, added by the leases";
    /// Resident memory with the leases, after a restart.
    LeasesRestarted: Bytes = "resident memory with the leases, restarted";
    /// Puts per second on a server without auth, beside those with it.
    OpenPutRate: PerSecond = "puts without auth, 1,000 clients";
    /// Server processor time per put without auth.
    OpenPutCpu: Micros = "server CPU per put without auth";
    /// Puts per second of a user with a role, on the same server with auth.
    AuthPutRate: PerSecond = "puts under auth, 1,000 clients";
    /// Server processor time per put under auth.
    AuthPutCpu: Micros = "server CPU per put under auth";
    /// The part of the puts without auth that is reached under auth.
    AuthShare: Share = "puts under auth, of those without";
    /// Puts by the JSON gateway per second, 100 clients.
    JsonPutRate: PerSecond = "puts by JSON, 100 clients";
    /// Server processor time per put by the JSON gateway.
    JsonPutCpu: Micros = "server CPU per put by JSON";
    /// Median latency of it.
    JsonPutP50: Micros = "put by JSON latency p50, 100 clients";
    /// 99th percentile of it.
    JsonPutP99: Micros = "put by JSON latency p99, 100 clients";
    /// Reads by the JSON gateway per second, 100 clients.
    JsonReadRate: PerSecond = "linearizable one-key reads by JSON, 100 clients";
    /// Server processor time per read by the JSON gateway.
    JsonReadCpu: Micros = "server CPU per read by JSON";
    /// Median latency of it.
    JsonReadP50: Micros = "read by JSON latency p50, 100 clients";
    /// 99th percentile of it.
    JsonReadP99: Micros = "read by JSON latency p99, 100 clients";
    /// Events per second, 1,000 WebSockets.
    JsonEventRate: PerSecond = "events, 1,000 WebSockets that watch one key";
    /// Events over WebSockets per second of server processor time.
    JsonEventsPerCpu: PerSecond = "events over WebSockets per server CPU second";
    /// Median time from a put to the last WebSocket's event.
    JsonEventsAll: Micros = "put until the last WebSocket has it, p50";
    /// Sets by the second API per second, 100 clients.
    V2SetRate: PerSecond = "v2 sets, 100 clients";
    /// Server processor time per v2 set.
    V2SetCpu: Micros = "server CPU per v2 set";
    /// Median latency of it.
    V2SetP50: Micros = "v2 set latency p50, 100 clients";
    /// 99th percentile of it.
    V2SetP99: Micros = "v2 set latency p99, 100 clients";
    /// Gets by the second API per second, 100 clients.
    V2GetRate: PerSecond = "v2 gets, 100 clients";
    /// Server processor time per v2 get.
    V2GetCpu: Micros = "server CPU per v2 get";
    /// Median latency of it.
    V2GetP50: Micros = "v2 get latency p50, 100 clients";
    /// 99th percentile of it.
    V2GetP99: Micros = "v2 get latency p99, 100 clients";
    /// Median time until a cache knows that it is as new as the store.
    ListP50: Micros = "consistent list from a cache, p50";
    /// 99th percentile of it.
    ListP99: Micros = "consistent list from a cache, p99";
    /// Puts per second while loading.
    LoadRate: PerSecond = "puts while loading";
    /// Resident memory after loading.
    LoadedMemory: Bytes = "resident memory when loaded";
    /// Of it, memory that is no page of a file.
    LoadedAnonymous: Bytes = "of it, not pages of files";
    /// Resident memory after a restart.
    RestartedMemory: Bytes = "resident memory after a restart";
    /// Seconds from start to the first linearizable read.
    Restart: Seconds = "restart until the first read";
    /// Cores kept busy by others while this side was measured: a warning, not a result.
    OtherCores: Cores = "cores used by others";
}

/// Which direction is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// What a value is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    PerSecond,
    Micros,
    Seconds,
    Bytes,
    /// A part of one.
    Share,
    Cores,
}

/// What A wants to reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aim {
    /// A is at least so many times B.
    RatioAtLeast(f64),
    /// A is at most so many times B.
    RatioAtMost(f64),
    /// A is at most one median disk sync plus so many microseconds.
    DiskSyncPlus(f64),
    /// A itself is at least this share, whatever B is.
    AtLeast(f64),
}

/// Whether an aim was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was.
    Met,
    /// It was not.
    Missed,
}

impl Quantity {
    /// Which direction is good.
    #[must_use]
    pub fn better(self) -> Better {
        match self.unit() {
            Unit::PerSecond | Unit::Share => Better::Higher,
            Unit::Micros | Unit::Seconds | Unit::Bytes | Unit::Cores => Better::Lower,
        }
    }

    /// What Cairn wants to reach against etcd, if anything was promised.
    #[must_use]
    pub fn aim(self) -> Option<Aim> {
        match self {
            Self::PutRate => Some(Aim::RatioAtLeast(2.5)),
            Self::PutCpu | Self::CatchUp | Self::Restart => Some(Aim::RatioAtMost(1.0 / 3.0)),
            Self::PutP50 => Some(Aim::DiskSyncPlus(150.0)),
            Self::ReadRate | Self::RenewalRate => Some(Aim::RatioAtLeast(3.0)),
            Self::ScanRate | Self::JsonEventsPerCpu => Some(Aim::RatioAtLeast(4.0)),
            Self::JsonPutCpu | Self::JsonReadCpu => Some(Aim::RatioAtMost(0.25)),
            Self::EventsPerCpu => Some(Aim::RatioAtLeast(5.0)),
            Self::LeaderPutRate | Self::MembersPutRate => Some(Aim::RatioAtLeast(2.0)),
            Self::LeaderPutCpu
            | Self::MembersPutCpu
            | Self::LeasesMemory
            | Self::LoadedMemory
            | Self::V2SetCpu
            | Self::V2GetCpu => Some(Aim::RatioAtMost(0.5)),
            Self::Failover => Some(Aim::RatioAtMost(1.0)),
            Self::AuthShare => Some(Aim::AtLeast(0.9)),
            _ => None,
        }
    }

    /// A value with its unit.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self.unit() {
            Unit::PerSecond => format!("{}/s", rate(value)),
            Unit::Micros => micros(value),
            Unit::Seconds => format!("{value:.3} s"),
            Unit::Bytes => format!("{:.0} MiB", value / f64::from(1 << 20)),
            Unit::Share => format!("{:.1} %", value * 100.0),
            Unit::Cores => format!("{value:.2}"),
        }
    }
}

impl Aim {
    /// Whether values and the disk's median reach it.
    #[must_use]
    pub fn verdict(self, a: f64, b: f64, disk_us: Option<f64>) -> Option<Verdict> {
        let met = match self {
            Self::RatioAtLeast(ratio) => a >= ratio * b,
            Self::RatioAtMost(ratio) => a <= ratio * b,
            Self::DiskSyncPlus(plus_us) => a <= disk_us? + plus_us,
            Self::AtLeast(share) => a >= share,
        };
        Some(if met { Verdict::Met } else { Verdict::Missed })
    }
}

impl std::fmt::Display for Aim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RatioAtLeast(ratio) => write!(f, "≥ {ratio:.2} ×"),
            Self::RatioAtMost(ratio) => write!(f, "≤ {ratio:.2} ×"),
            Self::DiskSyncPlus(plus_us) => write!(f, "≤ fdatasync + {plus_us:.0} µs"),
            Self::AtLeast(share) => write!(f, "≥ {:.0} %", share * 100.0),
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::Missed => "missed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aims_are_met_at_their_very_bound() {
        let aim = Quantity::PutRate.aim().unwrap();
        assert_eq!(aim.verdict(25.0, 10.0, None), Some(Verdict::Met));
        assert_eq!(aim.verdict(24.9, 10.0, None), Some(Verdict::Missed));
        let aim = Quantity::LoadedMemory.aim().unwrap();
        assert_eq!(aim.verdict(50.0, 100.0, None), Some(Verdict::Met));
        assert_eq!(aim.verdict(51.0, 100.0, None), Some(Verdict::Missed));
    }

    #[test]
    fn the_latency_aim_needs_the_disk() {
        let aim = Quantity::PutP50.aim().unwrap();
        assert_eq!(aim.verdict(350.0, 1.0, Some(200.0)), Some(Verdict::Met));
        assert_eq!(aim.verdict(351.0, 1.0, Some(200.0)), Some(Verdict::Missed));
        assert_eq!(aim.verdict(1.0, 1.0, None), None);
    }

    #[test]
    fn a_share_is_aimed_at_whatever_the_other_reaches() {
        let aim = Quantity::AuthShare.aim().unwrap();
        assert_eq!(aim.verdict(0.9, 1.0, None), Some(Verdict::Met));
        assert_eq!(aim.verdict(0.89, 0.5, None), Some(Verdict::Missed));
        assert_eq!(Quantity::AuthShare.show(0.955), "95.5 %");
    }

    #[test]
    fn only_better_directions_are_aimed_at() {
        for &quantity in Quantity::ALL {
            match quantity.aim() {
                Some(Aim::RatioAtLeast(_) | Aim::AtLeast(_)) => {
                    assert_eq!(quantity.better(), Better::Higher);
                }
                Some(Aim::RatioAtMost(_) | Aim::DiskSyncPlus(_)) => {
                    assert_eq!(quantity.better(), Better::Lower);
                }
                None => {}
            }
        }
    }
}
