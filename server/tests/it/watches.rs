//! Watches over the wire: where they start, what they send, and the protocol around them.

use std::time::Duration;

use cairn_proto::etcdserverpb::watch_create_request::FilterType;
use cairn_proto::etcdserverpb::watch_request::RequestUnion;
use cairn_proto::etcdserverpb::{
    CompactionRequest, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest,
    WatchResponse,
};
use cairn_proto::mvccpb::Event;
use cairn_proto::mvccpb::event::EventType;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

use crate::harness::{Clients, PATIENCE, Server};
use crate::requests::*;

/// Long enough for an answer that should not come to have come.
const SILENCE: Duration = Duration::from_millis(300);

/// One watch stream of a client.
pub(crate) struct Watching {
    requests: mpsc::Sender<WatchRequest>,
    answers: Answers,
}

/// A server may keep a stream's headers back until it has something to say.
enum Answers {
    Opening(JoinHandle<Streaming<WatchResponse>>),
    Open(Box<Streaming<WatchResponse>>),
}

impl Watching {
    pub(crate) async fn open(clients: &Clients) -> Self {
        Self::open_with(clients, &[]).await
    }

    /// A stream whose call has this metadata.
    pub(crate) async fn open_with(
        clients: &Clients,
        metadata: &[(&'static str, &'static str)],
    ) -> Self {
        let (requests, receiver) = mpsc::channel(64);
        let mut client = clients.watch.clone();
        let mut call = Request::new(ReceiverStream::new(receiver));
        for (name, value) in metadata {
            call.metadata_mut().insert(*name, value.parse().unwrap());
        }
        let opening = async move {
            let answers = client.watch(call).await;
            answers.unwrap().into_inner()
        };
        Self {
            requests,
            answers: Answers::Opening(tokio::spawn(opening)),
        }
    }

    pub(crate) async fn ask(&self, request: RequestUnion) {
        let request = WatchRequest {
            request_union: Some(request),
        };
        self.requests.send(request).await.unwrap();
    }

    pub(crate) async fn create(&self, request: WatchCreateRequest) {
        self.ask(RequestUnion::CreateRequest(request)).await;
    }

    async fn cancel(&self, watch_id: i64) {
        let request = WatchCancelRequest { watch_id };
        self.ask(RequestUnion::CancelRequest(request)).await;
    }

    async fn request_progress(&self) {
        let request = WatchProgressRequest {};
        self.ask(RequestUnion::ProgressRequest(request)).await;
    }

    pub(crate) async fn next(&mut self) -> WatchResponse {
        let answer = tokio::time::timeout(PATIENCE, self.message()).await;
        answer.expect("an answer in time")
    }

    async fn message(&mut self) -> WatchResponse {
        let answer = self.received().await.expect("no error");
        answer.expect("the stream goes on")
    }

    /// The error that ends the stream, after which there is nothing.
    pub(crate) async fn ended(&mut self) -> Status {
        let ended = tokio::time::timeout(PATIENCE, self.received()).await;
        ended.expect("an end in time").expect_err("an error")
    }

    async fn received(&mut self) -> Result<Option<WatchResponse>, Status> {
        if let Answers::Opening(answers) = &mut self.answers {
            self.answers = Answers::Open(Box::new(answers.await.unwrap()));
        }
        let Answers::Open(answers) = &mut self.answers else {
            panic!("it has just been opened");
        };
        answers.message().await
    }

    async fn told(&mut self) -> String {
        told(&self.next().await)
    }

    /// Asserts the next answers, in order.
    #[track_caller]
    fn tells(&mut self, expected: &[&str], case: &str) -> impl Future<Output = ()> {
        let case = format!("{case} ({})", std::panic::Location::caller());
        async move {
            for (number, &expected) in expected.iter().enumerate() {
                assert_eq!(self.told().await, expected, "answer {number}, {case}");
            }
        }
    }

    async fn is_silent(&mut self, case: &str) {
        if let Ok(answer) = tokio::time::timeout(SILENCE, self.message()).await {
            panic!("{case}: {}", told(&answer));
        }
    }
}

