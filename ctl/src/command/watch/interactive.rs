//! `watch -i`: watches that lines of standard input ask for.

use std::ffi::OsString;
use std::io::BufRead as _;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::events::Printer;
use super::{Wanted, definition, follow};
use crate::cli::{self, Flags, Refused};
use crate::failure::Failure;
use crate::session::{Context, Session, tell};
use crate::words::words;

/// Lines of standard input; a last one without an end does not count.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::task::spawn_blocking(move || {
        let mut input = std::io::stdin().lock();
        let mut line = Vec::new();
        while input
            .read_until(b'\n', &mut line)
            .is_ok_and(|_| line.ends_with(b"\n"))
        {
            let text = String::from_utf8_lossy(&line);
            let sent = sender.blocking_send(text.trim_end_matches('\n').to_owned());
            if sent.is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

/// What goes on while lines are read.
struct Watches {
    session: Session,
    printer: Arc<Printer>,
    running: JoinSet<Result<(), Failure>>,
    /// Wakes one of them, to ask the server for progress; the answer is for all.
    progress: Arc<Notify>,
}

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    let session = context.session().await?;
    let mut watches = Watches {
        printer: Arc::new(Printer::new(session.clone())),
        session,
        running: JoinSet::new(),
        progress: Arc::default(),
    };
    let mut lines = lines();
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(line) => watches.obey(&line, context).await?,
                None => {
                    let message = "error reading watch request line: EOF";
                    return Err(Failure::input(message));
                }
            },
            Some(Ok(ended)) = watches.running.join_next() => ended?,
        }
    }
}

impl Watches {
    async fn obey(&mut self, line: &str, context: &Context) -> Result<(), Failure> {
        let words = words(line)?;
        match words.first().map(Vec::as_slice) {
            None => tell(format_args!(
                "Invalid command: {line} (watch and progress supported)"
            )),
            Some(b"watch") => {
                if words.len() < 2 && context.environment.watch_key().is_empty() {
                    tell(format_args!(
                        "Invalid command {line} (command type or key is not provided)"
                    ));
                    return Ok(());
                }
                self.watch(words, context)?;
            }
            Some(b"progress") if !self.running.is_empty() => self.progress.notify_one(),
            Some(b"progress") => {}
            Some(_) => tell(format_args!("Invalid command {line} (only support watch)")),
        }
        Ok(())
    }

    fn watch(&mut self, words: Vec<Vec<u8>>, context: &Context) -> Result<(), Failure> {
        let words: Vec<OsString> = words.into_iter().skip(1).map(OsString::from_vec).collect();
        let definition = definition().no_binary_name(true);
        let matches = definition
            .clone()
            .try_get_matches_from(&words)
            .map_err(
                |error| match cli::explain(&error, &definition, "watch", &words) {
                    Refused::Failure(failure) => Failure::arguments(failure.message),
                    Refused::Help(_) => Failure::arguments("pflag: help requested"),
                },
            )?;
        let has_separator = words.iter().any(|word| word == "--");
        let environment = &context.environment;
        let mut wanted = Wanted::read(&Flags::new(matches), has_separator, environment)?;
        wanted.progress = true;
        let (session, printer) = (self.session.clone(), Arc::clone(&self.printer));
        let progress = Arc::clone(&self.progress);
        self.running
            .spawn(async move { follow(&session, &wanted, &printer, &progress).await });
        Ok(())
    }
}
