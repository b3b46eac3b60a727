//! Damage to a killed server's log: never taken for a torn write, wherever it is.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::harness::{Place, Server};
use crate::requests::*;

const PAGE_BYTES: usize = 4096;

/// The place of a killed server whose log alone has 300 acknowledged puts, and its only segment.
async fn killed() -> (Place, PathBuf) {
    let server = Server::start(&["--backend-batch-interval=1h"]);
    let mut kv = server.clients().await.kv;
    for number in 0..300 {
        let value = format!("value {number}");
        kv.put(put(&format!("key {number:03}"), &value))
            .await
            .unwrap();
    }
    let place = server.kill();
    let segment = place.data_dir().join("member/wal/0000000000000001.wal");
    (place, segment)
}

/// Where the page begins that holds the last byte which is not zero.
fn last_page(bytes: &[u8]) -> usize {
    let last = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    last - last % PAGE_BYTES
}

fn overwrite(segment: &PathBuf, offset: usize, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(segment).unwrap();
    file.write_all_at(bytes, offset as u64).unwrap();
}

/// Bytes that look like nothing.
fn noise(seed: usize, length: usize) -> Vec<u8> {
    let byte = |n: usize| u8::try_from((n * 31 + seed * 17) % 251).unwrap();
    (0..length).map(byte).collect()
}

#[tokio::test]
async fn a_harmed_sector_or_page_of_the_log_refuses_the_start_and_changes_nothing() {
    let (place, segment) = killed().await;
    let before = std::fs::read(&segment).unwrap();
    let end = last_page(&before);
    assert!(end > 300 * PAGE_BYTES, "a page for each put");
    for trial in 0..10 {
        let unit = if trial % 2 == 0 { 512 } else { PAGE_BYTES };
        // From the segment's header to the page before the last.
        let offset = (end - PAGE_BYTES) * trial / 9 / PAGE_BYTES * PAGE_BYTES;
        let harm = if trial % 3 == 0 {
            vec![0; unit]
        } else {
            noise(trial, unit)
        };
        overwrite(&segment, offset, &harm);
        let harmed = std::fs::read(&segment).unwrap();
        let refusal = place.refusal();
        assert_eq!(refusal.status.code(), Some(1));
        let line = refusal.log.lines().last().unwrap();
        for part in [segment.to_str().unwrap(), "at offset ", "add it again"] {
            assert!(
                line.contains(part),
                "{unit} bytes at {offset}: {part}: {line}"
            );
        }
        assert!(
            std::fs::read(&segment).unwrap() == harmed,
            "nothing is changed"
        );
        overwrite(&segment, offset, &before[offset..offset + unit]);
    }
    let server = place.start();
    let mut kv = server.clients().await.kv;
    assert_eq!(kv.range(all()).await.unwrap().into_inner().count, 300);
}

#[tokio::test]
async fn damage_to_the_very_last_write_is_cut_and_told() {
    let (place, segment) = killed().await;
    let before = std::fs::read(&segment).unwrap();
    let offset = last_page(&before);
    overwrite(&segment, offset, &noise(1, 512));
    let server = place.start();
    let mut kv = server.clients().await.kv;
    assert!(kv.range(all()).await.unwrap().into_inner().count >= 299);
    let log = server.log();
    let told = log
        .lines()
        .find(|line| line.contains("cut off the end of the write-ahead log"));
    let told: serde_json::Value = serde_json::from_str(told.unwrap()).unwrap();
    assert_eq!(told["offset"], offset);
    assert!(told["bytes"].as_u64().unwrap() > 0, "{told}");
    assert!(
        told["file"]
            .as_str()
            .unwrap()
            .ends_with("0000000000000001.wal")
    );
}

#[tokio::test]
async fn a_damaged_row_of_the_database_refuses_the_start_with_table_and_key() {
    let server = Server::start(&["--backend-batch-interval=1ms"]);
    let mut kv = server.clients().await.kv;
    kv.put(put("before", "")).await.unwrap();
    kv.put(put("harmed", "a value to be found")).await.unwrap();
    let place = server.stop();
    let database = place.data_dir().join("member/snap/db");
    let bytes = std::fs::read(&database).unwrap();
    let words = b"a value to be found";
    let places = bytes.windows(words.len()).enumerate();
    let places: Vec<_> = places
        .filter(|(_, it)| it == words)
        .map(|it| it.0)
        .collect();
    assert!(!places.is_empty());
    for offset in places {
        overwrite(&database, offset, b"another value, same");
    }
    let refusal = place.refusal();
    assert_eq!(refusal.status.code(), Some(1));
    let line = refusal.log.lines().last().unwrap();
    for part in [
        database.to_str().unwrap(),
        "table key",
        "the checksum is wrong",
        "add it again",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}
