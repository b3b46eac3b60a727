//! Restarts after a `kill -9`, damaged logs, and starts that must be refused.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cairn_proto::etcdserverpb::{
    CompactionRequest, HashKvRequest, RangeRequest, WatchCreateRequest,
};

use crate::harness::{Clients, Place, Server};
use crate::requests::*;
use crate::watches::Watching;

/// Zeroes at least as long as this follow the used part of a log.
const GAP_BYTES: usize = 64 << 10;

async fn fill(clients: &Clients, batches: std::ops::Range<usize>) {
    let mut kv = clients.kv.clone();
    for batch in batches {
        let puts = (0..100).map(|n| put_op(&format!("k{batch:02}{n:02}"), &format!("value {n}")));
        kv.txn(then(puts.collect())).await.unwrap();
    }
}

/// In etcd's words; the directory stays as it is.
#[test]
fn a_data_directory_that_others_may_read_is_warned_of() {
    let place = Server::start(&[]).kill();
    let warned = |server: &Server| server.log().contains("check file permission");
    let server = place.start();
    assert!(!warned(&server), "{}", server.log());
    let place = server.kill();
    let open = Permissions::from_mode(0o755);
    std::fs::set_permissions(place.data_dir(), open).unwrap();
    let server = place.start();
    assert!(warned(&server), "{}", server.log());
    let told =
        "the permission is \\\"drwxr-xr-x\\\". The recommended permission is \\\"-rwx------\\\"";
    assert!(server.log().contains(told), "{}", server.log());
}

#[tokio::test]
async fn a_killed_server_comes_back_with_all_that_it_acknowledged() {
    let server = Server::start(&[]);
    let clients = server.clients().await;
    fill(&clients, 0..30).await;
    let mut kv = clients.kv.clone();
    kv.delete_range(delete("k05", "k06")).await.unwrap();
    kv.compact(CompactionRequest {
        revision: 20,
        physical: false,
    })
    .await
    .unwrap();
    fill(&clients, 20..25).await;
    let before = kv.range(all()).await.unwrap().into_inner();
    let hash_request = HashKvRequest { revision: 0 };
    let mut maintenance = clients.maintenance.clone();
    let hash_before = maintenance
        .hash_kv(hash_request)
        .await
        .unwrap()
        .into_inner();

    let mut place = server.kill();
    // Twice: what a recovery writes must be recoverable too.
    for _ in 0..2 {
        let server = place.start();
        let clients = server.clients().await;
        let mut kv = clients.kv.clone();
        let after = kv.range(all()).await.unwrap().into_inner();
        assert_eq!(after.kvs, before.kvs);
        assert_eq!((after.count, after.header.unwrap().revision), (2900, 37));
        let mut maintenance = clients.maintenance.clone();
        let hash = maintenance
            .hash_kv(hash_request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            (hash.hash, hash.compact_revision, hash.hash_revision),
            (hash_before.hash, 20, 37)
        );
        let old = RangeRequest {
            revision: 19,
            ..all()
        };
        refused(kv.range(old).await, COMPACTED, "compacted stays compacted");
        let mut stream = Watching::open(&clients).await;
        let request = WatchCreateRequest {
            key: "k05".into(),
            range_end: "k06".into(),
            start_revision: 30,
            ..WatchCreateRequest::default()
        };
        stream.create(request).await;
        assert!(stream.next().await.created);
        let events = stream.next().await.events;
        assert_eq!(events.len(), 100, "the delete, from history");
        assert!(
            events
                .iter()
                .all(|it| it.kv.as_ref().unwrap().mod_revision == 32)
        );
        place = server.kill();
    }
    let server = place.start();
    let mut kv = server.clients().await.kv;
    let answer = kv.put(put("a", "after")).await.unwrap().into_inner();
    assert_eq!(answer.header.unwrap().revision, 38);
}

