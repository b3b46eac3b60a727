//! Ending: quickly, with the signal's exit code, and with everything acknowledged kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cairn_proto::etcdserverpb::{CompactionRequest, WatchCreateRequest};
use rustix::process::Signal;

use crate::harness::{Server, until};
use crate::requests::*;
use crate::watches::Watching;

/// etcd's members are gone within this after a SIGTERM; half a second on top for a busy machine.
const STOP_MAX: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_server_asked_to_stop_under_load_ends_soon_and_keeps_what_it_acknowledged() {
    let server = Server::start(&[]);
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut writers = Vec::new();
    for writer in 0..8 {
        let mut kv = server.clients().await.kv;
        let acknowledged = Arc::clone(&acknowledged);
        writers.push(tokio::spawn(async move {
            let mut written = 0;
            loop {
                let request = put(&format!("w{writer}/{written:06}"), "x");
                if kv.put(request).await.is_err() {
                    return written;
                }
                written += 1;
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    // A watch that is told everything, and a large answer that nobody reads.
    let clients = server.clients().await;
    let mut stream = Watching::open(&clients).await;
    let request = WatchCreateRequest {
        key: "w".into(),
        range_end: "x".into(),
        ..WatchCreateRequest::default()
    };
    stream.create(request).await;
    assert!(stream.next().await.created);
    let mut kv = server.clients().await.kv;
    let value = "v".repeat(100_000);
    for n in 0..200 {
        kv.put(put(&format!("large{n}"), &value)).await.unwrap();
    }
    let mut unread = kv.range_stream(all()).await.unwrap().into_inner();
    unread.message().await.unwrap().unwrap();
    until("some load", || {
        let acknowledged = acknowledged.load(Ordering::Relaxed);
        async move { acknowledged > 200 }
    })
    .await;
    server.signal(Signal::TERM);
    let asked = Instant::now();
    let mut written = Vec::new();
    for writer in writers {
        written.push(writer.await.unwrap());
    }
    let (status, place) = server.ended();
    assert!(asked.elapsed() < STOP_MAX, "{:?}", asked.elapsed());
    assert_eq!(status.code(), Some(143));
    let server = place.start();
    let mut kv = server.clients().await.kv;
    for (writer, written) in written.into_iter().enumerate() {
        let request = range(&format!("w{writer}/"), &format!("w{writer}0"));
        let answer = kv.range(request).await.unwrap().into_inner();
        // The one under way when the server stopped may be there too.
        let kept = usize::try_from(answer.count).unwrap();
        assert!(
            kept == written || kept == written + 1,
            "{kept} of {written}"
        );
    }
}

#[test]
fn an_interrupt_ends_the_server_with_its_own_code() {
    let server = Server::start(&[]);
    server.signal(Signal::INT);
    let (status, _) = server.ended();
    assert_eq!(status.code(), Some(130));
}

#[test]
fn an_orderly_run_logs_no_error() {
    let server = Server::start(&[]);
    server.signal(Signal::TERM);
    let asked = Instant::now();
    until_closed(&server);
    assert!(asked.elapsed() < STOP_MAX, "{:?}", asked.elapsed());
    let log = server.log();
    assert!(!log.contains(r#""level":"error""#), "{log}");
    assert_eq!(log.matches("ready to serve client requests").count(), 1);
}

/// A compaction that rests for an hour between two batches must not be waited for.
#[tokio::test]
async fn a_server_stops_in_the_middle_of_a_paced_compaction() {
    let flags = [
        "--compaction-batch-limit=1",
        "--compaction-sleep-interval=1h",
    ];
    let server = Server::start(&flags);
    let mut kv = server.clients().await.kv;
    for n in 0..10 {
        kv.put(put("key", &n.to_string())).await.unwrap();
    }
    let request = CompactionRequest {
        revision: 5,
        physical: false,
    };
    kv.compact(request).await.unwrap();
    // The first batch is deleted by then, and the long rest has begun.
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.signal(Signal::TERM);
    let asked = Instant::now();
    server.ended();
    assert!(asked.elapsed() < STOP_MAX, "{:?}", asked.elapsed());
}

/// Waits until nobody listens any more.
fn until_closed(server: &Server) {
    let deadline = Instant::now() + STOP_MAX;
    while std::net::TcpStream::connect(server.address()).is_ok() {
        assert!(Instant::now() < deadline, "still listening");
        std::thread::sleep(Duration::from_millis(5));
    }
}
