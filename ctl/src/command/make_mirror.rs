//! `make-mirror`: copies keys to another cluster, and goes on copying their changes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cairn_client::{Client, Event, Keys, Revision, Update};
use cairn_proto::etcdserverpb::request_op::Request;
use cairn_proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RequestOp, TxnRequest};
use clap::Command;

use crate::cli::{Flags, Globals, arguments, leaf, number, switch, text};
use crate::failure::{Exit, Failure};
use crate::pages::Pages;
use crate::progress::{self, Unit};
use crate::session::{Context, Session, connect, failure, put_out, user_and_password};

/// How often stdout is told how much was copied.
const REPORT: Duration = Duration::from_secs(30);
/// Keys and values that go into one transaction at most.
const TXN_BYTES_MAX: usize = 512 * 1024;

pub(crate) fn definition() -> Command {
    let mirror = leaf(
        "make-mirror",
        "Copies keys to another cluster, and their changes as they happen",
    )
    .args([
        text("prefix", "Only keys that begin so"),
        number(
            "rev",
            "Copy only what changes from this revision on; 0: all keys first",
        ),
        number(
            "max-txn-ops",
            "The most changes in one transaction at the destination",
        )
        .default_value("128")
        .hide_default_value(false),
        text("dest-prefix", "What the prefix becomes at the destination"),
        switch("no-dest-prefix", "Leave the prefix out at the destination"),
        text(
            "dest-cert",
            "PEM file of the certificate to show to the destination",
        ),
        text("dest-key", "PEM file of that certificate's private key"),
        text(
            "dest-cacert",
            "PEM file of the authorities that the destination is checked by",
        ),
        switch(
            "dest-insecure-transport",
            "Speak plain text to a destination without a scheme",
        )
        .default_value("true"),
        text(
            "dest-user",
            "Whom to call the destination as: NAME or NAME:PASSWORD",
        ),
        text("dest-password", "The password of --dest-user"),
    ]);
    arguments(mirror, "<destination>")
        .after_help("Example:\n  make-mirror --prefix app/ --endpoints a:2379 b:2379")
}

/// What becomes of keys.
#[derive(Debug)]
struct Renaming {
    prefix: Vec<u8>,
    destination: Vec<u8>,
}

impl Renaming {
    fn read(flags: &Flags) -> Result<Self, Failure> {
        let (prefix, destination) = (flags.text("prefix"), flags.text("dest-prefix"));
        let without = flags.is("no-dest-prefix");
        if without && !destination.is_empty() {
            return Err(Failure::arguments(
                "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one",
            ));
        }
        let is_same = !without && destination.is_empty();
        let destination = if is_same { prefix.clone() } else { destination };
        Ok(Self {
            prefix: prefix.into_bytes(),
            destination: destination.into_bytes(),
        })
    }

    fn of(&self, key: &[u8]) -> Bytes {
        let rest = key.strip_prefix(self.prefix.as_slice()).unwrap_or(key);
        [self.destination.as_slice(), rest].concat().into()
    }
}

/// Changes on their way.
struct Mirror {
    destination: Client,
    renaming: Renaming,
    ops_max: usize,
    waiting: VecDeque<RequestOp>,
    waiting_bytes: usize,
    copied: Arc<AtomicU64>,
}

impl Mirror {
    fn put(&self, key: &[u8], value: Bytes) -> Request {
        Request::RequestPut(PutRequest {
            key: self.renaming.of(key),
            value,
            ..PutRequest::default()
        })
    }

    fn delete(&self, key: &[u8]) -> Request {
        Request::RequestDeleteRange(DeleteRangeRequest {
            key: self.renaming.of(key),
            ..DeleteRangeRequest::default()
        })
    }

    /// Adds a change of so many bytes; sends what waits if it gets too much.
    async fn add(&mut self, request: Request, bytes: usize) -> Result<(), Failure> {
        let is_full = self.waiting.len() >= self.ops_max
            || self.waiting_bytes + bytes > TXN_BYTES_MAX && !self.waiting.is_empty();
        if is_full {
            self.send().await?;
        }
        self.waiting_bytes += bytes;
        self.waiting.push_back(RequestOp {
            request: Some(request),
        });
        Ok(())
    }

    /// Does all that waits, as one.
    async fn send(&mut self) -> Result<(), Failure> {
        self.waiting_bytes = 0;
        if self.waiting.is_empty() {
            return Ok(());
        }
        let count = self.waiting.len() as u64;
        let request = TxnRequest {
            success: self.waiting.drain(..).collect(),
            ..TxnRequest::default()
        };
        let sent = self.destination.call(request).await;
        sent.map_err(|error| failure(Exit::Error, &error))?;
        self.copied.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }
}

