//! What happened in a run: always as one number, by which two runs are compared, and for people as
//! lines.

use std::fmt::{self, Write};

use cairn_history::Time;

/// A run as it happened.
#[derive(Debug)]
pub(crate) struct Trace {
    digest: Digest,
    lines: Option<Vec<Line>>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Time,
    /// What.
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.at.0 / 1000;
        write!(f, "{:>5}.{:06}  ", micros / 1_000_000, micros % 1_000_000)?;
        f.write_str(&self.text)
    }
}

impl Trace {
    /// An empty one, which keeps lines only if they are wanted.
    pub(crate) fn new(keep_lines: bool) -> Self {
        Self {
            digest: Digest::default(),
            lines: keep_lines.then(Vec::new),
        }
    }

    /// Notes what happened.
    pub(crate) fn note(&mut self, at: Time, what: fmt::Arguments<'_>) {
        // Writing to a digest or a string does not fail.
        let _ = writeln!(self.digest, "{} {what}", at.0);
        if let Some(lines) = &mut self.lines {
            lines.push(Line {
                at,
                text: what.to_string(),
            });
        }
    }

    /// The number that stands for all of it.
    pub(crate) const fn digest(&self) -> u64 {
        self.digest.0
    }

    /// The lines, if they were kept.
    pub(crate) fn into_lines(self) -> Vec<Line> {
        self.lines.unwrap_or_default()
    }
}

/// FNV-1a over all that is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digest(pub(crate) u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    /// What `value` shows of itself, as a number.
    pub(crate) fn of(value: &impl fmt::Debug) -> u64 {
        let mut digest = Self::default();
        let _ = write!(digest, "{value:?}");
        digest.0
    }
}

impl Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}
