//! What the log and a member cost, on the disk that the target directory is on, or where
//! `LOG_BENCH_DIR` says (in memory, what is left is all but the disk).
//!
//! `bare` is the disk alone; `append` is one write and one sync for so many 256-byte entries;
//! `commit` is the same through a member of a cluster of one: proposed, written, synced, committed,
//! handed out. `apart` is `commit` with the log in a thread of its own, as a member with peers has
//! it: the difference is what a sole voter is spared. Throughput is in entries. `start` is how long
//! a new data directory takes.
#![expect(clippy::expect_used, reason = "a benchmark stops at the first error")]

use std::sync::{Arc, mpsc};
use std::thread;

use bytes::Bytes;
use cairn_consensus::disk::{Disk, RealDisk};
use cairn_consensus::wal::{LogWrite, Marker, Wal};
use cairn_consensus::{
    ClusterId, CompactionPolicy, EntryKind, FirstMember, Identity, LogIndex, LogWork, MemberId,
    Node, NodeOptions, Term,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use raft::eraftpb;
use tempfile::TempDir;

const ENTRY_BYTES: usize = 256;
const COMPACT_EVERY: u64 = 10_000;
const BATCHES: [u64; 4] = [1, 10, 100, 1000];

fn directory() -> TempDir {
    let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../target");
    let place = std::env::var("LOG_BENCH_DIR").unwrap_or_else(|_| target.to_owned());
    tempfile::Builder::new()
        .prefix("log-bench-")
        .tempdir_in(place)
        .expect("a directory")
}

fn disk(directory: &TempDir) -> Arc<dyn Disk> {
    Arc::new(RealDisk::open(directory.path()).expect("a disk"))
}

fn identity() -> Identity {
    let member = MemberId::from_wire(1).expect("a member");
    Identity {
        cluster: ClusterId::new(1),
        member,
    }
}

/// The least that a batch can cost: one write and one sync of so many bytes in a zero-filled file.
fn bare(criterion: &mut Criterion) {
    const FILE_BYTES: u64 = 64 << 20;
    let mut group = criterion.benchmark_group("bare");
    for batch in BATCHES {
        let directory = directory();
        let disk = disk(&directory);
        let file = disk.create("file", FILE_BYTES).expect("a file");
        file.write_at(&vec![0; 64 << 20], 0).expect("zeros");
        file.sync().expect("a sync");
        let bytes = vec![7; usize::try_from(batch).expect("a batch") * (ENTRY_BYTES + 22) + 16];
        let mut offset = 0;
        group.throughput(Throughput::Elements(batch));
        group.bench_function(batch.to_string(), |bencher| {
            bencher.iter(|| {
                if offset + bytes.len() as u64 > FILE_BYTES {
                    offset = 0;
                }
                file.write_at(&bytes, offset).expect("a write");
                file.sync().expect("a sync");
                offset += bytes.len() as u64;
            });
        });
    }
    group.finish();
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    for batch in BATCHES {
        let directory = directory();
        let options = NodeOptions::default().wal;
        let first = LogWrite::default();
        let mut wal = Wal::create(disk(&directory), identity(), options, &first).expect("a log");
        let mut next = 1;
        group.throughput(Throughput::Elements(batch));
        group.bench_function(batch.to_string(), |bencher| {
            bencher.iter(|| {
                let entry = |index| eraftpb::Entry {
                    index,
                    term: 1,
                    data: Bytes::from_static(&[7; ENTRY_BYTES]),
                    ..eraftpb::Entry::default()
                };
                let entries = (next..next + batch).map(entry).collect();
                wal.append(&LogWrite {
                    entries,
                    ..LogWrite::default()
                })
                .expect("a write");
                next += batch;
                if next / COMPACT_EVERY > (next - batch) / COMPACT_EVERY {
                    compact(&mut wal, next - 1);
                }
            });
        });
    }
    group.finish();
}

/// As a member does it, so that segments are recycled.
fn compact(wal: &mut Wal, last: u64) {
    let index = LogIndex::new(last).back(5000);
    let marker = Marker {
        index,
        term: Term::new(1),
        ..Marker::default()
    };
    wal.append(&LogWrite {
        marker: Some(marker),
        ..LogWrite::default()
    })
    .expect("a marker");
    wal.release().expect("a release");
}

fn start(directory: &TempDir) -> Node {
    let options = NodeOptions::default();
    let first = FirstMember {
        id: identity().member,
        context: Bytes::new(),
    };
    Node::create(disk(directory), identity(), &[first], &options).expect("a new log");
    let mut node = Node::open(disk(directory), &options).expect("a member");
    while node.driver().has_work() {
        work(&mut node);
    }
    node
}

/// One round of work, with the policy of compaction that a server has; how many entries it committed.
fn work(node: &mut Node) -> u64 {
    let output = node.work().expect("output");
    for entry in &output.committed {
        if let EntryKind::ConfChange(change) = &entry.kind {
            node.driver()
                .apply_conf_change(entry.index, change)
                .expect("a first member");
        }
    }
    if let Some(last) = output.committed.last() {
        let policy = CompactionPolicy::default();
        if policy.is_due(node.driver().extent(), last.index) {
            node.driver().compact(last.index, &policy);
        }
    }
    output.committed.len() as u64
}

fn commit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit");
    for batch in BATCHES {
        let directory = directory();
        let mut node = start(&directory);
        group.throughput(Throughput::Elements(batch));
        group.bench_function(batch.to_string(), |bencher| {
            bencher.iter(|| {
                for _ in 0..batch {
                    let data = Bytes::from_static(&[7; ENTRY_BYTES]);
                    node.driver().propose(data).expect("a proposal");
                }
                assert_eq!(work(&mut node), batch);
            });
        });
    }
    group.finish();
}

fn apart(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("apart");
    for batch in BATCHES {
        let directory = directory();
        let mut node = start(&directory);
        let log = node.log();
        let driver = node.driver();
        let (works, queue) = mpsc::channel::<LogWork>();
        let (dones, done) = mpsc::channel();
        let perform = move || {
            while let Ok(mut work) = queue.recv() {
                queue.try_iter().for_each(|later| work.join(later));
                if dones.send(log.perform(work).expect("a write")).is_err() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("log".to_owned());
        let thread = thread.spawn(perform).expect("a thread");
        group.throughput(Throughput::Elements(batch));
        group.bench_function(batch.to_string(), |bencher| {
            bencher.iter(|| {
                for _ in 0..batch {
                    let data = Bytes::from_static(&[7; ENTRY_BYTES]);
                    driver.propose(data).expect("a proposal");
                }
                let mut committed = 0;
                while committed < batch {
                    let (output, work) = driver.begin().expect("output");
                    committed += output.committed.len() as u64;
                    if !work.is_empty() {
                        works.send(work).expect("a log");
                        driver.done(done.recv().expect("a log"));
                    }
                }
                let policy = CompactionPolicy::default();
                let last = driver.status().handed_out;
                if policy.is_due(driver.extent(), last) {
                    driver.compact(last, &policy);
                }
            });
        });
        drop(works);
        thread.join().expect("a log");
    }
    group.finish();
}

fn first_start(criterion: &mut Criterion) {
    criterion.bench_function("start", |bencher| {
        bencher.iter_batched(
            directory,
            |directory| {
                let node = start(&directory);
                (directory, node)
            },
            BatchSize::PerIteration,
        );
    });
}

criterion_group!(benches, bare, append, commit, apart, first_start);
criterion_main!(benches);
