//! What is compared: each quantity with its unit, its better direction and its aim.

use serde::{Deserialize, Serialize};

use crate::report::{micros, rate};

/// One measured thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// Puts per second, many clients.
    PutRate,
    /// Server processor time per put, many clients.
    PutCpu,
    /// Median latency of a put, many clients.
    PutsP50,
    /// 99th percentile of it.
    PutsP99,
    /// Median latency of a put, one client.
    PutP50,
    /// 99th percentile of it.
    PutP99,
    /// Median of a 4 KiB write and fdatasync on the same disk, between the rounds.
    DiskP50,
    /// 99th percentile of it.
    DiskP99,
    /// Linearizable reads of one key per second.
    ReadRate,
    /// Server processor time per read.
    ReadCpu,
    /// Median latency of a read.
    ReadP50,
    /// 99th percentile of it.
    ReadP99,
    /// Scans of 100,000 keys per second, one client.
    ScanRate,
    /// Server processor time per scan.
    ScanCpu,
    /// Events per second, 10,000 watchers.
    EventRate,
    /// Events per second of server processor time.
    EventsPerCpu,
    /// Median time from a put to the last watcher's event.
    EventsAll,
    /// Puts to the leader of a cluster per second, many clients.
    LeaderPutRate,
    /// Processor time of all members per put to the leader.
    LeaderPutCpu,
    /// Median latency of a put to the leader, many clients.
    LeaderPutsP50,
    /// 99th percentile of it.
    LeaderPutsP99,
    /// Puts to all members per second, many clients.
    MembersPutRate,
    /// Processor time of all members per put to any of them.
    MembersPutCpu,
    /// Median latency of a put to any member, many clients.
    MembersPutsP50,
    /// 99th percentile of it.
    MembersPutsP99,
    /// Linearizable reads of one key from all members, per second.
    MembersReadRate,
    /// Processor time of all members per linearizable read.
    MembersReadCpu,
    /// Serializable reads of one key from all members, per second.
    SerializableRate,
    /// Processor time of all members per serializable read.
    SerializableCpu,
    /// The longest time without an acknowledged write when the leader is killed.
    Failover,
    /// From the start of a member that missed many revisions until it has them.
    CatchUp,
    /// Renewals of leases per second, each client on a stream of its own.
    RenewalRate,
    /// Server processor time per renewal.
    RenewalCpu,
    /// Median latency of a renewal.
    RenewalP50,
    /// 99th percentile of it.
    RenewalP99,
    /// Grants of leases per second, many clients.
    GrantRate,
    /// Resident memory with many leases.
    LeasesMemory,
    /// Of it, what the leases added.
    LeasesAdded,
    /// Resident memory with the leases, after a restart.
    LeasesRestarted,
    /// Puts per second on a server without auth, beside those with it.
    OpenPutRate,
    /// Server processor time per put without auth.
    OpenPutCpu,
    /// Puts per second of a user with a role, on the same server with auth.
    AuthPutRate,
    /// Server processor time per put under auth.
    AuthPutCpu,
    /// The part of the puts without auth that is reached under auth.
    AuthShare,
    /// Puts per second while loading.
    LoadRate,
    /// Resident memory after loading.
    LoadedMemory,
    /// Of it, memory that is no page of a file.
    LoadedAnonymous,
    /// Resident memory after a restart.
    RestartedMemory,
    /// Seconds from start to the first linearizable read.
    Restart,
    /// Cores kept busy by others while this side was measured: a warning, not a result.
    OtherCores,
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
    /// All quantities, in the order of reports.
    pub const ALL: [Self; 50] = [
        Self::PutRate,
        Self::PutCpu,
        Self::PutsP50,
        Self::PutsP99,
        Self::PutP50,
        Self::PutP99,
        Self::DiskP50,
        Self::DiskP99,
        Self::ReadRate,
        Self::ReadCpu,
        Self::ReadP50,
        Self::ReadP99,
        Self::ScanRate,
        Self::ScanCpu,
        Self::EventRate,
        Self::EventsPerCpu,
        Self::EventsAll,
        Self::LeaderPutRate,
        Self::LeaderPutCpu,
        Self::LeaderPutsP50,
        Self::LeaderPutsP99,
        Self::MembersPutRate,
        Self::MembersPutCpu,
        Self::MembersPutsP50,
        Self::MembersPutsP99,
        Self::MembersReadRate,
        Self::MembersReadCpu,
        Self::SerializableRate,
        Self::SerializableCpu,
        Self::Failover,
        Self::CatchUp,
        Self::RenewalRate,
        Self::RenewalCpu,
        Self::RenewalP50,
        Self::RenewalP99,
        Self::GrantRate,
        Self::LeasesMemory,
        Self::LeasesAdded,
        Self::LeasesRestarted,
        Self::OpenPutRate,
        Self::OpenPutCpu,
        Self::AuthPutRate,
        Self::AuthPutCpu,
        Self::AuthShare,
        Self::LoadRate,
        Self::LoadedMemory,
        Self::LoadedAnonymous,
        Self::RestartedMemory,
        Self::Restart,
        Self::OtherCores,
    ];

    /// What it is called in reports.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::PutRate => "puts, 1,000 clients",
            Self::PutCpu => "server CPU per put",
            Self::PutsP50 => "put latency p50, 1,000 clients",
            Self::PutsP99 => "put latency p99, 1,000 clients",
            Self::PutP50 => "put latency p50, 1 client",
            Self::PutP99 => "put latency p99, 1 client",
            Self::DiskP50 => "fdatasync of 4 KiB p50",
            Self::DiskP99 => "fdatasync of 4 KiB p99",
            Self::ReadRate => "linearizable one-key reads, 100 clients",
            Self::ReadCpu => "server CPU per read",
            Self::ReadP50 => "read latency p50, 100 clients",
            Self::ReadP99 => "read latency p99, 100 clients",
            Self::ScanRate => "100,000-key scans, 1 client",
            Self::ScanCpu => "server CPU per scan",
            Self::EventRate => "events, 10,000 watchers of one key",
            Self::EventsPerCpu => "events per server CPU second",
            Self::EventsAll => "put until the last watcher has it, p50",
            Self::LeaderPutRate => "puts to the leader, 1,000 clients",
            Self::LeaderPutCpu => "CPU of all members per put to the leader",
            Self::LeaderPutsP50 => "latency p50 of puts to the leader",
            Self::LeaderPutsP99 => "latency p99 of puts to the leader",
            Self::MembersPutRate => "puts to all members, 1,000 clients",
            Self::MembersPutCpu => "CPU of all members per put to any",
            Self::MembersPutsP50 => "latency p50 of puts to all members",
            Self::MembersPutsP99 => "latency p99 of puts to all members",
            Self::MembersReadRate => "linearizable reads from all members, 100 clients",
            Self::MembersReadCpu => "CPU of all members per linearizable read",
            Self::SerializableRate => "serializable reads from all members, 100 clients",
            Self::SerializableCpu => "CPU of all members per serializable read",
            Self::Failover => "longest time without a write, leader killed",
            Self::CatchUp => "catch-up of a member that was down",
            Self::RenewalRate => "lease renewals, 1,000 streams",
            Self::RenewalCpu => "server CPU per renewal",
            Self::RenewalP50 => "renewal latency p50, 1,000 streams",
            Self::RenewalP99 => "renewal latency p99, 1,000 streams",
            Self::GrantRate => "leases granted, 1,000 clients",
            Self::LeasesMemory => "resident memory with the leases",
            Self::LeasesAdded => "of it, added by the leases",
            Self::LeasesRestarted => "resident memory with the leases, restarted",
            Self::OpenPutRate => "puts without auth, 1,000 clients",
            Self::OpenPutCpu => "server CPU per put without auth",
            Self::AuthPutRate => "puts under auth, 1,000 clients",
            Self::AuthPutCpu => "server CPU per put under auth",
            Self::AuthShare => "puts under auth, of those without",
            Self::LoadRate => "puts while loading",
            Self::LoadedMemory => "resident memory when loaded",
            Self::LoadedAnonymous => "of it, not pages of files",
            Self::RestartedMemory => "resident memory after a restart",
            Self::Restart => "restart until the first read",
            Self::OtherCores => "cores used by others",
        }
    }

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
            Self::ScanRate => Some(Aim::RatioAtLeast(4.0)),
            Self::EventsPerCpu => Some(Aim::RatioAtLeast(5.0)),
            Self::LeaderPutRate | Self::MembersPutRate => Some(Aim::RatioAtLeast(2.0)),
            Self::LeaderPutCpu | Self::MembersPutCpu | Self::LeasesMemory | Self::LoadedMemory => {
                Some(Aim::RatioAtMost(0.5))
            }
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

    fn unit(self) -> Unit {
        match self {
            Self::PutRate
            | Self::ReadRate
            | Self::ScanRate
            | Self::EventRate
            | Self::EventsPerCpu
            | Self::LeaderPutRate
            | Self::MembersPutRate
            | Self::MembersReadRate
            | Self::SerializableRate
            | Self::RenewalRate
            | Self::GrantRate
            | Self::OpenPutRate
            | Self::AuthPutRate
            | Self::LoadRate => Unit::PerSecond,
            Self::PutCpu
            | Self::PutsP50
            | Self::PutsP99
            | Self::PutP50
            | Self::PutP99
            | Self::DiskP50
            | Self::DiskP99
            | Self::ReadCpu
            | Self::ReadP50
            | Self::ReadP99
            | Self::ScanCpu
            | Self::EventsAll
            | Self::LeaderPutCpu
            | Self::LeaderPutsP50
            | Self::LeaderPutsP99
            | Self::MembersPutCpu
            | Self::MembersPutsP50
            | Self::MembersPutsP99
            | Self::MembersReadCpu
            | Self::SerializableCpu
            | Self::RenewalCpu
            | Self::RenewalP50
            | Self::RenewalP99
            | Self::OpenPutCpu
            | Self::AuthPutCpu => Unit::Micros,
            Self::Failover | Self::CatchUp | Self::Restart => Unit::Seconds,
            Self::LeasesMemory
            | Self::LeasesAdded
            | Self::LeasesRestarted
            | Self::LoadedMemory
            | Self::LoadedAnonymous
            | Self::RestartedMemory => Unit::Bytes,
            Self::AuthShare => Unit::Share,
            Self::OtherCores => Unit::Cores,
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
        for quantity in Quantity::ALL {
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