/// A response as a short text.
fn told(response: &WatchResponse) -> String {
    let revision = response.header.as_ref().unwrap().revision;
    let mut text = format!("{}@{revision}", response.watch_id);
    if response.created {
        text.push_str(" created");
    }
    if response.canceled {
        text.push_str(" canceled");
    }
    if response.compact_revision != 0 {
        text.push_str(&format!(" compacted {}", response.compact_revision));
    }
    if !response.cancel_reason.is_empty() {
        text.push_str(&format!(" because {}", response.cancel_reason));
    }
    if response.fragment {
        text.push_str(" part");
    }
    for event in &response.events {
        text.push_str(&format!(" {}", told_event(event)));
    }
    text
}

/// `+key=value:mod.version` for a put, `-key:mod` for a delete, then `<previous` if it is there.
fn told_event(event: &Event) -> String {
    let kv = event.kv.as_ref().unwrap();
    let (key, value) = (
        String::from_utf8_lossy(&kv.key),
        String::from_utf8_lossy(&kv.value),
    );
    let mut text = if event.r#type == i32::from(EventType::Put) {
        format!("+{key}={value}:{}.{}", kv.mod_revision, kv.version)
    } else {
        assert_eq!((kv.create_revision, kv.version, kv.lease), (0, 0, 0));
        format!("-{key}{value}:{}", kv.mod_revision)
    };
    if let Some(previous) = &event.prev_kv {
        let value = String::from_utf8_lossy(&previous.value);
        text.push_str(&format!("<{value}:{}", previous.mod_revision));
    }
    text
}

fn watch(key: &str, end: &str) -> WatchCreateRequest {
    WatchCreateRequest {
        key: key.to_owned().into(),
        range_end: end.to_owned().into(),
        ..WatchCreateRequest::default()
    }
}

fn watch_from(key: &str, end: &str, start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        start_revision,
        ..watch(key, end)
    }
}

/// `a` at 2, 3; `b` at 4; a transaction on both at 5; `a` deleted at 6; `c` at 7. Compacted at 4.
async fn history(clients: &Clients) {
    let mut kv = clients.kv.clone();
    for (key, value) in [("a", "1"), ("a", "2"), ("b", "3")] {
        kv.put(put(key, value)).await.unwrap();
    }
    kv.txn(then(vec![put_op("b", "4"), put_op("a", "5")]))
        .await
        .unwrap();
    kv.delete_range(delete("a", "")).await.unwrap();
    kv.put(put("c", "7")).await.unwrap();
    kv.compact(CompactionRequest {
        revision: 4,
        physical: true,
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn watches_start_where_etcds_do() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    history(&clients).await;
    let cases = [
        ("now", watch("a", ""), vec!["0@7 created"]),
        (
            "the next revision",
            watch_from("\0", "\0", 8),
            vec!["0@7 created"],
        ),
        (
            "the current revision",
            watch_from("\0", "\0", 7),
            vec!["0@7 created", "0@7 +c=7:7.1"],
        ),
        (
            "the past, each revision in order",
            watch_from("a", "c", 5),
            vec!["0@7 created", "0@7 +b=4:5.2 +a=5:5.3 -a:6"],
        ),
        (
            "the compacted revision",
            watch_from("b", "", 4),
            vec!["0@7 created", "0@7 +b=3:4.1 +b=4:5.2"],
        ),
        (
            "below the compacted revision",
            watch_from("a", "", 3),
            vec!["0@7 created", "0@0 canceled compacted 4"],
        ),
        (
            "a negative revision",
            watch_from("a", "", -1),
            vec![
                "-1@7 created canceled because etcdserver: mvcc: required revision has been compacted",
            ],
        ),
    ];
    for (case, request, expected) in cases {
        let mut stream = Watching::open(&clients).await;
        stream.create(request).await;
        stream.tells(&expected, case).await;
        stream.is_silent(case).await;
    }
}

#[tokio::test]
async fn nothing_below_a_future_start_is_sent() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    let mut kv = clients.kv.clone();
    let mut stream = Watching::open(&clients).await;
    stream.create(watch_from("a", "", 4)).await;
    stream.tells(&["0@1 created"], "a start to come").await;
    for value in ["2", "3", "4", "5"] {
        kv.put(put("a", value)).await.unwrap();
    }
    stream
        .tells(&["0@4 +a=4:4.3", "0@5 +a=5:5.4"], "its revision has come")
        .await;
}

#[tokio::test]
async fn ids_count_up_and_a_refused_watch_disturbs_no_other() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    let mut stream = Watching::open(&clients).await;
    let with_id = |watch_id| WatchCreateRequest {
        watch_id,
        ..watch("a", "")
    };
    stream.create(watch("a", "")).await;
    stream.create(with_id(1)).await;
    stream.create(watch("a", "")).await;
    stream.create(with_id(9)).await;
    stream.create(with_id(9)).await;
    stream.create(watch("b", "a")).await;
    stream.create(watch("b", "b")).await;
    stream.create(watch("", "")).await;
    let expected = [
        "0@1 created",
        "1@1 created",
        "2@1 created",
        "9@1 created",
        "-1@1 created canceled because mvcc: duplicate watch ID provided on the WatchStream",
        "-1@1 created canceled because mvcc: watcher range is empty",
        "-1@1 created canceled because mvcc: watcher range is empty",
        // An empty key is the first of all.
        "3@1 created",
    ];
    stream.tells(&expected, "creates").await;
    stream.cancel(1).await;
    stream.cancel(77).await;
    stream.cancel(2).await;
    stream
        .tells(&["1@1 canceled", "2@1 canceled"], "cancels")
        .await;
    clients.kv.clone().put(put("a", "x")).await.unwrap();
    let mut told = [stream.told().await, stream.told().await];
    told.sort();
    assert_eq!(told, ["0@2 +a=x:2.1", "9@2 +a=x:2.1"]);
    stream.is_silent("after its events").await;
}

