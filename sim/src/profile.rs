//! Scenarios: what is done to a cluster, how often, and which known failures of others it would show.
//!
//! P1 to P22 are the failures that etcd had and that Cairn promises not to have; `docs/SIMULATION.md`
//! lists them.

/// A scenario.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// What it looks for.
    pub about: &'static str,
    /// Members that the cluster begins with.
    pub members: u64,
    /// When its faults end, in milliseconds.
    pub ends: u64,
    /// Clients that ask.
    pub clients: u32,
    /// Clients that watch.
    pub watchers: u32,
    /// Keys that are used.
    pub keys: u64,
    /// Between two requests of a client, in milliseconds.
    pub ask_gap: (u64, u64),
    /// Between two faults, in milliseconds.
    pub fault_gap: (u64, u64),
    /// How likely each fault is.
    pub faults: &'static [(u64, Fault)],
    /// How likely each request is.
    pub asks: &'static [(u64, Asked)],
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One member loses power.
    Crash,
    /// All members lose power, one shortly after the other.
    CrashAll,
    /// One loses power in the middle of a write.
    CrashAtWrite,
    /// A disk fails.
    DiskFails,
    /// A disk takes its time.
    DiskStalls,
    /// A commit of the database fails.
    CommitFails,
    /// The database is far behind.
    LateCommits,
    /// Applying takes its time.
    SlowApply,
    /// A member stops and goes on.
    Pause,
    /// A wall clock goes back.
    ClockBack,
    /// Ticks are too fast or too slow.
    Ticks,
    /// A member is cut off.
    Isolate,
    /// A member is cut off in one direction.
    OneWay,
    /// The network falls in two.
    Split,
    /// Messages are lost, late and repeated.
    Weather,
    /// The leader hands over.
    Transfer,
}

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Writes a key.
    Put,
    /// Reads a key.
    Get,
    /// Reads a key as the one member has it.
    GetHere,
    /// Reads a range.
    Range,
    /// Deletes a key.
    Delete,
    /// Deletes a range.
    DeleteRange,
    /// Writes a key if nobody else did.
    Swap,
    /// Several writes and reads at once.
    Txn,
    /// Reads the past.
    ReadBack,
    /// Writes, and reads the past in the same transaction.
    WriteAndReadBack,
    /// Gives up history.
    Compact,
    /// Adds, promotes or removes a member.
    Members,
}

const ASKS: &[(u64, Asked)] = &[
    (30, Asked::Put),
    (25, Asked::Get),
    (6, Asked::GetHere),
    (6, Asked::Range),
    (6, Asked::Delete),
    (2, Asked::DeleteRange),
    (12, Asked::Swap),
    (8, Asked::Txn),
    (4, Asked::ReadBack),
    (2, Asked::WriteAndReadBack),
    (2, Asked::Compact),
];

const FAULTS: &[(u64, Fault)] = &[
    (10, Fault::Crash),
    (3, Fault::CrashAll),
    (12, Fault::CrashAtWrite),
    (3, Fault::DiskFails),
    (4, Fault::DiskStalls),
    (2, Fault::CommitFails),
    (4, Fault::LateCommits),
    (4, Fault::SlowApply),
    (8, Fault::Pause),
    (3, Fault::Ticks),
    (8, Fault::Isolate),
    (5, Fault::OneWay),
    (4, Fault::Split),
    (8, Fault::Weather),
    (5, Fault::Transfer),
];

/// A bit of everything.
const GENERAL: Profile = Profile {
    name: "general",
    about: "a bit of everything",
    members: 3,
    ends: 20_000,
    clients: 5,
    watchers: 4,
    keys: 6,
    ask_gap: (20, 400),
    fault_gap: (200, 2500),
    faults: FAULTS,
    asks: ASKS,
};

