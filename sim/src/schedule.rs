//! What is done to a cluster and when: all that a run follows from, beside its seed.
//!
//! As text, a schedule is a line of JSON for its head and one for each step, so that it can be read,
//! cut and edited by hand.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, ensure};
use cairn_history::{ClientId, KeyRange, MemberId, Request, WatchRequest};
use serde::{Deserialize, Serialize};

/// A span of simulated time, or a moment counted from the start.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Millis(
    /// Milliseconds.
    pub u64,
);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// What is done to a cluster, in order of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// How the cluster is made up.
    pub cluster: Cluster,
    /// What is done to it.
    pub steps: Vec<Step>,
}

/// How a cluster is made up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Where all chance comes from that steps do not settle: delays, and what crashes leave.
    pub seed: u64,
    /// Members it begins with, numbered from 1.
    pub members: u64,
    /// When the faults are over and the cluster must come to rest.
    pub ends: Millis,
    /// Keys must be gone so long after their lease's time; absent if that is not looked at before
    /// the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_late: Option<Millis>,
}

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When.
    pub at: Millis,
    /// What.
    #[serde(rename = "do")]
    pub action: Action,
}

/// A thing that can be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Cuts a member's power.
    Crash {
        /// Whose.
        whom: Whom,
        /// What is left of writes that were not synced.
        leaves: Leaves,
        /// How long it stays down.
        down: Millis,
    },
    /// Cuts a member's power in the middle of an operation of its log's disk.
    CrashAtWrite {
        /// Whose.
        whom: Whom,
        /// How many operations end well before.
        after: u64,
        /// What is left of writes that were not synced.
        leaves: Leaves,
        /// How long it stays down.
        down: Millis,
    },
    /// Lets an operation of the log's disk fail; the member must stop then.
    DiskFails {
        /// Whose.
        whom: Whom,
        /// How many operations end well before.
        after: u64,
        /// How long it stays down.
        down: Millis,
    },
    /// Lets the disk of the log take that long the next time.
    DiskStalls {
        /// Whose.
        whom: Whom,
        /// How long.
        takes: Millis,
    },
    /// Lets the next commit of the database fail; the member must stop then.
    CommitFails {
        /// Whose.
        whom: Whom,
    },
    /// Damages rows of the database; the member must stop when it reads one, and gets the data of the
    /// cluster then.
    DatabaseRots {
        /// Whose.
        whom: Whom,
        /// The first row, counted round and round.
        first: u64,
        /// How many, one after the other.
        rows: u64,
        /// The bit of each that is another, counted round and round.
        bit: u64,
    },
    /// Lets nothing get into the database for a while: all is in the buffer.
    LateCommits {
        /// Whose.
        whom: Whom,
        /// How long.
        lasts: Millis,
    },
    /// Lets the database find no space for a while; the member goes on with what is in memory and in the log.
    DiskFull {
        /// Whose.
        whom: Whom,
        /// How long.
        lasts: Millis,
    },
    /// Lets every batch that is applied take longer for a while.
    SlowApply {
        /// Whose.
        whom: Whom,
        /// How much longer.
        each: Millis,
        /// How long.
        lasts: Millis,
    },
    /// Stops a member, clocks and all, and lets it go on.
    Pause {
        /// Whom.
        whom: Whom,
        /// How long.
        lasts: Millis,
    },
    /// Sets a member's wall clock back.
    ClockBack {
        /// Whose.
        whom: Whom,
        /// How far.
        by: Millis,
    },
    /// Lets a member's ticks take another time.
    Ticks {
        /// Whose.
        whom: Whom,
        /// In percent of the right one.
        percent: u64,
    },
    /// Cuts a member off from all others.
    Isolate {
        /// Whom.
        whom: Whom,
        /// How long.
        lasts: Millis,
    },
    /// Cuts two members off from each other, and from nobody else.
    Apart {
        /// One.
        one: MemberId,
        /// The other.
        other: MemberId,
        /// How long.
        lasts: Millis,
    },
    /// Loses all that a member sends, or all that is sent to it.
    OneWay {
        /// Whom.
        whom: Whom,
        /// Which direction is lost.
        lost: Direction,
        /// How long.
        lasts: Millis,
    },
    /// Cuts the members with even numbers off from those with odd ones.
    Split {
        /// How long.
        lasts: Millis,
    },
    /// Loses, repeats and delays messages.
    Weather {
        /// How many of a hundred are lost.
        lost: u64,
        /// How many of a hundred come twice.
        twice: u64,
        /// How long one may be under way.
        delay: Millis,
        /// How long.
        lasts: Millis,
    },
    /// Puts a copy of a member's directory, from before one of its starts, in its place. As all that
    /// follow, it is not done if nobody could know what is forgotten; see `docs/SIMULATION.md`.
    PutBack {
        /// Whose.
        whom: Whom,
        /// From how many starts ago; from the first one, if there were not so many.
        starts: usize,
        /// How long it stays down.
        down: Millis,
    },
    /// Empties a member's directory, and starts the member as its cluster's flags say.
    Empty {
        /// Whose.
        whom: Whom,
        /// Whether it joins a cluster that is there; otherwise it begins it anew.
        joins: bool,
        /// How long it stays down.
        down: Millis,
    },
    /// Exchanges two members' directories for a while.
    Swap {
        /// One.
        one: MemberId,
        /// The other.
        other: MemberId,
        /// How long.
        lasts: Millis,
    },
    /// Asks the leader to hand over.
    Transfer {
        /// To whom.
        to: MemberId,
    },
    /// A client asks for something.
    Ask {
        /// Who.
        client: ClientId,
        /// As which user; absent: nobody.
        #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// What.
        what: Ask,
    },
    /// A client begins to watch; if its stream is lost, it goes on at another member.
    Watch {
        /// Who.
        client: ClientId,
        /// What; the start is in `from`.
        what: WatchRequest,
        /// Where it starts.
        from: WatchFrom,
        /// How long it takes over each message.
        pace: Millis,
    },
    /// A watching client asks how far it is.
    AskProgress {
        /// Who.
        client: ClientId,
    },
    /// A watching client's stream is lost.
    Disconnect {
        /// Whose.
        client: ClientId,
    },
}

