//! Prints what watches tell as etcdctl does, and runs programs.

use std::ffi::OsString;

use cairn_client::{Event, KeyValue, LeaseId, Revision, Update};
use cairn_proto::etcdserverpb::{ResponseHeader, StatusRequest, WatchResponse};
use cairn_proto::mvccpb;
use cairn_proto::mvccpb::event::EventType;
use tokio::sync::OnceCell;

use crate::failure::Failure;
use crate::golang::quote;
use crate::program;
use crate::session::{Session, put_out, status_words, tell, words};
use crate::show::WatchShown;

/// What a server says of a watch that begins before what is compacted.
const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";

/// Prints updates of watches.
#[derive(Debug)]
pub(super) struct Printer {
    session: Session,
    /// What answers of the server begin with. Watches may change servers, so it is asked for
    /// once, when something is to be printed.
    header: OnceCell<ResponseHeader>,
}

impl Printer {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            header: OnceCell::new(),
        }
    }

    async fn header(&self) -> ResponseHeader {
        let ask = || async {
            let status = self.session.call(StatusRequest {}).await;
            status
                .ok()
                .and_then(|status| status.header)
                .unwrap_or_default()
        };
        *self.header.get_or_init(ask).await
    }

    /// What was told, as the message that told it.
    async fn response(&self, update: Update) -> WatchResponse {
        let header = self.header().await;
        let at = |revision: Revision| {
            Some(ResponseHeader {
                // A server that catches up says which revision it is at, not that of the event.
                revision: revision.get().max(header.revision),
                ..header
            })
        };
        match update {
            Update::Events { events, revision } => WatchResponse {
                header: at(revision),
                events: events.into_iter().map(event_to_wire).collect(),
                ..WatchResponse::default()
            },
            Update::Progress(revision) => WatchResponse {
                header: at(revision),
                ..WatchResponse::default()
            },
            Update::Compacted(revision) => WatchResponse {
                header: Some(ResponseHeader {
                    revision: 0,
                    ..header
                }),
                compact_revision: revision.get(),
                canceled: true,
                ..WatchResponse::default()
            },
        }
    }

    /// Prints an update, and runs the program for each event.
    pub(super) async fn print(&self, update: Update, program: &[OsString]) -> Result<(), Failure> {
        match update {
            Update::Progress(revision) => {
                put_out(format!("progress notify: {revision}\n").as_bytes())?;
            }
            Update::Compacted(_) => tell(format_args!("watch was canceled ({COMPACTED})")),
            Update::Events { .. } => {}
        }
        let shown = WatchShown(self.response(update).await);
        self.session.show(&shown)?;
        if program.is_empty() {
            return Ok(());
        }
        let revision = shown.0.header.map_or(0, |header| header.revision);
        for event in &shown.0.events {
            run(program, event, revision).await?;
        }
        Ok(())
    }

    /// Says that a watch was ended.
    pub(super) fn end(&self, error: &cairn_client::Error) -> Result<(), Failure> {
        let reason = cancel_reason(error);
        tell(format_args!("watch was canceled ({reason})"));
        self.session.show(&WatchShown(WatchResponse {
            canceled: true,
            cancel_reason: reason,
            ..WatchResponse::default()
        }))
    }
}

/// Why a watch ended; servers say it as a status.
pub(super) fn cancel_reason(error: &cairn_client::Error) -> String {
    error.server().map_or_else(|| words(error), status_words)
}

fn pair_to_wire(kv: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        value: kv.value,
        create_revision: kv.create_revision.get(),
        mod_revision: kv.mod_revision.get(),
        version: i64::try_from(kv.version).unwrap_or(i64::MAX),
        lease: kv.lease.map_or(0, LeaseId::get),
    }
}

fn event_to_wire(event: Event) -> mvccpb::Event {
    match event {
        Event::Put { kv, previous } => mvccpb::Event {
            r#type: EventType::Put.into(),
            kv: Some(pair_to_wire(kv)),
            prev_kv: previous.map(pair_to_wire),
        },
        Event::Delete {
            key,
            revision,
            previous,
        } => mvccpb::Event {
            r#type: EventType::Delete.into(),
            kv: Some(mvccpb::KeyValue {
                key,
                mod_revision: revision.get(),
                ..mvccpb::KeyValue::default()
            }),
            prev_kv: previous.map(pair_to_wire),
        },
    }
}

async fn run(words: &[OsString], event: &mvccpb::Event, revision: i64) -> Result<(), Failure> {
    let kind = match event.r#type() {
        EventType::Put => "PUT",
        EventType::Delete => "DELETE",
    };
    let kv = event.kv.clone().unwrap_or_default();
    let variables = [
        ("ETCD_WATCH_REVISION", revision.to_string()),
        ("ETCD_WATCH_EVENT_TYPE", quote(kind.as_bytes())),
        ("ETCD_WATCH_KEY", quote(&kv.key)),
        ("ETCD_WATCH_VALUE", quote(&kv.value)),
    ];
    let ran = program::run(words, &variables).await;
    ran.map_err(|error| {
        let quoted: Vec<String> = words
            .iter()
            .map(|it| quote(it.as_encoded_bytes()))
            .collect();
        let program = quoted.join(" ");
        tell(format_args!("command [{program}] error ({error})"));
        Failure::told()
    })
}
