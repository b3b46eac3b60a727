//! Ending: quickly, by the signal itself, and with everything acknowledged kept; and what a service
//! manager is told.

use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cairn_proto::etcdserverpb::{CompactionRequest, WatchCreateRequest};
use rustix::process::Signal;

use crate::harness::{PATIENCE, Place, Server, until};
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
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
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
fn an_interrupt_ends_the_server_as_a_signal() {
    let server = Server::start(&[]);
    server.signal(Signal::INT);
    let (status, _) = server.ended();
    assert_eq!(status.signal(), Some(Signal::INT.as_raw()));
}

/// etcd ends by SIGHUP; here it is how operators ask to load certificates again.
#[tokio::test]
async fn signals_that_mean_nothing_here_do_not_end_the_server() {
    let server = Server::start(&[]);
    for signal in [Signal::USR1, Signal::USR2, Signal::HUP] {
        server.signal(signal);
    }
    let mut kv = server.clients().await.kv;
    kv.put(put("k", "v")).await.unwrap();
}

/// What systemd is told: that it serves, how it stands, that it is well, and that it stops.
#[test]
fn a_service_manager_is_told_from_the_start_to_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let received = || {
        let mut bytes = [0; 200];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    let place = Place::new(&[]).with_variables(&[
        ("NOTIFY_SOCKET", socket.to_str().unwrap()),
        ("WATCHDOG_USEC", "200000"),
    ]);
    let server = place.start();
    let mut told = Vec::new();
    while !(told.contains(&"READY=1".to_owned()) && told.contains(&"WATCHDOG=1".to_owned())) {
        told.push(received());
    }
    assert_eq!(told[0], "STATUS=reading the member's data");
    server.signal(Signal::TERM);
    while told.last().unwrap() != "STOPPING=1\nSTATUS=stopping" {
        told.push(received());
    }
    assert!(
        told.iter()
            .any(|it| it.starts_with("STATUS=leading in term ")),
        "{told:?}"
    );
    assert_eq!(server.ended().0.signal(), Some(Signal::TERM.as_raw()));
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
