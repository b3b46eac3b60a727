//! One place where the log goes: a bounded queue and the thread that empties it.
//!
//! A push never waits. When the queue is full, in lines or in bytes, the line is dropped and
//! counted; once the output takes lines again it is told how many are missing.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::line::Line;
use super::timestamp::{format_time, now};
use crate::settings::LogFormat;

/// About a minute of a busy log: enough for a hiccup, small beside the rest of the server.
const LINES_MAX: usize = 8192;
/// The same in memory, for long lines.
const BYTES_MAX: usize = 4 << 20;
/// Lines that arrive together are written together, up to this size.
const WRITE_BYTES_MAX: usize = 64 << 10;

enum Item {
    Line(Bytes),
    /// Answered when everything before it is written.
    Flush(Sender<()>),
}

#[derive(Default)]
struct Counts {
    queued_bytes: AtomicUsize,
    lines_lost: AtomicU64,
}

/// The sending side of an output.
pub(super) struct Output {
    queue: Sender<Item>,
    counts: Arc<Counts>,
}

impl Output {
    /// Starts the thread that writes to `sink`; it ends when the last `Output` is dropped.
    pub(super) fn start(sink: Box<dyn Write + Send>, format: LogFormat) -> io::Result<Self> {
        let (queue, items) = bounded(LINES_MAX);
        let counts = Arc::new(Counts::default());
        let writer = Writer {
            sink,
            format,
            items,
            counts: Arc::clone(&counts),
            lost_reported: 0,
            buffer: Vec::new(),
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.run())?;
        Ok(Self { queue, counts })
    }

    /// Queues a line, or drops it.
    pub(super) fn push(&self, line: Bytes) {
        let bytes = line.len();
        let queued = self.counts.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if queued + bytes > BYTES_MAX || self.queue.try_send(Item::Line(line)).is_err() {
            self.counts.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.counts.lines_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn lines_lost(&self) -> u64 {
        self.counts.lines_lost.load(Ordering::Relaxed)
    }

    /// Waits until the queue as it is now is written, at most `time_max`.
    pub(super) fn flush(&self, time_max: Duration) {
        let (done, written) = bounded(1);
        if self.queue.send_timeout(Item::Flush(done), time_max).is_ok() {
            // An output that is stuck loses its last lines; the process does not wait for it.
            let _ = written.recv_timeout(time_max);
        }
    }
}

struct Writer {
    sink: Box<dyn Write + Send>,
    format: LogFormat,
    items: Receiver<Item>,
    counts: Arc<Counts>,
    lost_reported: u64,
    buffer: Vec<u8>,
}

impl Writer {
    fn run(mut self) {
        while let Ok(item) = self.items.recv() {
            let mut waiting = Some(item);
            let mut flushed = Vec::new();
            while let Some(item) = waiting {
                match item {
                    Item::Line(line) => self.take(&line),
                    Item::Flush(done) => flushed.push(done),
                }
                waiting = if self.buffer.len() < WRITE_BYTES_MAX {
                    self.items.try_recv().ok()
                } else {
                    None
                };
            }
            self.report_lost();
            // There is nowhere to say that the log cannot be written.
            let _ = self.sink.write_all(&self.buffer);
            self.buffer.clear();
            for done in flushed {
                let _ = done.send(());
            }
        }
    }

    fn take(&mut self, line: &Bytes) {
        self.counts
            .queued_bytes
            .fetch_sub(line.len(), Ordering::Relaxed);
        self.buffer.extend_from_slice(line);
    }

    fn report_lost(&mut self) {
        let lost = self.counts.lines_lost.load(Ordering::Relaxed);
        if lost == self.lost_reported {
            return;
        }
        let fields = format!(",\"lines-lost\":{}", lost - self.lost_reported);
        let line = Line {
            level: "warn",
            time: &format_time(now()),
            caller: concat!("logging/output.rs:", line!()),
            message: "log lines were lost because their output was stuck",
            fields: fields.as_bytes(),
        };
        self.buffer.extend_from_slice(&line.format(self.format));
        self.lost_reported = lost;
    }
}
