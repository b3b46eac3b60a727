//! `watch`: tells changes as they happen.

mod events;
mod interactive;
mod tail;

use std::ffi::OsString;

use cairn_client::{Keys, Revision, Watch};
use clap::{Arg, Command};
use tokio::sync::Notify;

use self::events::{Printer, cancel_reason};
use crate::cli::{Environment, Flags, arguments, leaf, number, switch};
use crate::failure::{Exit, Failure};
use crate::session::{Context, Session, tell};

pub(crate) fn definition() -> Command {
    let program = Arg::new("program")
        .last(true)
        .num_args(0..)
        .value_parser(clap::builder::OsStringValueParser::new())
        .hide(true);
    let watch = leaf("watch", "Tells changes of a key or a range of keys").args([
        switch(
            "interactive",
            "Take lines `watch …` and `progress` from standard input",
        )
        .short('i'),
        switch("prefix", "All keys that begin so"),
        number(
            "rev",
            "Tell all changes from this revision on; 0: those to come",
        ),
        switch("prev-kv", "Also show the pairs before the changes"),
        switch(
            "progress-notify",
            "Also tell now and then up to where all is told",
        ),
        switch(
            "tail",
            "A line a change, with what changed in JSON values (beyond etcdctl)",
        ),
    ]);
    arguments(watch, "[key] [range_end] [-- program …]")
        .arg(program)
        .after_help(
            "Behind `--` stands a program that is run for each change, with ETCD_WATCH_KEY, \
         ETCD_WATCH_VALUE,\nETCD_WATCH_EVENT_TYPE and ETCD_WATCH_REVISION set. Without a key, \
         ETCDCTL_WATCH_KEY and\nETCDCTL_WATCH_RANGE_END say what to watch.\n\n\
         Examples:\n  watch app/ --prefix --tail\n  watch app/config -- ./reload.sh",
        )
}

/// A watch that is asked for.
#[derive(Debug)]
struct Wanted {
    keys: Keys,
    from: Option<Revision>,
    prev_kv: bool,
    progress: bool,
    /// What to run for each change; nothing if it is empty.
    program: Vec<OsString>,
}

const BAD_NUMBER: &str = "bad number of arguments";

impl Wanted {
    /// Reads flags and arguments; the environment stands in for arguments.
    fn read(
        flags: &Flags,
        has_separator: bool,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let mut arguments = flags.byte_strings();
        let program = flags.program();
        if has_separator && program.is_empty() {
            let message = format!("{BAD_NUMBER} (found separator --, but no commands)");
            return Err(Failure::arguments(message));
        }
        let (key, end) = (environment.watch_key(), environment.watch_range_end());
        if !key.is_empty() {
            if !arguments.is_empty() {
                let message = format!("{BAD_NUMBER} (found conflicting environment key)");
                return Err(Failure::arguments(message));
            }
            arguments.push(key.as_bytes().to_vec());
            if !end.is_empty() {
                arguments.push(end.as_bytes().to_vec());
            }
        }
        Ok(Self {
            keys: keys(arguments, flags.is("prefix"))?,
            from: Revision::new(flags.number("rev").max(0)),
            prev_kv: flags.is("prev-kv"),
            progress: flags.is("progress-notify"),
            program,
        })
    }

    /// Asks for the watch, again as long as nobody is there.
    async fn begin(&self, session: &Session) -> Result<Watch, cairn_client::Error> {
        loop {
            let mut request = session.client.watch(self.keys.clone());
            if let Some(from) = self.from {
                request = request.from(from);
            }
            if self.prev_kv {
                request = request.previous();
            }
            if self.progress {
                request = request.progress();
            }
            match request.await {
                Err(cairn_client::Error::Unavailable { .. }) => {}
                begun => return begun,
            }
        }
    }
}

