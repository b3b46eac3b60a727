//! Lines as an output receives them.

use std::sync::{Mutex, mpsc};
use std::time::Instant;

use super::*;
use crate::settings::LogFormat;

/// A sink whose bytes can be read back.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A sink that takes nothing until it is told to.
struct Stuck {
    release: mpsc::Receiver<()>,
    is_released: bool,
    memory: Memory,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_released {
            self.release.recv().unwrap();
            self.is_released = true;
        }
        self.memory.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const SOON: Duration = Duration::from_secs(10);

fn logged(format: LogFormat, level: LogLevel, log: impl FnOnce()) -> String {
    let memory = Memory::default();
    let output = Output::start(Box::new(memory.clone()), format).unwrap();
    let outputs: Arc<[Output]> = [output].into();
    let layer = EventLayer::new(format, Arc::clone(&outputs)).with_filter(levels(level));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
    outputs[0].flush(SOON);
    memory.text()
}

fn json(line: &str) -> serde_json::Map<String, serde_json::Value> {
    serde_json::from_str(line).unwrap()
}

#[test]
fn an_event_is_one_json_object_in_etcds_order() {
    let text = logged(LogFormat::Json, LogLevel::Info, || {
        let error = io::Error::other("disk on fire");
        tracing::warn!(
            member_id = %format_args!("{:x}", 0x8e9e_u32),
            took_ms = 12_u64,
            ratio = 0.5,
            is_leader = true,
            error = &error as &(dyn std::error::Error + 'static),
            "slow \"put\"\n{}", 7
        );
    });
    assert_eq!(text.lines().count(), 1);
    assert!(
        text.starts_with("{\"level\":\"warn\",\"ts\":\"20"),
        "{text}"
    );
    let order = [
        "\"level\":",
        ",\"ts\":",
        ",\"caller\":",
        ",\"msg\":",
        ",\"member-id\":",
    ];
    let places: Vec<usize> = order.iter().map(|name| text.find(name).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
    let line = json(&text);
    assert_eq!(line["msg"], "slow \"put\"\n7");
    assert_eq!(line["member-id"], "8e9e");
    assert_eq!(line["took-ms"], 12);
    assert_eq!(line["ratio"], 0.5);
    assert_eq!(line["is-leader"], true);
    assert_eq!(line["error"], "disk on fire");
    let caller = line["caller"].as_str().unwrap();
    let (file, number) = caller.split_once(':').unwrap();
    assert_eq!(file, "logging/tests.rs");
    assert!(number.parse::<u32>().unwrap() > 0);
    let time = line["ts"].as_str().unwrap();
    assert_eq!(
        (time.len(), &time[19..20], &time[26..]),
        (27, ".", "Z"),
        "{time}"
    );
}

#[test]
fn spliced_members_become_fields() {
    let text = logged(LogFormat::Json, LogLevel::Info, || {
        tracing::info!(
            fields_json = r#"{"name":"n","max":[1]}"#,
            "starting an etcd server"
        );
        tracing::info!(fields_json = "{}", "nothing");
    });
    let lines: Vec<_> = text.lines().map(json).collect();
    assert_eq!(lines[0]["name"], "n");
    assert_eq!(lines[0]["max"], serde_json::json!([1]));
    assert_eq!(lines[1].len(), 4);
}

#[test]
fn console_lines_are_columns() {
    let text = logged(LogFormat::Console, LogLevel::Info, || {
        tracing::info!(member_id = 1, "two\nlines");
        tracing::info!("plain");
    });
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0][1..2], ["info"]);
    assert_eq!(lines[0][3..], ["two\\nlines", "{\"member-id\":1}"]);
    assert_eq!(lines[1][3..], ["plain"]);
}

#[test]
fn events_below_the_level_and_chatter_of_libraries_are_left_out() {
    let log = || {
        tracing::debug!("d");
        tracing::info!("i");
        tracing::error!("e");
        tracing::info!(target: "hyper::proto", "chatter");
        tracing::warn!(target: "hyper::proto", "trouble");
    };
    let messages = |level| -> Vec<String> {
        let text = logged(LogFormat::Json, level, log);
        text.lines()
            .map(|line| json(line)["msg"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(messages(LogLevel::Debug), ["d", "i", "e", "trouble"]);
    assert_eq!(messages(LogLevel::Info), ["i", "e", "trouble"]);
    assert_eq!(messages(LogLevel::Error), ["e"]);
}

#[test]
fn a_long_value_is_cut() {
    let long = "é".repeat(20_000);
    let text = logged(LogFormat::Json, LogLevel::Info, || {
        tracing::info!(long, "x");
    });
    let line = json(&text);
    assert_eq!(line["long"].as_str().unwrap().len(), 16 * 1024);
}

/// A log sink that took nothing once froze a whole server (etcd issue 22214).
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test measures that nothing waits"
)]
fn a_stuck_output_loses_lines_but_holds_up_nobody() {
    const LINES: u64 = 50_000;
    let memory = Memory::default();
    let (release, gate) = mpsc::channel();
    let stuck = Stuck {
        release: gate,
        is_released: false,
        memory: memory.clone(),
    };
    let output = Output::start(Box::new(stuck), LogFormat::Json).unwrap();
    let begun = Instant::now();
    for _ in 0..LINES {
        output.push(bytes::Bytes::from_static(b"{\"msg\":\"line\"}\n"));
    }
    output.flush(Duration::from_millis(20));
    assert!(begun.elapsed() < SOON);
    let lost = output.lines_lost();
    assert!(lost > 0 && lost < LINES, "{lost}");
    release.send(()).unwrap();
    output.flush(SOON);
    let text = memory.text();
    let written = text
        .lines()
        .filter(|line| line.contains("\"line\""))
        .count();
    assert_eq!(written as u64 + lost, LINES);
    let reported: u64 = text
        .lines()
        .filter_map(|line| {
            json(line)
                .get("lines-lost")
                .and_then(serde_json::Value::as_u64)
        })
        .sum();
    assert_eq!(reported, lost);
}

#[test]
fn long_lines_are_bounded_by_bytes() {
    let (release, gate) = mpsc::channel();
    let stuck = Stuck {
        release: gate,
        is_released: false,
        memory: Memory::default(),
    };
    let output = Output::start(Box::new(stuck), LogFormat::Json).unwrap();
    let line = bytes::Bytes::from(vec![b'x'; 1 << 20]);
    for _ in 0..100 {
        output.push(line.clone());
    }
    assert!(output.lines_lost() >= 90, "{}", output.lines_lost());
    release.send(()).unwrap();
}

#[test]
fn files_are_appended_to_and_missing_folders_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.json");
    std::fs::write(&path, "old\n").unwrap();
    let mut sink = open(&LogOutput::File(path.clone())).unwrap();
    sink.write_all(b"new\n").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old\nnew\n");
    let missing = folder.path().join("no/such/folder/log");
    let Err(error) = open(&LogOutput::File(missing)) else {
        panic!("it opened")
    };
    assert!(error.to_string().contains("no/such/folder"), "{error}");
}
