//! What a check found.

use std::fmt::{self, Display, Formatter};

use crate::History;
use crate::timeline::{Concerned, Timeline};

/// Violations kept; the rest is only counted.
const KEPT_MAX: usize = 20;

/// A promise of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Answers have the form that the request asks for, and a revision.
    WellFormed,
    /// There is one order of all writes and reads that explains every answer and agrees with time.
    StrictlySerializable,
    /// A serializable read is of a state that was.
    Snapshot,
    /// A member's revision and term do not go back while it runs.
    NeverBack,
    /// Compacted and future revisions are refused, and only they.
    Compaction,
    /// Once all is healed, every member shows what was acknowledged.
    Durable,
    /// Watch: events come in the order of revisions.
    Ordered,
    /// Watch: no event comes twice.
    Unique,
    /// Watch: no event is left out.
    Reliable,
    /// Watch: all events of a revision come together.
    Atomic,
    /// Watch: a watcher from a revision hears everything from it on, and nothing before.
    Resumable,
    /// Watch: what was sent before a progress is everything up to it.
    Bookmarkable,
    /// Watch: an event says what was written, and whether it was created.
    EventContent,
    /// Watch: the version before is the version before.
    PrevKv,
    /// Watch: nothing comes that the range or the filters leave out.
    Filtered,
    /// Watch: a watcher is canceled for compaction only if its next revision is compacted.
    CanceledRightly,
    /// A lease does not end before its time, and ends when it should.
    Lease,
    /// Who is told that he holds a lock is the oldest that waits for it.
    Lock,
    /// Members at the same revision hold the same.
    EqualHash,
    /// A term has one leader.
    OneLeader,
}

impl Rule {
    /// In plain words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WellFormed => "well-formed answers",
            Self::StrictlySerializable => "strict serializability",
            Self::Snapshot => "serializable reads",
            Self::NeverBack => "a member never goes back",
            Self::Compaction => "compaction",
            Self::Durable => "durability",
            Self::Ordered => "watch: ordered",
            Self::Unique => "watch: unique",
            Self::Reliable => "watch: reliable",
            Self::Atomic => "watch: atomic",
            Self::Resumable => "watch: resumable",
            Self::Bookmarkable => "watch: bookmarkable",
            Self::EventContent => "watch: content of events",
            Self::PrevKv => "watch: previous versions",
            Self::Filtered => "watch: range and filters",
            Self::CanceledRightly => "watch: canceled rightly",
            Self::Lease => "leases",
            Self::Lock => "locks",
            Self::EqualHash => "equal hashes",
            Self::OneLeader => "one leader a term",
        }
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// What was seen, and what should have been.
    pub text: String,
    /// The records that show it.
    pub timeline: Timeline,
}

/// What the checks of one history found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Broken promises, the first ones of many.
    pub violations: Vec<Violation>,
    /// Broken promises beyond those kept.
    pub further: usize,
    /// What could not be decided, and why. A verdict with any is no pass.
    pub undecided: Vec<String>,
    /// What was checked.
    pub counts: Counts,
}

/// How much was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations.
    pub ops: usize,
    /// Those of them whose outcome nobody knows.
    pub unknown: usize,
    /// Unknown ones that the checks found to have been done.
    pub unknown_done: usize,
    /// Revisions.
    pub revisions: usize,
    /// Watchers.
    pub watches: usize,
    /// Events that they heard.
    pub events: usize,
    /// Steps of the model that the search took.
    pub steps: usize,
}

impl Verdict {
    /// Whether everything was decided and no promise is broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.undecided.is_empty()
    }

    /// Whether this promise is broken.
    #[must_use]
    pub fn breaks(&self, rule: Rule) -> bool {
        self.violations.iter().any(|it| it.rule == rule)
    }

    pub(crate) fn violation(
        &mut self,
        history: &History,
        rule: Rule,
        text: String,
        concerned: &Concerned,
    ) {
        if self.violations.len() == KEPT_MAX {
            self.further += 1;
            return;
        }
        self.violations.push(Violation {
            rule,
            text,
            timeline: Timeline::new(history, concerned),
        });
    }
}

impl Display for Violation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.rule.name(), self.text)?;
        self.timeline.fmt(f)
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for violation in &self.violations {
            writeln!(f, "VIOLATION of {violation}")?;
        }
        if self.further > 0 {
            writeln!(f, "and {} violations more", self.further)?;
        }
        for undecided in &self.undecided {
            writeln!(f, "UNDECIDED: {undecided}")?;
        }
        let counts = self.counts;
        let passed = if self.is_clean() { "clean: " } else { "" };
        write!(
            f,
            "{passed}{} operations ({} unknown, {} of them done), {} revisions, {} watchers with {} events",
            counts.ops,
            counts.unknown,
            counts.unknown_done,
            counts.revisions,
            counts.watches,
            counts.events
        )
    }
}
