//! What the pages ask of a member.

use std::pin::Pin;

use crate::metrics::Metrics;

/// A read that is on its way.
pub(crate) type ProbeFuture<'a> = Pin<Box<dyn Future<Output = Result<(), ProbeError>> + Send + 'a>>;

/// A member, as seen by those who watch over it.
pub(crate) trait Probe: Send + Sync + 'static {
    /// Whether a leader is known.
    fn has_leader(&self) -> bool;

    /// Whether this member is a learner.
    fn is_learner(&self) -> bool;

    /// Every alarm of the cluster.
    fn alarms(&self) -> Vec<Alarm>;

    /// Reads a key or none at all, with the rights of root: can the member answer?
    fn read(&self, consistency: Consistency) -> ProbeFuture<'_>;

    /// The versions that are decided.
    fn versions(&self) -> Versions;

    /// Brings those numbers up to date that are read off the member as it is.
    fn measure(&self, metrics: &Metrics);
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consistency {
    /// As fresh as the cluster: needs a quorum.
    Linearizable,
    /// As fresh as this member.
    Serializable,
}

/// What is wrong with a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// The database is as large as it may be.
    NoSpace,
    /// Members differ.
    Corrupt,
}

impl Alarm {
    /// As requests and answers spell it.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoSpace => "NOSPACE",
            Self::Corrupt => "CORRUPT",
        }
    }
}

/// Why a read failed, in the words that a client would get.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct ProbeError {
    /// As in `etcdserver: request timed out`.
    pub reason: String,
}

/// Versions; `None` until they are decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Versions {
    /// Of the cluster, as in `3.7.0`.
    pub cluster: Option<String>,
    /// Of the data, as in `3.7.0`.
    pub storage: Option<String>,
}