fn keys(arguments: Vec<Vec<u8>>, is_prefix: bool) -> Result<Keys, Failure> {
    let two = arguments.len() == 2;
    let mut arguments = arguments.into_iter();
    match (arguments.next(), arguments.next()) {
        (None, _) => Err(Failure::arguments(BAD_NUMBER)),
        (Some(_), Some(_)) if two && is_prefix => Err(Failure::arguments(
            "`range_end` and `--prefix` are mutually exclusive",
        )),
        (Some(key), _) if is_prefix => Ok(Keys::prefix(key)),
        (Some(key), Some(end)) if two => Ok(Keys::range(key, end)),
        (Some(key), _) => Ok(Keys::one(key)),
    }
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let environment = &context.environment;
    let end = environment.watch_range_end();
    if environment.watch_key().is_empty() && !end.is_empty() {
        let end = crate::golang::quote(end.as_bytes());
        return Err(Failure::arguments(format!(
            "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={end}"
        )));
    }
    if context.flags.is("interactive") {
        return interactive::run(context).await;
    }
    let has_separator = context.line.iter().any(|word| word == "--");
    let mut wanted = Wanted::read(&context.flags, has_separator, environment)?;
    let session = context.session().await?;
    if context.flags.is("tail") {
        wanted.prev_kv = true;
        let watch = wanted.begin(&session).await;
        return tail::follow(watch.map_err(|error| cancelled(&error))?).await;
    }
    let printer = Printer::new(session.clone());
    follow(&session, &wanted, &printer, &Notify::new()).await?;
    let message = "watch is canceled by the server";
    Err(Failure::new(Exit::Interrupted, message))
}

fn cancelled(error: &cairn_client::Error) -> Failure {
    tell(format_args!(
        "watch was canceled ({})",
        cancel_reason(error)
    ));
    Failure::new(Exit::Interrupted, "watch is canceled by the server")
}

/// Prints what a watch tells, up to its end; asks for progress whenever told to.
async fn follow(
    session: &Session,
    wanted: &Wanted,
    printer: &Printer,
    progress: &Notify,
) -> Result<(), Failure> {
    let mut watch = match wanted.begin(session).await {
        Ok(watch) => watch,
        Err(error) => return printer.end(&error),
    };
    loop {
        tokio::select! {
            update = watch.next() => match update {
                Some(Ok(update)) => printer.print(update, &wanted.program).await?,
                Some(Err(error)) => printer.end(&error)?,
                None => return Ok(()),
            },
            () = progress.notified() => watch.request_progress(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[&str], variables: &[(&str, &str)]) -> Result<Wanted, String> {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment = Environment::new(variables);
        let matches = definition()
            .no_binary_name(true)
            .try_get_matches_from(line)
            .unwrap();
        let has_separator = line.contains(&"--");
        let wanted = Wanted::read(&Flags::new(matches), has_separator, &environment);
        wanted.map_err(|failure| failure.message)
    }

    const KEY: &[(&str, &str)] = &[("ETCDCTL_WATCH_KEY", "foo")];
    const RANGE: &[(&str, &str)] = &[
        ("ETCDCTL_WATCH_KEY", "foo"),
        ("ETCDCTL_WATCH_RANGE_END", "fop"),
    ];

    #[test]
    fn what_follows_two_dashes_is_a_program() {
        let wanted = read(
            &["foo", "bar", "--rev", "1", "--", "echo", "--rev", "2"],
            &[],
        )
        .unwrap();
        assert_eq!(wanted.keys, Keys::range("foo", "bar"));
        assert_eq!(wanted.from, Revision::new(1));
        assert_eq!(wanted.program, ["echo", "--rev", "2"]);
        let wanted = read(&["--rev=3", "foo", "--prefix"], &[]).unwrap();
        assert_eq!(wanted.keys, Keys::prefix("foo"));
        assert!(wanted.program.is_empty());
    }

    #[test]
    fn the_environment_stands_in_for_a_key() {
        assert_eq!(read(&[], KEY).unwrap().keys, Keys::one("foo"));
        let wanted = read(&["--", "echo", "hello"], RANGE).unwrap();
        assert_eq!(wanted.keys, Keys::range("foo", "fop"));
        assert_eq!(wanted.program, ["echo", "hello"]);
        let conflict = "bad number of arguments (found conflicting environment key)";
        for line in [&["foo"][..], &["foo", "--", "echo", "1"]] {
            assert_eq!(read(line, KEY).unwrap_err(), conflict);
        }
    }

    #[test]
    fn arguments_that_make_no_sense_are_refused_in_etcdctl_s_words() {
        assert_eq!(read(&[], &[]).unwrap_err(), BAD_NUMBER);
        assert_eq!(read(&["--rev", "1"], &[]).unwrap_err(), BAD_NUMBER);
        assert_eq!(
            read(&["foo", "--"], &[]).unwrap_err(),
            "bad number of arguments (found separator --, but no commands)"
        );
        assert_eq!(
            read(&["foo", "fop", "--prefix"], &[]).unwrap_err(),
            "`range_end` and `--prefix` are mutually exclusive"
        );
    }
}
