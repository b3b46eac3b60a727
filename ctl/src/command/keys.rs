//! `keys`: the tree of keys, with sizes.

use clap::Command;

use crate::cli::{arguments, leaf, number, text};
use crate::failure::Failure;
use crate::golang::{Json, Object, human_bytes};
use crate::key_tree::{KeyTree, Weight};
use crate::pages::Pages;
use crate::paint::{Paint, Tone};
use crate::progress::{self, Unit};
use crate::session::{Context, put_out};
use crate::show::{Format, Text};
use crate::value_diff::brief;

pub(crate) fn definition() -> Command {
    let keys = leaf(
        "keys",
        "The tree of keys, with how many there are and their sizes",
    )
    .args([
        number("depth", "How many levels to show")
            .default_value("2")
            .hide_default_value(false),
        number(
            "limit",
            "How many of each level to show, the largest first; 0: all",
        )
        .default_value("20")
        .hide_default_value(false),
        text("separator", "The byte that parts keys")
            .default_value("/")
            .hide_default_value(false),
        number("rev", "The revision to read at; 0: the current"),
    ]);
    arguments(keys, "[prefix]").after_help(
        "Sizes are those of keys and values at one revision, without what is kept of the past.\n\n\
         Examples:\n  keys\n  keys /registry/ --depth 1\n  keys -w json",
    )
}

/// How a tree is shown.
struct View {
    limit: usize,
    paint: Paint,
}

impl View {
    fn line(&self, lead: &str, name: &str, weight: Weight, text: &mut Text) {
        let (size, keys) = (human_bytes(weight.bytes), weight.keys);
        let lead = self.paint.in_tone(Tone::Faint, lead);
        let name = self.paint.in_tone(Tone::Key, name);
        text.line(format_args!("{size:>8} {keys:>9}  {lead}{name}"));
    }

    fn below(&self, node: &KeyTree, indent: &str, text: &mut Text) {
        let heaviest = node.heaviest();
        let shown = heaviest.len().min(self.limit);
        let (first, rest) = heaviest.split_at(shown);
        for (at, (part, node)) in first.iter().enumerate() {
            let is_last = at + 1 == shown && rest.is_empty();
            let (fork, more) = if is_last {
                ("└── ", "    ")
            } else {
                ("├── ", "│   ")
            };
            self.line(&format!("{indent}{fork}"), &brief(part), node.weight, text);
            self.below(node, &format!("{indent}{more}"), text);
        }
        if !rest.is_empty() {
            let mut weight = Weight::default();
            for (_, node) in rest {
                weight.keys += node.weight.keys;
                weight.bytes += node.weight.bytes;
            }
            let name = format!("… {} more", rest.len());
            self.line(&format!("{indent}└── "), &name, weight, text);
        }
    }
}

fn json(name: &[u8], node: &KeyTree) -> Json {
    let below = node.heaviest();
    Object::default()
        .always("part", &Json::bytes(name))
        .always("keys", &Json::raw(node.weight.keys))
        .always("bytes", &Json::raw(node.weight.bytes))
        .list("below", &below, |(part, node)| json(part, node))
        .end()
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let flags = &context.flags;
    let prefix = match flags.byte_strings().as_slice() {
        [] => Vec::new(),
        [prefix] => prefix.clone(),
        _ => return Err(Failure::arguments("keys takes one prefix")),
    };
    let separator = flags.text("separator");
    let [separator] = separator.as_bytes() else {
        return Err(Failure::arguments("--separator is one byte"));
    };
    let depth = usize::try_from(flags.number("depth").max(0)).unwrap_or(usize::MAX);
    let limit = match usize::try_from(flags.number("limit").max(0)) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(limit) => limit,
    };
    let session = context.session().await?;
    let mut pages = Pages::of_prefix(&prefix, flags.number("rev").max(0));
    let bar = progress::bar(Some(0), Unit::Keys, "Reading");
    let mut tree = KeyTree::default();
    while let Some(pairs) = pages.next(&session).await? {
        bar.set_length(pages.total);
        for kv in pairs {
            let bytes = (kv.key.len() + kv.value.len()) as u64;
            let rest = kv.key.get(prefix.len()..).unwrap_or_default();
            tree.add(rest, bytes, *separator, depth);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let mut text = Text::default();
    match session.globals.format {
        Format::Simple => {
            let view = View {
                limit,
                paint: Paint::for_stdout(),
            };
            text.line("    SIZE      KEYS  KEY");
            let name = if prefix.is_empty() {
                "(all)".to_owned()
            } else {
                brief(&prefix)
            };
            view.line("", &name, tree.weight, &mut text);
            view.below(&tree, "", &mut text);
        }
        Format::Json => text.line(json(&prefix, &tree).into_text()),
        other => return Err(other.refusal()),
    }
    put_out(&text.into_bytes())
}