/// The log's last segment and where its used part ends.
fn log_end(place: &Place) -> (PathBuf, usize) {
    let directory = place.data_dir().join("member/wal");
    let mut segments: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "wal"))
        .collect();
    segments.sort();
    let last = segments.pop().unwrap();
    let bytes = std::fs::read(&last).unwrap();
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    assert!(used + GAP_BYTES < bytes.len(), "the segment is not full");
    (last, used)
}

fn overwrite(path: &Path, offset: usize, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset as u64).unwrap();
}

/// A killed server's place, with 20 transactions of 100 keys in its log.
async fn killed() -> Place {
    let server = Server::start(&["--backend-batch-interval=1h"]);
    fill(&server.clients().await, 0..20).await;
    server.kill()
}

#[tokio::test]
async fn garbage_behind_the_log_is_a_torn_write_and_is_cut_off() {
    let place = killed().await;
    let (segment, used) = log_end(&place);
    let garbage: Vec<u8> = (0..3000_u32).map(|n| (n * 31 % 251) as u8).collect();
    overwrite(&segment, used.next_multiple_of(8), &garbage);
    let server = place.start();
    let mut kv = server.clients().await.kv;
    let answer = kv.range(all()).await.unwrap().into_inner();
    assert_eq!((answer.count, answer.header.unwrap().revision), (2000, 21));
    kv.put(put("a", "")).await.unwrap();
    let server = server.kill().start();
    let mut kv = server.clients().await.kv;
    assert_eq!(kv.range(all()).await.unwrap().into_inner().count, 2001);
}

#[tokio::test]
async fn a_last_write_that_is_torn_is_cut_off_and_nothing_before_it() {
    let place = killed().await;
    let (segment, used) = log_end(&place);
    overwrite(&segment, used - 50, &[0; 50]);
    let server = place.start();
    let mut kv = server.clients().await.kv;
    let answer = kv.range(all()).await.unwrap().into_inner();
    let revision = answer.header.unwrap().revision;
    assert_eq!(answer.count, (revision - 1) * 100, "whole transactions");
    assert!((20..=21).contains(&revision), "{revision}");
}

#[tokio::test]
async fn damage_in_the_middle_of_the_log_refuses_the_start_and_says_where() {
    let place = killed().await;
    let (segment, used) = log_end(&place);
    // Not far into a page, where a frame begins.
    overwrite(&segment, used / 2 / 4096 * 4096 + 20, b"damage");
    let refusal = place.refusal();
    assert_eq!(refusal.status.code(), Some(1));
    let name = segment.file_name().unwrap().to_str().unwrap();
    let line = refusal.log.lines().last().unwrap();
    assert!(line.contains(name) && line.contains("offset"), "{line}");
}

#[test]
fn a_data_directory_in_use_is_refused() {
    let server = Server::start(&[]);
    let data_dir = server.data_dir();
    let flag = format!("--data-dir={}", data_dir.display());
    let refusal = Place::new(&[&flag]).refusal();
    assert_eq!(refusal.status.code(), Some(1));
    assert!(
        refusal
            .log
            .contains("is in use by another server: stop that one, or choose another"),
        "{}",
        refusal.log
    );
}

#[test]
fn a_data_directory_that_is_a_file_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("taken");
    std::fs::write(&file, "not a directory").unwrap();
    let refusal = Place::new(&[&format!("--data-dir={}", file.display())]).refusal();
    assert_eq!(refusal.status.code(), Some(1));
    assert!(refusal.log.contains("taken"), "{}", refusal.log);
    assert!(refusal.log.contains("--data-dir"), "{}", refusal.log);
}

#[test]
fn a_port_in_use_is_refused_by_address() {
    let server = Server::start(&[]);
    let address = server.address();
    let flag = format!("--listen-client-urls=http://{address}");
    let refusal = Place::new(&[&flag]).refusal();
    assert_eq!(refusal.status.code(), Some(1));
    assert!(
        refusal.log.contains(&address.to_string()),
        "{}",
        refusal.log
    );
}
