//! On whose behalf a request is made, and since when that is known.

use std::num::NonZeroU64;
use std::sync::Arc;

/// How often the rules have changed, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthRevision(NonZeroU64);

impl AuthRevision {
    /// The revision of a cluster whose rules were never touched.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// Reads a revision; zero is how the wire says that there is none.
    #[must_use]
    pub fn from_wire(wire: u64) -> Option<Self> {
        NonZeroU64::new(wire).map(Self)
    }

    /// The revision as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The revision after this one. The last stays, which takes more changes than there can be.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Who asks: a user whose token or certificate was accepted, and the rules it was accepted under.
///
/// It travels with the request through the log, where every member checks it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthInfo {
    /// The user's name, never empty.
    username: Arc<str>,
    /// The rules under which the user was let in.
    revision: AuthRevision,
}

impl AuthInfo {
    /// None without a name: that is nobody.
    #[must_use]
    pub fn new(username: Arc<str>, revision: AuthRevision) -> Option<Self> {
        (!username.is_empty()).then_some(Self { username, revision })
    }

    /// Reads what a log entry's header says; an empty name or no revision is nobody.
    #[must_use]
    pub fn from_wire(username: &str, revision: u64) -> Option<Self> {
        Self::new(username.into(), AuthRevision::from_wire(revision)?)
    }

    /// The user's name.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The rules under which the user was let in.
    #[must_use]
    pub const fn revision(&self) -> AuthRevision {
        self.revision
    }
}
