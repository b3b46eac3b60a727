//! Where a log ended when it was opened, and what was cut off there.

use std::fmt;

/// The end of a log that was opened: what is said of it in the member's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTail {
    /// The last segment.
    pub file: String,
    /// Where in it the last whole frame ends.
    pub offset: u64,
    /// What stood behind that.
    pub kind: TailKind,
}

/// What stood behind the last whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailKind {
    /// Nothing.
    Clean,
    /// A write that was not finished, so that nobody was told of it; or the very last frame,
    /// damaged, which looks the same.
    Torn {
        /// How many bytes of it there were, as far as they are not zero.
        bytes: u64,
    },
    /// Bytes that are no frame, in a file that held another segment before: what is left of that
    /// one, or a write that was not finished.
    Leftover {
        /// How many.
        bytes: u64,
    },
}

impl fmt::Display for LogTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, kind } = self;
        write!(f, "{file} ends at offset {offset}; ")?;
        match kind {
            TailKind::Clean => f.write_str("nothing is behind that"),
            TailKind::Torn { bytes } => write!(
                f,
                "{bytes} bytes of an unfinished write are cut (or of the last one, damaged: what \
                 it held is sent by other members, if there are any that have it)"
            ),
            TailKind::Leftover { bytes } => write!(
                f,
                "the {bytes} bytes behind that are no frame: left from an earlier use of the file, \
                 or of an unfinished write"
            ),
        }
    }
}
