//! `top`: what a cluster does, as it does it.

mod activity;
mod members;

use std::io::Write as _;
use std::time::{Duration, Instant};

use cairn_client::{Keys, Revision, Update};
use clap::Command;

use self::activity::Activity;
use self::members::Members;
use crate::cli::{arguments, duration, leaf, number, switch, text};
use crate::failure::{Exit, Failure};
use crate::pages::Pages;
use crate::session::{Context, Session, failure, put_out, stdout_is_terminal};

/// Clears the screen and goes to its corner.
const CLEAR: &[u8] = b"\x1b[2J\x1b[H";

pub(crate) fn definition() -> Command {
    let top = leaf(
        "top",
        "Live: members, rates, lag, and the largest and busiest prefixes",
    )
    .args([
        duration("interval", "2s", "How often to look"),
        number("count", "How many times to look; 0: until it is ended"),
        number("depth", "How many levels of keys make a prefix")
            .default_value("2")
            .hide_default_value(false),
        number("limit", "How many prefixes to show")
            .default_value("10")
            .hide_default_value(false),
        text("separator", "The byte that parts keys")
            .default_value("/")
            .hide_default_value(false),
        switch(
            "no-sizes",
            "Do not read all keys once at the start to know their sizes",
        ),
    ]);
    arguments(top, "").after_help(
        "All members of the cluster are asked. Ctrl-C ends it; where stdout is no terminal, one look \
         follows\nthe other.\n\nExample:\n  top --interval 1s",
    )
}

/// What the flags say.
struct Settings {
    interval: Duration,
    count: u64,
    limit: usize,
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let flags = &context.flags;
    let separator = flags.text("separator");
    let [separator] = separator.as_bytes() else {
        return Err(Failure::arguments("--separator is one byte"));
    };
    let interval = flags.duration("interval");
    if interval.is_zero() {
        return Err(Failure::arguments("--interval must be longer than nothing"));
    }
    let settings = Settings {
        interval,
        count: flags.number("count").max(0).unsigned_abs(),
        limit: usize::try_from(flags.number("limit").max(0)).unwrap_or(usize::MAX),
    };
    let depth = usize::try_from(flags.number("depth").max(1)).unwrap_or(usize::MAX);
    let session = context.session().await?;
    let mut activity = Activity::new(*separator, depth);
    let revision = if flags.is("no-sizes") {
        None
    } else {
        Some(read_sizes(&session, &mut activity).await?)
    };
    look(&session, &mut activity, revision, &settings).await
}

/// Reads all keys; returns the revision at which they are so.
async fn read_sizes(session: &Session, activity: &mut Activity) -> Result<i64, Failure> {
    let mut pages = Pages::of_prefix(b"", 0);
    while let Some(pairs) = pages.next(session).await? {
        for kv in pairs {
            activity.weigh(&kv.key, (kv.key.len() + kv.value.len()) as u64);
        }
    }
    activity.has_sizes = true;
    Ok(pages.revision)
}

/// Watches all keys and asks the members, again and again.
async fn look(
    session: &Session,
    activity: &mut Activity,
    revision: Option<i64>,
    settings: &Settings,
) -> Result<(), Failure> {
    let mut request = session.client.watch(Keys::all()).previous();
    if let Some(from) = revision.and_then(Revision::new) {
        request = request.from(from.next());
    }
    let told = |error| failure(Exit::Interrupted, &error);
    let mut watch = request.await.map_err(told)?;
    let mut members = Members::default();
    let mut clock = tokio::time::interval(settings.interval);
    let mut looks = 0;
    let mut last = Instant::now();
    loop {
        tokio::select! {
            _ = clock.tick() => {
                members.ask(session).await?;
                let now = Instant::now();
                show(&members, activity, now - last, settings)?;
                activity.begin_again();
                last = now;
                looks += 1;
                if looks == settings.count {
                    return Ok(());
                }
            }
            update = watch.next() => match update {
                Some(Ok(Update::Events { events, .. })) => {
                    events.iter().for_each(|event| activity.count(event));
                }
                Some(Ok(Update::Progress(_))) => {}
                Some(Ok(Update::Compacted(_))) | None => {
                    return Err(Failure::error("the watch fell behind a compaction: begin again"));
                }
                Some(Err(error)) => return Err(told(error)),
            },
        }
    }
}

fn show(
    members: &Members,
    activity: &Activity,
    span: Duration,
    settings: &Settings,
) -> Result<(), Failure> {
    let mut screen = Vec::new();
    if stdout_is_terminal() {
        screen.extend_from_slice(CLEAR);
    }
    write!(screen, "{}", members.table(span))?;
    writeln!(screen, "{}", activity.tables(span, settings.limit))?;
    put_out(&screen)
}
