//! `diff`: what has changed between two revisions.

use std::cmp::Ordering;
use std::collections::VecDeque;

use cairn_proto::mvccpb::KeyValue;
use clap::Command;

use crate::cli::{arguments, leaf, switch};
use crate::failure::Failure;
use crate::golang::{Base, Json, Object, parse_i64};
use crate::pages::Pages;
use crate::paint::{Paint, Tone};
use crate::progress::{self, Unit};
use crate::session::{Context, Session, put_out};
use crate::show::Format;
use crate::value_diff;

pub(crate) fn definition() -> Command {
    let diff = leaf("diff", "What changed between two revisions, key by key")
        .arg(switch("keys-only", "Only which keys changed, and not how"));
    arguments(diff, "<revision> <revision|now> [prefix]").after_help(
        "JSON values are compared by path. With -w json, a line is an object for each key.\n\n\
         Examples:\n  diff 100 now\n  diff 100 200 app/ -w json",
    )
}

/// A side of the comparison, pair by pair.
struct Side {
    pages: Pages,
    read: VecDeque<KeyValue>,
}

impl Side {
    fn new(prefix: &[u8], revision: i64) -> Self {
        Self {
            pages: Pages::of_prefix(prefix, revision),
            read: VecDeque::new(),
        }
    }

    /// Reads on if nothing is left of what was read.
    async fn fill(&mut self, session: &Session) -> Result<(), Failure> {
        while self.read.is_empty() {
            match self.pages.next(session).await? {
                Some(pairs) => self.read.extend(pairs),
                None => break,
            }
        }
        Ok(())
    }
}

/// What became of a key.
enum Change {
    Added(KeyValue),
    Removed(KeyValue),
    Changed { old: KeyValue, new: KeyValue },
}

impl Change {
    fn json(&self) -> Json {
        let value = |kv: &KeyValue| Json::bytes(&kv.value);
        let (change, key, old, new) = match self {
            Self::Added(new) => ("added", &new.key, None, Some(new)),
            Self::Removed(old) => ("removed", &old.key, Some(old), None),
            Self::Changed { old, new } => ("changed", &new.key, Some(old), Some(new)),
        };
        Object::default()
            .always("key", &Json::bytes(key))
            .always("change", &Json::string(change))
            .optional("old", old.map(value))
            .optional("new", new.map(value))
            .number("mod_revision", new.map_or(0, |kv| kv.mod_revision))
            .end()
    }

    fn text(&self, keys_only: bool, paint: Paint) -> String {
        let line = |tone, mark: &str, kv: &KeyValue| {
            let key = value_diff::brief(&kv.key);
            format!("{}\n", paint.in_tone(tone, format!("{mark} {key}")))
        };
        let indented = |lines: Vec<String>| -> String {
            lines.iter().map(|line| format!("    {line}\n")).collect()
        };
        let (mut text, details) = match self {
            Self::Added(kv) => (
                line(Tone::Added, "+", kv),
                vec![value_diff::brief(&kv.value)],
            ),
            Self::Removed(kv) => (line(Tone::Removed, "-", kv), vec![]),
            Self::Changed { old, new } => {
                let details = value_diff::lines(&old.value, &new.value, paint);
                (line(Tone::Changed, "~", new), details)
            }
        };
        if !keys_only {
            text.push_str(&indented(details));
        }
        text
    }
}

fn revision(word: &str) -> Result<i64, Failure> {
    if word == "now" {
        return Ok(0);
    }
    let revision = parse_i64(word, Base::Decimal).map_err(Failure::arguments)?;
    if revision < 1 {
        return Err(Failure::arguments(
            "revisions begin at 1; `now` is the current",
        ));
    }
    Ok(revision)
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let words = context.flags.words();
    let (from, to) = match words.as_slice() {
        [from, to] | [from, to, _] => (revision(from)?, revision(to)?),
        _ => {
            return Err(Failure::arguments(
                "diff needs two revisions, and takes a prefix",
            ));
        }
    };
    let prefix = context
        .flags
        .byte_strings()
        .into_iter()
        .nth(2)
        .unwrap_or_default();
    let session = context.session().await?;
    let paint = Paint::for_stdout();
    let keys_only = context.flags.is("keys-only");
    let is_json = match session.globals.format {
        Format::Simple => false,
        Format::Json => true,
        other => return Err(other.refusal()),
    };
    let (mut old, mut new) = (Side::new(&prefix, from), Side::new(&prefix, to));
    let bar = progress::bar(None, Unit::Keys, "Comparing");
    while let Some(change) = next_change(&mut old, &mut new, &session, &bar).await? {
        let text = match is_json {
            true => format!("{}\n", change.json().into_text()),
            false => change.text(keys_only, paint),
        };
        bar.suspend(|| put_out(text.as_bytes()))?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// Goes on to the next key that is not the same on both sides.
async fn next_change(
    old: &mut Side,
    new: &mut Side,
    session: &Session,
    bar: &indicatif::ProgressBar,
) -> Result<Option<Change>, Failure> {
    loop {
        old.fill(session).await?;
        new.fill(session).await?;
        bar.inc(1);
        let order = match (old.read.front(), new.read.front()) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.key.cmp(&new.key),
        };
        let taken_old = order.is_le().then(|| old.read.pop_front()).flatten();
        let taken_new = order.is_ge().then(|| new.read.pop_front()).flatten();
        match (taken_old, taken_new) {
            (Some(old), Some(new)) if old.mod_revision == new.mod_revision => {}
            (Some(old), Some(new)) => return Ok(Some(Change::Changed { old, new })),
            (Some(old), None) => return Ok(Some(Change::Removed(old))),
            (None, Some(new)) => return Ok(Some(Change::Added(new))),
            (None, None) => return Ok(None),
        }
    }
}
