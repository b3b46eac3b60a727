//! `get`: keys and ranges of keys.

use cairn_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use cairn_proto::etcdserverpb::{RangeRequest, RangeResponse};
use clap::Command;

use crate::cli::{Flags, arguments, choice, leaf, number, switch};
use crate::failure::{Exit, Failure};
use crate::key_range::{OPEN_END, prefix_end};
use crate::session::{Context, Session, failure};
use crate::show::Format;

const CONSISTENCY_HELP: &str =
    "l: linearizable, as of now; s: serializable, whatever the member has";

pub(crate) fn definition() -> Command {
    let get = leaf("get", "Reads a key or a range of keys").args([
        choice("consistency", "l", &["l", "s"], CONSISTENCY_HELP),
        choice(
            "order",
            "",
            &["ASCEND", "DESCEND"],
            "The order of the answer: ASCEND or DESCEND",
        ),
        choice(
            "sort-by",
            "",
            &["CREATE", "KEY", "MODIFY", "VALUE", "VERSION"],
            "What the order is by: CREATE, KEY, MODIFY, VALUE or VERSION",
        ),
        number("limit", "The most pairs to read; 0: all"),
        switch("prefix", "All keys that begin so"),
        switch("from-key", "All keys from this one on"),
        number("rev", "The revision to read at; 0: the current"),
        switch("keys-only", "Keys without values"),
        switch("count-only", "Only how many there are (with -w fields)"),
        switch("print-value-only", "Only values (with -w simple)"),
        number(
            "min-create-rev",
            "Only keys created at this revision or later",
        ),
        number(
            "max-create-rev",
            "Only keys created at this revision or before",
        ),
        number("min-mod-rev", "Only keys changed at this revision or later"),
        number(
            "max-mod-rev",
            "Only keys changed at this revision or before",
        ),
        switch(
            "stream",
            "Read by RangeStream (etcd 3.7, Cairn); with -w simple, pairs are put out as they come",
        ),
    ]);
    arguments(get, "<key> [range_end]").after_help(
        "Examples:\n  get app/config\n  get app/ --prefix --keys-only\n  get a g               (from a up to g)\n  get app/config --rev=42 -w json",
    )
}

/// Whether reads need not be as of now.
pub(super) fn is_serializable(consistency: &str) -> Result<bool, Failure> {
    match consistency {
        "s" => Ok(true),
        "l" => Ok(false),
        other => {
            let quoted = crate::golang::quote(other.as_bytes());
            Err(Failure::feature(format!(
                "unknown consistency flag {quoted}"
            )))
        }
    }
}

fn order(flags: &Flags) -> Result<(SortTarget, SortOrder), Failure> {
    let (order, target) = (flags.text("order"), flags.text("sort-by"));
    let by = match target.to_uppercase().as_str() {
        "CREATE" => SortTarget::Create,
        "KEY" | "" => SortTarget::Key,
        "MODIFY" => SortTarget::Mod,
        "VALUE" => SortTarget::Value,
        "VERSION" => SortTarget::Version,
        _ => return Err(Failure::feature(format!("bad sort target {target}"))),
    };
    let order = match order.to_uppercase().as_str() {
        // Servers answer in this order anyway, and do it faster if they are not asked to.
        "ASCEND" if by == SortTarget::Key => SortOrder::None,
        "ASCEND" => SortOrder::Ascend,
        "DESCEND" => SortOrder::Descend,
        "" => SortOrder::None,
        _ => return Err(Failure::feature(format!("bad sort order {order}"))),
    };
    Ok((by, order))
}

/// Flags that exclude each other.
fn check(flags: &Flags, arguments: usize) -> Result<(), Failure> {
    let (prefix, from_key) = (flags.is("prefix"), flags.is("from-key"));
    if arguments == 0 {
        return Err(Failure::arguments(
            "get command needs one argument as key and an optional argument as range_end",
        ));
    }
    if prefix && from_key {
        return Err(Failure::arguments(
            "`--prefix` and `--from-key` cannot be set at the same time, choose one",
        ));
    }
    if flags.is("keys-only") && flags.is("count-only") {
        return Err(Failure::arguments(
            "`--keys-only` and `--count-only` cannot be set at the same time, choose one",
        ));
    }
    is_serializable(&flags.text("consistency"))?;
    if arguments > 1 && (prefix || from_key) {
        return Err(Failure::arguments(TOO_MANY));
    }
    Ok(())
}

