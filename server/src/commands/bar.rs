//! A bar that shows how far a command has come, on a terminal.

use cairn_migrate::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// Shows nothing where stderr is no terminal.
#[derive(Default)]
pub(super) struct Bar(Option<ProgressBar>);

impl Progress for Bar {
    fn begin(&mut self, what: &'static str, total: u64) {
        let bar = ProgressBar::new(total).with_message(what);
        let style = "{msg} [{bar:40}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style.progress_chars("=> "));
        }
        self.0 = Some(bar);
    }

    fn advance(&mut self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