/// All scenarios.
pub const PROFILES: &[Profile] = &[
    GENERAL,
    Profile {
        name: "five",
        about: "five members, where two may be gone",
        members: 5,
        fault_gap: (100, 1500),
        ..GENERAL
    },
    Profile {
        name: "alone",
        about: "P2: a cluster of one acknowledges what it has on disk, and nothing else",
        members: 1,
        faults: &[
            (10, Fault::Crash),
            (20, Fault::CrashAtWrite),
            (3, Fault::DiskFails),
            (3, Fault::CommitFails),
            (5, Fault::LateCommits),
            (5, Fault::SlowApply),
            (2, Fault::Pause),
        ],
        ..GENERAL
    },
    Profile {
        name: "p01-index-and-data",
        about: "P1: a crash between storing data and storing the applied index",
        faults: &[
            (20, Fault::Crash),
            (20, Fault::CrashAtWrite),
            (10, Fault::CommitFails),
            (10, Fault::LateCommits),
            (5, Fault::SlowApply),
        ],
        fault_gap: (100, 1200),
        ..GENERAL
    },
    Profile {
        name: "p05-progress",
        about: "P5, P7: progress does not overtake events, and no event comes twice",
        watchers: 10,
        faults: &[
            (5, Fault::SlowApply),
            (5, Fault::Pause),
            (5, Fault::Crash),
            (5, Fault::Isolate),
        ],
        ..GENERAL
    },
    Profile {
        name: "p06-back-in-time",
        about: "P6, P13: watchers of a member that was cut off neither go back nor skip",
        watchers: 10,
        faults: &[
            (10, Fault::Isolate),
            (10, Fault::OneWay),
            (5, Fault::Split),
            (5, Fault::Crash),
        ],
        ..GENERAL
    },
    Profile {
        name: "p08-slow-watchers",
        about: "P8: events are not lost when clients are slow",
        watchers: 14,
        ask_gap: (5, 100),
        faults: &[(5, Fault::SlowApply), (5, Fault::Pause), (2, Fault::Crash)],
        ..GENERAL
    },
    Profile {
        name: "p09-compaction",
        about: "P4, P9, P10, P22: crashes and watchers around compactions",
        watchers: 8,
        keys: 3,
        faults: &[
            (15, Fault::Crash),
            (15, Fault::CrashAtWrite),
            (5, Fault::CommitFails),
            (5, Fault::LateCommits),
            (5, Fault::SlowApply),
        ],
        asks: &[
            (30, Asked::Put),
            (10, Asked::Get),
            (15, Asked::Delete),
            (5, Asked::DeleteRange),
            (5, Asked::ReadBack),
            (5, Asked::WriteAndReadBack),
            (12, Asked::Compact),
        ],
        ..GENERAL
    },
    Profile {
        name: "p12-transactions",
        about: "P12: a transaction that reads the past does the same on every member",
        faults: &[
            (10, Fault::Crash),
            (5, Fault::LateCommits),
            (10, Fault::SlowApply),
            (5, Fault::Isolate),
        ],
        asks: &[
            (20, Asked::Put),
            (20, Asked::Txn),
            (20, Asked::WriteAndReadBack),
            (8, Asked::Compact),
            (5, Asked::Get),
        ],
        ..GENERAL
    },
    Profile {
        name: "p14-disk",
        about: "P14, P22: a log on a disk that tears, loses, refuses and stalls",
        faults: &[
            (30, Fault::CrashAtWrite),
            (10, Fault::CrashAll),
            (10, Fault::DiskFails),
            (10, Fault::DiskStalls),
            (5, Fault::CommitFails),
        ],
        fault_gap: (100, 1200),
        ..GENERAL
    },
    Profile {
        name: "p15-stale-reads",
        about: "P15, P16: no stale read when a leader is paused, cut off or replaced",
        keys: 2,
        watchers: 0,
        clients: 7,
        faults: &[
            (20, Fault::Pause),
            (20, Fault::Isolate),
            (10, Fault::OneWay),
            (10, Fault::Transfer),
            (10, Fault::Weather),
            (5, Fault::Ticks),
            (5, Fault::SlowApply),
            (5, Fault::Crash),
        ],
        asks: &[
            (30, Asked::Put),
            (50, Asked::Get),
            (10, Asked::Swap),
            (10, Asked::GetHere),
        ],
        ..GENERAL
    },
    Profile {
        name: "p11-snapshots",
        about: "P6, P11, P13: snapshots, one after the other, under load and while members crash",
        watchers: 8,
        ask_gap: (5, 120),
        faults: &[
            (20, Fault::Isolate),
            (20, Fault::Crash),
            (10, Fault::CrashAtWrite),
            (5, Fault::LateCommits),
            (5, Fault::SlowApply),
            (5, Fault::Pause),
        ],
        fault_gap: (100, 1200),
        ..GENERAL
    },
    Profile {
        name: "p19-members",
        about: "P19: members come, learn, are promoted, go and stay gone",
        fault_gap: (400, 3000),
        asks: &[
            (40, Asked::Put),
            (30, Asked::Get),
            (10, Asked::Txn),
            (4, Asked::Members),
        ],
        ..GENERAL
    },
    Profile {
        name: "clocks",
        about: "wall clocks that go back do not make old requests look new",
        faults: &[
            (20, Fault::ClockBack),
            (20, Fault::Crash),
            (10, Fault::CrashAll),
            (10, Fault::Isolate),
            (10, Fault::Weather),
        ],
        ..GENERAL
    },
];

impl Profile {
    /// The scenario of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        PROFILES.iter().find(|profile| profile.name == name)
    }
}