/// What `get` and `del` say of a second key beside a flag that stands for one.
pub(super) const TOO_MANY: &str =
    "too many arguments, only accept one argument when `--prefix` or `--from-key` is set";

/// Key and end of the range that arguments and flags name.
pub(super) fn key_and_end(flags: &Flags, key: Vec<u8>, end: Option<Vec<u8>>) -> (Vec<u8>, Vec<u8>) {
    let first = if key.is_empty() { vec![0] } else { key.clone() };
    if flags.is("from-key") {
        (first, OPEN_END.to_vec())
    } else if flags.is("prefix") {
        (first, prefix_end(&key))
    } else {
        (key, end.unwrap_or_default())
    }
}

/// The smallest and largest of a revision; zero stands for none.
fn bounds(flags: &Flags, kind: &str, name: &str) -> Result<(i64, i64), Failure> {
    let min = flags.number(&format!("min-{kind}-rev"));
    let max = flags.number(&format!("max-{kind}-rev"));
    if max > 0 && min > max {
        let message = format!("getMin{name}Rev(={min}) > getMax{name}Rev(={max})");
        return Err(Failure::feature(message));
    }
    Ok((min.max(0), max.max(0)))
}

/// The request that arguments and flags ask for.
pub(super) fn request(flags: &Flags) -> Result<RangeRequest, Failure> {
    let mut arguments = flags.byte_strings();
    check(flags, arguments.len())?;
    let (sort_target, sort_order) = order(flags)?;
    let (min_create, max_create) = bounds(flags, "create", "Create")?;
    let (min_mod, max_mod) = bounds(flags, "mod", "Mod")?;
    arguments.truncate(2);
    let end = if arguments.len() > 1 {
        arguments.pop()
    } else {
        None
    };
    let (key, range_end) = key_and_end(flags, arguments.pop().unwrap_or_default(), end);
    Ok(RangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        limit: flags.number("limit"),
        revision: flags.number("rev").max(0),
        sort_order: sort_order.into(),
        sort_target: sort_target.into(),
        serializable: is_serializable(&flags.text("consistency"))?,
        keys_only: flags.is("keys-only"),
        count_only: flags.is("count-only"),
        min_mod_revision: min_mod,
        max_mod_revision: max_mod,
        min_create_revision: min_create,
        max_create_revision: max_create,
    })
}

/// Reads by `RangeStream`, piece by piece.
async fn stream(
    session: &Session,
    request: RangeRequest,
    mut take: impl FnMut(RangeResponse) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let told = |error| failure(Exit::Error, &error);
    let mut chunks = session.client.range_chunks(request).await.map_err(told)?;
    while let Some(chunk) = chunks.next().await {
        take(chunk.map_err(told)?)?;
    }
    Ok(())
}

/// Adds a piece to an answer: what it says replaces what others said, and its pairs come after theirs.
fn add(whole: &mut RangeResponse, chunk: RangeResponse) {
    if chunk.header.is_some() {
        whole.header = chunk.header;
    }
    whole.kvs.extend(chunk.kvs);
    whole.more |= chunk.more;
    if chunk.count != 0 {
        whole.count = chunk.count;
    }
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let flags = &context.flags;
    let request = request(flags)?;
    let mut session = context.session().await?;
    let format = session.globals.format;
    if flags.is("stream") && format == Format::Simple && !flags.is("count-only") {
        session.style.value_only = flags.is("print-value-only");
        return stream(&session, request, |chunk| session.show(&chunk)).await;
    }
    let response = if flags.is("stream") {
        let mut whole = RangeResponse::default();
        stream(&session, request, |chunk| {
            add(&mut whole, chunk);
            Ok(())
        })
        .await?;
        whole
    } else {
        session.call(request).await?
    };
    if flags.is("count-only") && format != Format::Fields {
        return Err(Failure::arguments(
            "--count-only is only for `--write-out=fields`",
        ));
    }
    if flags.is("print-value-only") {
        if format != Format::Simple {
            return Err(Failure::arguments(
                "print-value-only is only for `--write-out=simple`",
            ));
        }
        session.style.value_only = true;
    }
    session.show(&response)
}