#[tokio::test]
async fn events_carry_previous_values_and_pass_filters_as_asked() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    let mut kv = clients.kv.clone();
    let request = |prev_kv, filters: &[FilterType]| WatchCreateRequest {
        prev_kv,
        filters: filters.iter().map(|&it| it.into()).collect(),
        ..watch_from("a", "c", 2)
    };
    let mut early = Watching::open(&clients).await;
    early.create(request(true, &[])).await;
    early.tells(&["0@1 created"], "before").await;
    kv.put(put("a", "1")).await.unwrap();
    kv.txn(then(vec![
        put_op("b", "2"),
        put_op("a", "3"),
        put_op("x", ""),
    ]))
    .await
    .unwrap();
    kv.delete_range(delete("a", "z")).await.unwrap();
    let one_by_one = [
        "0@2 +a=1:2.1",
        "0@3 +b=2:3.1 +a=3:3.2<1:2",
        "0@4 -a:4<3:3 -b:4<2:3",
    ];
    early.tells(&one_by_one, "as it happens").await;
    use FilterType::{Nodelete, Noput};
    let cases = [
        (
            true,
            vec![],
            "+a=1:2.1 +b=2:3.1 +a=3:3.2<1:2 -a:4<3:3 -b:4<2:3",
        ),
        (false, vec![], "+a=1:2.1 +b=2:3.1 +a=3:3.2 -a:4 -b:4"),
        (false, vec![Noput], "-a:4 -b:4"),
        (true, vec![Nodelete], "+a=1:2.1 +b=2:3.1 +a=3:3.2<1:2"),
    ];
    for (prev_kv, filters, expected) in cases {
        let mut stream = Watching::open(&clients).await;
        stream.create(request(prev_kv, &filters)).await;
        let expected = format!("0@4 {expected}");
        stream
            .tells(&["0@4 created", &expected], &format!("{filters:?}"))
            .await;
    }
    let mut nothing = Watching::open(&clients).await;
    nothing.create(request(false, &[Noput, Nodelete])).await;
    nothing.tells(&["0@4 created"], "both filters").await;
    nothing.is_silent("both filters").await;
}

#[tokio::test]
async fn a_progress_request_is_answered_once_when_all_watches_are_there() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    let mut kv = clients.kv.clone();
    kv.put(put("a", "1")).await.unwrap();
    let mut stream = Watching::open(&clients).await;
    stream.create(watch("a", "")).await;
    stream.create(watch_from("a", "z", 2)).await;
    stream
        .tells(
            &["0@2 created", "1@2 created", "1@2 +a=1:2.1"],
            "two watches",
        )
        .await;
    stream.request_progress().await;
    stream.tells(&["-1@2"], "synced").await;
    kv.put(put("x", "other key")).await.unwrap();
    stream
        .tells(&["1@3 +x=other key:3.1"], "the second only")
        .await;
    stream.request_progress().await;
    stream.tells(&["-1@3"], "synced").await;
    stream.is_silent("one answer for each request").await;
    stream.create(watch_from("a", "", 9)).await;
    stream.tells(&["2@3 created"], "a start to come").await;
    stream.request_progress().await;
    stream.is_silent("one of the watches has not started").await;
}

