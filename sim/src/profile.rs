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
    /// How long leases are to live, in seconds.
    pub ttl: (u64, u64),
    /// How late leases may end while there are faults, in milliseconds; absent if they are only held
    /// to end at last.
    pub lease_late: Option<u64>,
    /// Whether there are users: authentication is on, and one client changes the rules.
    pub users: bool,
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
    /// Rows of the database are not what was written.
    DatabaseRots,
    /// The database is far behind.
    LateCommits,
    /// The database finds no space.
    DiskFull,
    /// Applying takes its time.
    SlowApply,
    /// A member stops and goes on.
    Pause,
    /// The leader stops for longer than an election takes, and goes on.
    LeaderStalls,
    /// A wall clock goes back.
    ClockBack,
    /// Ticks are too fast or too slow.
    Ticks,
    /// A member is cut off.
    Isolate,
    /// Two members are cut off from each other.
    Apart,
    /// A member is cut off in one direction.
    OneWay,
    /// The network falls in two.
    Split,
    /// Messages are lost, late and repeated.
    Weather,
    /// The leader hands over.
    Transfer,
    /// A member's directory is put back from a copy.
    PutBack,
    /// The same while all others lose power.
    PutBackAmongAll,
    /// A member's directory is emptied.
    Empty,
    /// The same while all others lose power.
    EmptyAmongAll,
    /// A member starts anew while it is cut off from another one, and forgets that when all lose power.
    PutBackApart,
    /// Two members' directories are exchanged for a while.
    Swap,
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
    /// Makes a lease.
    Grant,
    /// Renews it.
    KeepAlive,
    /// Asks what is left of it.
    TimeToLive,
    /// Ends it.
    Revoke,
    /// Writes a key under it.
    PutLeased,
    /// Takes a lock.
    Lock,
    /// Writes what a lock guards.
    Fenced,
    /// Gives a lock back.
    Unlock,
    /// Compares all members' hashes.
    Hashes,
    /// Something of the second API.
    V2,
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
    ttl: (2, 5),
    lease_late: None,
    users: false,
    ask_gap: (20, 400),
    fault_gap: (200, 2500),
    faults: FAULTS,
    asks: ASKS,
};

