//! How a check ended, if it could be run at all.

/// The end of a check that needs things which a machine may lack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    /// Something that it needs is not there: what, and how to get it.
    Skipped(String),
}