/// A member, named by what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// This one.
    Member(MemberId),
    /// Who leads at the time, and if nobody does, the first.
    Leader,
}

/// What a crash leaves of writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leaves {
    /// Nothing.
    Nothing,
    /// All of it: the process died, not the machine.
    Everything,
    /// The first so many sectors and names.
    First(usize),
    /// Some, by chance.
    Some,
}

/// A direction, as seen from a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To it.
    In,
    /// From it.
    Out,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Just this.
    Plain(Request),
    /// Writes the key if it is what the client saw of it last, otherwise reads it.
    Swap {
        /// The key.
        key: String,
        /// The new value.
        value: String,
    },
    /// Reads the state of some revisions before the newest that the client has seen.
    ReadBack {
        /// What.
        range: KeyRange,
        /// How many revisions.
        by: i64,
    },
    /// A transaction that writes a key and reads another one at an old revision.
    WriteAndReadBack {
        /// The key to write.
        key: String,
        /// Its value.
        value: String,
        /// What is read.
        range: KeyRange,
        /// How many revisions before the newest that the client has seen.
        by: i64,
    },
    /// Changes the members.
    Members(Change),
    /// Makes a lease, which is the client's from then on.
    Grant {
        /// Time to live that is asked for, in seconds.
        ttl_secs: i64,
    },
    /// Something about the client's lease; without one it makes one.
    Lease {
        /// What.
        of: OfLease,
        /// Time to live of the one that it makes, in seconds.
        ttl_secs: i64,
    },
    /// Takes a lock, if nobody holds it, by a key under the client's lease; without one it makes one.
    Lock {
        /// The key.
        name: String,
        /// Time to live of the lease that it makes, in seconds.
        ttl_secs: i64,
    },
    /// Writes a key if the client still holds the lock; without it, reads it.
    Fenced {
        /// The lock.
        name: String,
        /// The key that it guards.
        key: String,
    },
    /// Gives a lock back, if the client has it.
    Unlock {
        /// The lock.
        name: String,
    },
    /// Changes users and roles.
    Rules(RuleChange),
    /// Asks every member for the hash of a revision, that many before the newest that any client has
    /// seen.
    Hashes {
        /// How many.
        by: i64,
    },
    /// A request of the second API. A run has either these or all others.
    V2(V2Ask),
    /// Gives up history but for so many revisions before the newest that the client has seen.
    Compact {
        /// How many.
        keep: i64,
    },
}