/// Kubernetes lists from its cache once a progress answer has reached the revision of the latest write;
/// one that is older than what was acknowledged makes it wait for the next.
#[tokio::test]
async fn progress_is_never_older_than_what_was_acknowledged_before_it_was_asked_for() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    let mut kv = clients.kv.clone();
    let mut stream = Watching::open(&clients).await;
    stream.create(watch("watched", "")).await;
    assert!(stream.next().await.created);
    for number in 0..300 {
        let written = kv.put(put("other", &number.to_string())).await.unwrap();
        let written = written.into_inner().header.unwrap().revision;
        stream.request_progress().await;
        let answer = stream.next().await;
        assert!(answer.events.is_empty());
        assert!(answer.header.unwrap().revision >= written, "put {number}");
    }
}

#[tokio::test]
async fn periodic_progress_comes_to_those_who_asked_and_saw_nothing() {
    let server = Server::start(&["--watch-progress-notify-interval=1s"]);
    let clients = server.clients().await;
    let mut stream = Watching::open(&clients).await;
    stream.create(watch("a", "")).await;
    stream
        .create(WatchCreateRequest {
            progress_notify: true,
            ..watch("b", "")
        })
        .await;
    stream
        .tells(&["0@1 created", "1@1 created"], "creates")
        .await;
    clients.kv.clone().put(put("c", "")).await.unwrap();
    let first = stream.next().await;
    assert_eq!((first.watch_id, first.events.len()), (1, 0));
    let later = loop {
        let response = stream.next().await;
        assert_eq!((response.watch_id, response.events.len()), (1, 0));
        if response.header.unwrap().revision == 2 {
            break response;
        }
    };
    assert!(!later.created && !later.canceled);
}

#[tokio::test]
async fn a_large_revision_is_cut_into_fragments_for_those_who_take_them() {
    let server = Server::start(&["--max-request-bytes=20000"]);
    let clients = server.clients().await;
    let mut kv = clients.kv.clone();
    let value = "v".repeat(15_000);
    for value in [&value, &"w".repeat(15_000)] {
        for batch in 0..50 {
            kv.put(put(&format!("k{batch:02}"), value)).await.unwrap();
        }
    }
    // One revision with 50 events of 15 kB each, the previous values.
    let mut whole = Watching::open(&clients).await;
    let mut parts = Watching::open(&clients).await;
    let request = |fragment| WatchCreateRequest {
        prev_kv: true,
        fragment,
        ..watch("k", "l")
    };
    whole.create(request(false)).await;
    parts.create(request(true)).await;
    whole.tells(&["0@101 created"], "whole").await;
    parts.tells(&["0@101 created"], "parts").await;
    kv.delete_range(delete("k", "l")).await.unwrap();
    let expected = whole.next().await;
    assert_eq!(expected.events.len(), 50);
    assert!(!expected.fragment);
    let mut events = Vec::new();
    let mut responses = 0;
    loop {
        let part = parts.next().await;
        responses += 1;
        events.extend(part.events);
        assert_eq!(part.header.unwrap().revision, 102);
        if !part.fragment {
            break;
        }
    }
    assert!(responses > 1, "more than the message limit in one response");
    assert_eq!(events, expected.events);
}

#[tokio::test]
async fn a_slow_watcher_misses_nothing_and_delays_nobody() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    // A connection of its own, whose flow control fills up.
    let slow_clients = server.clients().await;
    let mut slow = Watching::open(&slow_clients).await;
    let mut fast = Watching::open(&clients).await;
    slow.create(watch("k", "l")).await;
    fast.create(watch("k", "l")).await;
    slow.tells(&["0@1 created"], "slow").await;
    fast.tells(&["0@1 created"], "fast").await;
    let value = "v".repeat(100_000);
    let mut kv = clients.kv.clone();
    for number in 0..300 {
        kv.put(put("k", &value)).await.unwrap();
        let response = fast.next().await;
        let kv = response.events[0].kv.as_ref().unwrap();
        assert_eq!((response.events.len(), kv.version), (1, number + 1));
    }
    let mut versions = 0;
    while versions < 300 {
        for event in slow.next().await.events {
            versions += 1;
            assert_eq!(event.kv.unwrap().version, versions);
        }
    }
}