async fn destination(
    context: &Context,
    globals: &Globals,
    endpoint: String,
) -> Result<Client, Failure> {
    let flags = &context.flags;
    let (user, password) = (flags.text("dest-user"), flags.text("dest-password"));
    let credentials = user_and_password(&user, &password, "Destination Password: ")?;
    let globals = Globals {
        cert: flags.text("dest-cert"),
        key: flags.text("dest-key"),
        cacert: flags.text("dest-cacert"),
        insecure_transport: flags.is("dest-insecure-transport"),
        skip_verify: false,
        discovery_srv: String::new(),
        // The token is the source's.
        jwt: String::new(),
        ..globals.clone()
    };
    connect(&globals, &[endpoint], credentials).await
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let words = context.flags.words();
    let [endpoint] = words.as_slice() else {
        return Err(Failure::arguments(
            "make-mirror takes one destination argument",
        ));
    };
    let globals = context.globals()?;
    let destination = destination(context, &globals, endpoint.clone()).await?;
    let session = context.session().await?;
    let ops_max = context.flags.number("max-txn-ops");
    let mut mirror = Mirror {
        destination,
        renaming: Renaming::read(&context.flags)?,
        ops_max: usize::try_from(ops_max).unwrap_or(0).max(1),
        waiting: VecDeque::new(),
        waiting_bytes: 0,
        copied: Arc::default(),
    };
    let reports = report(Arc::clone(&mirror.copied));
    let copying = copy(&session, &mut mirror, context.flags.number("rev").max(0));
    tokio::select! {
        ended = copying => ended,
        ended = reports => ended,
    }
}

async fn report(copied: Arc<AtomicU64>) -> Result<(), Failure> {
    loop {
        tokio::time::sleep(REPORT).await;
        let copied = copied.load(Ordering::Relaxed);
        put_out(format!("{copied}\n").as_bytes())?;
    }
}

/// Copies until something is in the way.
async fn copy(session: &Session, mirror: &mut Mirror, from: i64) -> Result<(), Failure> {
    let from = match from {
        0 => copy_all(session, mirror).await? + 1,
        from => from,
    };
    let keys = Keys::prefix(mirror.renaming.prefix.clone());
    let from = Revision::new(from).unwrap_or(Revision::FIRST);
    let told = |error| failure(Exit::Error, &error);
    let mut watch = session.client.watch(keys).from(from).await.map_err(told)?;
    while let Some(update) = watch.next().await {
        match update.map_err(told)? {
            Update::Events { events, .. } => copy_changes(mirror, events).await?,
            Update::Progress(_) => {}
            Update::Compacted(_) => {
                return Err(Failure::error(
                    "etcdserver: mvcc: required revision has been compacted",
                ));
            }
        }
    }
    Err(Failure::error("the watch ended"))
}

/// Copies all keys as they are at one revision, and returns it.
async fn copy_all(session: &Session, mirror: &mut Mirror) -> Result<i64, Failure> {
    let mut pages = Pages::of_prefix(&mirror.renaming.prefix, 0);
    let bar = progress::bar(Some(0), Unit::Keys, "Copying");
    while let Some(pairs) = pages.next(session).await? {
        bar.set_length(pages.total);
        for kv in pairs {
            let bytes = kv.key.len() + kv.value.len();
            let put = mirror.put(&kv.key, kv.value);
            mirror.add(put, bytes).await?;
            bar.inc(1);
        }
    }
    mirror.send().await?;
    bar.finish_and_clear();
    Ok(pages.revision)
}

/// Changes of one revision stay together as far as a transaction may be as large.
async fn copy_changes(mirror: &mut Mirror, events: Vec<Event>) -> Result<(), Failure> {
    let mut last = None;
    for event in events {
        if last.is_some_and(|last| last != event.revision()) {
            mirror.send().await?;
        }
        last = Some(event.revision());
        let (change, bytes) = match event {
            Event::Put { kv, .. } => {
                let bytes = kv.key.len() + kv.value.len();
                (mirror.put(&kv.key, kv.value), bytes)
            }
            Event::Delete { key, .. } => (mirror.delete(&key), key.len()),
        };
        mirror.add(change, bytes).await?;
    }
    mirror.send().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_kept_changed_or_left_out() {
        let renamed = |line: &[&str]| {
            let matches = definition()
                .no_binary_name(true)
                .try_get_matches_from(line)
                .unwrap();
            Renaming::read(&Flags::new(matches)).map(|renaming| renaming.of(b"a/a/b"))
        };
        assert_eq!(renamed(&["x", "--prefix=a/"]).unwrap(), "a/a/b");
        assert_eq!(
            renamed(&["x", "--prefix=a/", "--dest-prefix=c/"]).unwrap(),
            "c/a/b"
        );
        assert_eq!(
            renamed(&["x", "--prefix=a/", "--no-dest-prefix"]).unwrap(),
            "a/b"
        );
        assert_eq!(renamed(&["x", "--dest-prefix=c/"]).unwrap(), "c/a/a/b");
        assert!(renamed(&["x", "--no-dest-prefix", "--dest-prefix=c"]).is_err());
    }
}