/// A request of the second API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum V2Ask {
    /// Writes a key.
    Set {
        /// The key.
        key: String,
        /// Its value, of which there is no other.
        value: String,
        /// Its time to live, in seconds.
        ttl_secs: Option<u64>,
    },
    /// Writes a key if its index is what the client saw of it last.
    Swap {
        /// The key.
        key: String,
        /// Its value, of which there is no other.
        value: String,
    },
    /// Deletes a key.
    Delete {
        /// The key.
        key: String,
    },
    /// Reads a key.
    Get {
        /// The key.
        key: String,
        /// Whether the answer must be as new as anything acknowledged.
        quorum: bool,
    },
}

impl V2Ask {
    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Set { key, .. }
            | Self::Swap { key, .. }
            | Self::Delete { key }
            | Self::Get { key, .. } => key,
        }
    }
}

/// What a client asks of its lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OfLease {
    /// To live on.
    KeepAlive,
    /// How long it will, and which keys it has.
    TimeToLive,
    /// To end.
    Revoke,
    /// To have a key.
    Put {
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
}

/// A change of the rules of who may do what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RuleChange {
    /// Turns authentication on.
    Enable,
    /// Turns it off.
    Disable,
    /// A new user, who has no password.
    AddUser(String),
    /// A user goes.
    DeleteUser(String),
    /// A new role.
    AddRole(String),
    /// A role goes.
    DeleteRole(String),
    /// A user gets a role: user, role.
    Give(String, String),
    /// A user loses a role: user, role.
    Take(String, String),
    /// A role may do something.
    Allow {
        /// The role.
        role: String,
        /// To which keys.
        range: KeyRange,
        /// It may read them.
        read: bool,
        /// It may write them.
        write: bool,
    },
    /// A role may no longer do what it was allowed for just this range: role, range.
    Forbid(String, KeyRange),
}

/// A change of the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A new member with a vote; it is started when that is done.
    Add(MemberId),
    /// A new member without a vote; it is started when that is done.
    Learn(MemberId),
    /// A learner gets a vote.
    Promote(MemberId),
    /// A member leaves for good.
    Remove(MemberId),
}

/// Where a watcher starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchFrom {
    /// After the present.
    Now,
    /// So many revisions before the newest that any client has seen.
    Back(i64),
    /// So many after it.
    Ahead(i64),
}

impl Whom {
    /// The member of this number.
    #[must_use]
    pub const fn member(number: u64) -> Self {
        Self::Member(MemberId(number))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = serde_json::to_string(&self.cluster).map_err(|_| fmt::Error)?;
        writeln!(f, "{head}")?;
        for step in &self.steps {
            let step = serde_json::to_string(step).map_err(|_| fmt::Error)?;
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

impl FromStr for Schedule {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut lines = (1..)
            .zip(text.lines())
            .filter(|(_, line)| !line.trim().is_empty());
        let (_, head) = lines.next().context("a schedule has a head")?;
        let cluster: Cluster = serde_json::from_str(head).context("the head of a schedule")?;
        ensure!(
            (1..=9).contains(&cluster.members),
            "a cluster has 1 to 9 members"
        );
        let steps = lines.map(|(number, line)| {
            serde_json::from_str(line).with_context(|| format!("line {number} of a schedule"))
        });
        let mut steps: Vec<Step> = steps.collect::<anyhow::Result<_>>()?;
        steps.sort_by_key(|step| step.at);
        Ok(Self { cluster, steps })
    }
}
