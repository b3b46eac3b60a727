//! Progress bars on standard error; nothing where that is no terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// Steps of a bar.
const STEPS: f64 = 1000.0;

/// Whether and how progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A bar for each run.
    Bars,
    /// Nothing.
    Quiet,
}

impl Progress {
    /// A new bar, removed when dropped.
    #[must_use]
    pub fn bar(self, name: &str) -> Bar {
        let bar = match self {
            Self::Bars => ProgressBar::new(1000),
            Self::Quiet => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{msg:24} {bar:40} {percent:>3}% {elapsed}")
        {
            bar.set_style(style);
        }
        bar.set_message(name.to_owned());
        Bar(bar)
    }
}

/// A progress bar.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// Shows how much is done, from 0 to 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the bar's steps"
    )]
    pub fn show(&self, done: f64) {
        self.0.set_position((done.clamp(0.0, 1.0) * STEPS) as u64);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
