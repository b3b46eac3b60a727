//! Clients that send frames without end.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, HEADERS, PING, RST_STREAM, SETTINGS, call_block, end_of,
    frame, opening,
};
use super::port::Port;
use super::tally::Tally;

/// Connections at once.
const CLIENTS: usize = 4;
/// Frames that are written at once.
const BATCH: u32 = 100;
/// Between two connections of a client.
const PAUSE: Duration = Duration::from_millis(5);
const PUT: &str = "/etcdserverpb.KV/Put";

pub(super) async fn rapid_reset(port: Port, tally: Tally) {
    let block = call_block(PUT);
    let calls = move |batch: u32| {
        let streams = (batch * BATCH..(batch + 1) * BATCH).map(|number| 2 * number + 1);
        let frames = streams.map(|stream| {
            let reset = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
            [frame(HEADERS, END_HEADERS, stream, &block), reset].concat()
        });
        frames.collect::<Vec<_>>().concat()
    };
    flood(port, tally, calls).await;
}

pub(super) async fn settings(port: Port, tally: Tally) {
    // The initial window, now this and now that.
    let change = |number: u32| [[0, 4].as_slice(), &(65_535 + number % 2).to_be_bytes()].concat();
    let frames = move |_| {
        let frames = (0..BATCH).map(|number| frame(SETTINGS, 0, 0, &change(number)));
        frames.collect::<Vec<_>>().concat()
    };
    flood(port, tally, frames).await;
}

pub(super) async fn pings(port: Port, tally: Tally) {
    let ping = frame(PING, 0, 0, &[0; 8]).repeat(usize::try_from(BATCH).unwrap_or(1));
    flood(port, tally, move |_| ping.clone()).await;
}

pub(super) async fn continuations(port: Port, tally: Tally) {
    let more = frame(CONTINUATION, 0, 1, b"\x00\x01x\x01y");
    let frames = move |batch| {
        let first = match batch {
            0 => frame(HEADERS, 0, 1, &call_block(PUT)),
            _ => Vec::new(),
        };
        let more = more.repeat(usize::try_from(BATCH).unwrap_or(1));
        [first, more].concat()
    };
    flood(port, tally, frames).await;
}

/// A header of 3 KB goes into the table once, and is named a thousand times.
pub(super) async fn large_headers(port: Port, tally: Tally) {
    let mut block = call_block(PUT);
    // A literal with indexing and a new name; its value's length is 127 + 2873.
    block.extend(b"\x40\x01x\x7f\xb9\x16");
    block.extend([b'y'; 3000]);
    block.extend([0xbe; 1000]);
    let calls = move |batch: u32| {
        let stream = 2 * batch + 1;
        let headers = frame(HEADERS, END_HEADERS, stream, &block);
        [headers, frame(DATA, 1, stream, &[])].concat()
    };
    flood(port, tally, calls).await;
}

/// Some clients that send what `frames` makes, each batch with its number, and come back when they
/// are sent away.
async fn flood(port: Port, tally: Tally, frames: impl Fn(u32) -> Vec<u8>) {
    let client = || async {
        loop {
            once(&port, &tally, &frames).await;
            tokio::time::sleep(PAUSE).await;
        }
    };
    let clients: [_; CLIENTS] = std::array::from_fn(|_| client());
    let [a, b, c, d] = clients;
    tokio::join!(a, b, c, d);
}

async fn once(port: &Port, tally: &Tally, frames: &impl Fn(u32) -> Vec<u8>) {
    let Ok(socket) = port.connect().await else {
        return tally.add("not connected");
    };
    let (mut reader, mut writer) = tokio::io::split(socket);
    let sending = async {
        let mut is_sent = writer.write_all(&opening()).await.is_ok();
        for batch in 0_u32.. {
            if !is_sent {
                break;
            }
            is_sent = writer.write_all(&frames(batch)).await.is_ok();
        }
        // Why it ended, the reader knows.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        end = end_of(&mut reader) => tally.add(end),
        () = sending => {}
    }
}
