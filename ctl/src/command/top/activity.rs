//! What happens to keys, by prefix.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use cairn_client::Event;

use crate::golang::human_bytes;
use crate::show::Table;
use crate::value_diff::brief;

/// Prefixes that are remembered; whatever is beyond counts together.
const PREFIXES_MAX: usize = 10_000;

/// What is known of a prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Prefix {
    keys: i64,
    bytes: i64,
    /// Since the last look.
    puts: u64,
    deletes: u64,
    written: u64,
}

/// Sizes and changes of all prefixes.
#[derive(Debug)]
pub(super) struct Activity {
    separator: u8,
    depth: usize,
    prefixes: BTreeMap<Vec<u8>, Prefix>,
    /// Whether sizes are known, and not only how they changed.
    pub(super) has_sizes: bool,
}

impl Activity {
    pub(super) fn new(separator: u8, depth: usize) -> Self {
        Self {
            separator,
            depth,
            prefixes: BTreeMap::new(),
            has_sizes: false,
        }
    }

    /// The key up to the separator that ends the last level that counts.
    fn prefix<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        let ends = key.iter().enumerate().skip(1);
        let mut ends = ends.filter(|(_, byte)| **byte == self.separator);
        let end = ends.nth(self.depth - 1).or_else(|| {
            let mut ends = key.iter().enumerate().skip(1);
            ends.rfind(|(_, byte)| **byte == self.separator)
        });
        let length = end.map_or(0, |(at, _)| at + 1);
        key.get(..length).unwrap_or(key)
    }

    fn entry(&mut self, key: &[u8]) -> &mut Prefix {
        let prefix = self.prefix(key);
        let is_full = self.prefixes.len() >= PREFIXES_MAX && !self.prefixes.contains_key(prefix);
        let prefix = if is_full { &[] } else { prefix };
        self.prefixes.entry(prefix.to_vec()).or_default()
    }

    /// A key that is there.
    pub(super) fn weigh(&mut self, key: &[u8], bytes: u64) {
        let entry = self.entry(key);
        entry.keys += 1;
        entry.bytes += i64::try_from(bytes).unwrap_or(i64::MAX);
    }

    pub(super) fn count(&mut self, event: &Event) {
        let size = |key: &[u8], value: &[u8]| i64::try_from(key.len() + value.len()).unwrap_or(0);
        let before = event.previous().map(|kv| size(&kv.key, &kv.value));
        let after = match event {
            Event::Put { kv, .. } => Some(size(&kv.key, &kv.value)),
            Event::Delete { .. } => None,
        };
        let is_create = event.is_create();
        let entry = self.entry(event.key());
        entry.bytes += after.unwrap_or(0) - before.unwrap_or(0);
        match after {
            Some(bytes) => {
                entry.puts += 1;
                entry.written += bytes.unsigned_abs();
                entry.keys += i64::from(is_create);
            }
            None => {
                entry.deletes += 1;
                entry.keys -= 1;
            }
        }
    }

    /// Counts changes from nothing again.
    pub(super) fn begin_again(&mut self) {
        for prefix in self.prefixes.values_mut() {
            *prefix = Prefix {
                keys: prefix.keys,
                bytes: prefix.bytes,
                ..Prefix::default()
            };
        }
        self.prefixes.retain(|_, prefix| prefix.keys > 0);
    }

    fn first(&self, limit: usize, weight: impl Fn(&Prefix) -> u64) -> Vec<(&Vec<u8>, &Prefix)> {
        let mut all: Vec<_> = self
            .prefixes
            .iter()
            .filter(|(_, it)| weight(it) > 0)
            .collect();
        all.sort_by_key(|(name, it)| (std::cmp::Reverse(weight(it)), *name));
        all.truncate(limit);
        all
    }

    /// The busiest and the largest prefixes.
    pub(super) fn tables(&self, span: Duration, limit: usize) -> String {
        let rate = |count: u64| format!("{:.1}", count as f64 / span.as_secs_f64().max(0.001));
        let name = |prefix: &[u8]| match prefix {
            [] => "(no prefix)".to_owned(),
            prefix => brief(prefix),
        };
        let row = |(prefix, it): (&Vec<u8>, &Prefix)| {
            let written = format!("{}/s", human_bytes(per_second(it.written, span)));
            vec![name(prefix), rate(it.puts), rate(it.deletes), written]
        };
        let busiest = self.first(limit, |it| it.puts + it.deletes);
        let head = ["busiest prefix", "puts/s", "deletes/s", "written"];
        let mut text = Table::new(&head, busiest.into_iter().map(row).collect()).to_string();
        if self.has_sizes {
            let row = |(prefix, it): (&Vec<u8>, &Prefix)| {
                vec![
                    name(prefix),
                    it.keys.to_string(),
                    human_bytes(it.bytes.max(0).unsigned_abs()),
                ]
            };
            let largest = self.first(limit, |it| it.bytes.max(0).unsigned_abs());
            let rows = largest.into_iter().map(row).collect();
            let _ = write!(
                text,
                "{}",
                Table::new(&["largest prefix", "keys", "size"], rows)
            );
        }
        text
    }
}

fn per_second(count: u64, span: Duration) -> u64 {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1);
    count.saturating_mul(1000) / millis
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_no_more_levels_than_asked_for() {
        let activity = Activity::new(b'/', 2);
        for (key, prefix) in [
            ("/a/b/c", "/a/b/"),
            ("a/b/c/d", "a/b/"),
            ("a/b", "a/"),
            ("a", ""),
            ("", ""),
        ] {
            assert_eq!(activity.prefix(key.as_bytes()), prefix.as_bytes(), "{key}");
        }
    }

    #[test]
    fn prefixes_beyond_the_bound_count_together() {
        let mut activity = Activity::new(b'/', 1);
        for number in 0..PREFIXES_MAX + 5 {
            activity.weigh(format!("{number:05}/x").as_bytes(), 1);
        }
        assert_eq!(activity.prefixes.len(), PREFIXES_MAX + 1);
        assert_eq!(activity.prefixes[&b""[..]].keys, 5);
    }
}