/// Members that forget.
const AMNESIA: Profile = Profile {
    name: "amnesia",
    about: "a directory that was put back, emptied or exchanged: its member has no say any more",
    clients: 6,
    keys: 3,
    watchers: 2,
    ask_gap: (20, 250),
    fault_gap: (200, 1200),
    faults: &[
        (8, Fault::Crash),
        (2, Fault::CrashAll),
        (5, Fault::CrashAtWrite),
        (4, Fault::Isolate),
        (2, Fault::OneWay),
        (2, Fault::Weather),
        (4, Fault::Pause),
        (4, Fault::Transfer),
        (6, Fault::PutBack),
        (12, Fault::PutBackAmongAll),
        (3, Fault::Empty),
        (6, Fault::EmptyAmongAll),
        (2, Fault::Swap),
    ],
    ..GENERAL
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
        name: "p17-leases",
        about: "P17: a lease that was renewed lives, whoever stalls; the others end, on all members",
        clients: 8,
        ask_gap: (50, 1200),
        faults: &[
            (30, Fault::LeaderStalls),
            (5, Fault::Pause),
            (8, Fault::Isolate),
            (4, Fault::OneWay),
            (6, Fault::Transfer),
            (4, Fault::DiskStalls),
            (4, Fault::SlowApply),
            (4, Fault::Weather),
            (6, Fault::Crash),
            (1, Fault::CrashAll),
        ],
        fault_gap: (300, 2500),
        asks: &[
            (6, Asked::Grant),
            (50, Asked::KeepAlive),
            (8, Asked::TimeToLive),
            (30, Asked::PutLeased),
            (4, Asked::Revoke),
            (5, Asked::Put),
            (3, Asked::Delete),
            (15, Asked::Get),
            (5, Asked::Range),
        ],
        ..GENERAL
    },
    Profile {
        name: "p17-stalled",
        about: "P17: a leader that was stalled renews nothing that the next one ends",
        ends: 30_000,
        clients: 16,
        watchers: 2,
        ttl: (4, 7),
        ask_gap: (1500, 5000),
        faults: &[(10, Fault::LeaderStalls), (1, Fault::Isolate)],
        fault_gap: (2500, 4500),
        asks: &[
            (30, Asked::KeepAlive),
            (20, Asked::PutLeased),
            (3, Asked::TimeToLive),
            (10, Asked::Range),
        ],
        ..GENERAL
    },
    Profile {
        name: "p17-checkpoints",
        about: "P17: a change of the leader does not let leases begin anew",
        ends: 60_000,
        ttl: (20, 20),
        lease_late: Some(20_000),
        clients: 4,
        watchers: 2,
        ask_gap: (200, 1500),
        faults: &[(9, Fault::Transfer), (1, Fault::Crash)],
        fault_gap: (4000, 6000),
        asks: &[
            (10, Asked::PutLeased),
            (1, Asked::KeepAlive),
            (20, Asked::Range),
        ],
        ..GENERAL
    },
    Profile {
        name: "locks",
        about: "P18: a lock by a lease has one holder, and what it guards is written by holders",
        clients: 6,
        ttl: (2, 4),
        ask_gap: (20, 400),
        asks: &[
            (25, Asked::Lock),
            (35, Asked::Fenced),
            (6, Asked::Unlock),
            (30, Asked::KeepAlive),
            (3, Asked::Grant),
            (1, Asked::Revoke),
            (5, Asked::Range),
        ],
        ..GENERAL
    },
    Profile {
        name: "p03-auth",
        about: "P3: who may do what changes under load, and is the same on every member",
        users: true,
        asks: &[
            (30, Asked::Put),
            (15, Asked::Get),
            (5, Asked::GetHere),
            (5, Asked::Range),
            (5, Asked::Delete),
            (3, Asked::DeleteRange),
            (10, Asked::Swap),
            (10, Asked::Txn),
        ],
        ..GENERAL
    },
    Profile {
        name: "p21-hashes",
        about: "P21: members show equal hashes of equal data at any time, also around compactions",
        faults: &[
            (10, Fault::Crash),
            (10, Fault::CrashAtWrite),
            (5, Fault::Isolate),
            (5, Fault::CommitFails),
            (5, Fault::LateCommits),
            (10, Fault::SlowApply),
        ],
        asks: &[
            (30, Asked::Put),
            (8, Asked::Delete),
            (3, Asked::DeleteRange),
            (8, Asked::Txn),
            (5, Asked::Get),
            (5, Asked::PutLeased),
            (8, Asked::Compact),
            (12, Asked::Hashes),
        ],
        ..GENERAL
    },
    AMNESIA,
    Profile {
        name: "amnesia-five",
        about: "the same with five members, two of which forget",
        members: 5,
        fault_gap: (100, 900),
        ..AMNESIA
    },
    Profile {
        name: "amnesia-apart",
        about: "the same with a member that others know only by what they were told",
        fault_gap: (2500, 6500),
        faults: &[
            (1, Fault::Crash),
            (1, Fault::Apart),
            (8, Fault::PutBackApart),
        ],
        ..AMNESIA
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
    Profile {
        name: "v2",
        about: "keys of the second API: set, read, swapped, deleted, and ended by time",
        watchers: 0,
        keys: 4,
        asks: &[(1, Asked::V2)],
        ask_gap: (20, 250),
        ..GENERAL
    },
    Profile {
        name: "rot",
        about: "a database that rots: nobody answers from it what was never written",
        faults: &[
            (25, Fault::DatabaseRots),
            (10, Fault::Crash),
            (5, Fault::CrashAtWrite),
            (5, Fault::Isolate),
            (5, Fault::LateCommits),
        ],
        fault_gap: (100, 1200),
        ..GENERAL
    },
    Profile {
        name: "full-disk",
        about: "a database that finds no space, also at a start, loses nothing that was acknowledged",
        faults: &[
            (25, Fault::DiskFull),
            (15, Fault::Crash),
            (10, Fault::CrashAtWrite),
            (5, Fault::CrashAll),
            (5, Fault::Isolate),
            (5, Fault::SlowApply),
        ],
        fault_gap: (100, 1200),
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
