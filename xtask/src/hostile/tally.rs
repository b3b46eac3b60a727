//! What clients were told, and how often.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Texts that are shown; the others are counted together.
const SHOWN_MAX: usize = 3;

/// Counts by text; clones count together.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Arc<Mutex<BTreeMap<String, u64>>>);

impl Tally {
    pub(super) fn add(&self, text: impl Into<String>) {
        *self.counts().entry(text.into()).or_default() += 1;
    }

    /// How often a text came that contains `part`.
    pub(super) fn with(&self, part: &str) -> u64 {
        let counts = self.counts();
        let counted = counts.iter().filter(|(text, _)| text.contains(part));
        counted.map(|(_, count)| count).sum()
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most frequent ones first.
impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = self.counts();
        let mut counts: Vec<_> = counts.iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let shown = counts.iter().take(SHOWN_MAX);
        let mut texts: Vec<String> = shown
            .map(|(text, count)| format!("{count} × {}", text.trim()))
            .collect();
        let others: u64 = counts
            .iter()
            .skip(SHOWN_MAX)
            .map(|(_, count)| **count)
            .sum();
        if others > 0 {
            texts.push(format!("{others} × other"));
        }
        f.write_str(&texts.join("; "))
    }
}
