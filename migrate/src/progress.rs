//! How far something long has come.

/// Is told how far something long has come.
pub trait Progress {
    /// Something begins that will take about `total` bytes.
    fn begin(&mut self, what: &'static str, total: u64);

    /// So many more bytes are done.
    fn advance(&mut self, bytes: u64);
}

/// Nobody is told.
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&mut self, _: &'static str, _: u64) {}

    fn advance(&mut self, _: u64) {}
}
