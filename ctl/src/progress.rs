//! Bars for what takes its time, where people see them.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::session::stdout_is_terminal;

/// What a bar counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Keys,
    Seconds,
}

/// A bar on stderr; nothing at all if stdout is no terminal. Without a length it only counts.
pub(crate) fn bar(length: Option<u64>, unit: Unit, what: &'static str) -> ProgressBar {
    if !stdout_is_terminal() {
        return ProgressBar::hidden();
    }
    let done = match unit {
        Unit::Bytes => "{decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}",
        Unit::Keys => "{human_pos}/{human_len} {per_sec}",
        Unit::Seconds => "{pos}/{len} s",
    };
    let template = match length {
        Some(_) => format!("{{msg}} [{{bar:32}}] {done} {{eta}}"),
        None => "{msg} {human_pos} {per_sec}".to_owned(),
    };
    let style = ProgressStyle::with_template(&template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    bar.with_style(style.progress_chars("=> "))
        .with_message(what)
}
