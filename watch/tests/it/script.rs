//! Random scripts: every step that the dispatcher, the store and the clients can take.

use bytes::Bytes;
use cairn_index::{KeyRange, Revision};
use cairn_watch::{
    CatchUp, Filters, Fragments, History, PrevKv, ProgressNotify, StreamId, WatchId, WatchRequest,
    WatchStart,
};
use proptest::prelude::*;

use crate::past::{Fault, Write};
use crate::world::{Queues, Verdict, World};

const KEYS: [&str; 5] = ["a", "b", "b1", "b2", "c"];
const STREAMS: u64 = 3;

/// A step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write(Writes),
    Feed,
    Install {
        ahead: Vec<Writes>,
        compact: Option<u64>,
    },
    Skip,
    Compact {
        back: u64,
    },
    Open {
        stream: u64,
        capacity: usize,
    },
    Close {
        stream: u64,
    },
    Watch {
        stream: u64,
        request: WatchRequest,
        start: Start,
    },
    Cancel {
        stream: u64,
        id: i64,
    },
    Read {
        stream: u64,
        replies: usize,
    },
    Sync,
    RetryVictims,
    RequestProgress {
        stream: u64,
    },
    Tick {
        stream: u64,
    },
}

/// What a transaction does to which key.
type Writes = Vec<(usize, Option<u32>)>;

/// A start, relative to the store's revision.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    Now,
    Back(u64),
    Ahead(u64),
}

/// A script.
pub(crate) fn script() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..120)
}

/// Runs a script in a new world, then lets it settle.
pub(crate) fn run(script: &[Step], fault: Fault, queues: Queues) -> Verdict {
    let mut world = World::new(fault, queues);
    for (stream, capacity) in (0..STREAMS).zip([1, 4, 8]) {
        world.open(StreamId::new(stream), capacity);
    }
    for step in script {
        take(&mut world, step)?;
        world.hub.check_invariants();
    }
    world.settle()
}

fn step() -> impl Strategy<Value = Step> {
    let stream = || 0..STREAMS;
    prop_oneof![
        12 => writes().prop_map(Step::Write),
        12 => Just(Step::Feed),
        1 => Just(Step::Skip),
        2 => (proptest::collection::vec(writes(), 0..4), proptest::option::of(0_u64..6))
            .prop_map(|(ahead, compact)| Step::Install { ahead, compact }),
        2 => (0_u64..12).prop_map(|back| Step::Compact { back }),
        1 => (stream(), 1_usize..6).prop_map(|(stream, capacity)| Step::Open { stream, capacity }),
        1 => stream().prop_map(|stream| Step::Close { stream }),
        6 => (stream(), request(), start())
            .prop_map(|(stream, request, start)| Step::Watch { stream, request, start }),
        2 => (stream(), 0_i64..6).prop_map(|(stream, id)| Step::Cancel { stream, id }),
        8 => (stream(), 1_usize..5).prop_map(|(stream, replies)| Step::Read { stream, replies }),
        6 => Just(Step::Sync),
        3 => Just(Step::RetryVictims),
        3 => stream().prop_map(|stream| Step::RequestProgress { stream }),
        3 => stream().prop_map(|stream| Step::Tick { stream }),
    ]
}

fn writes() -> impl Strategy<Value = Writes> {
    let write = (0..KEYS.len(), proptest::option::weighted(0.7, 0_u32..10));
    // A transaction puts a key once, so each key is in it once.
    proptest::collection::btree_map(0..KEYS.len(), write, 1..4).prop_map(|writes| {
        writes
            .into_iter()
            .map(|(key, (_, value))| (key, value))
            .collect()
    })
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![
        2 => Just(Start::Now),
        3 => (0_u64..15).prop_map(Start::Back),
        1 => (1_u64..6).prop_map(Start::Ahead),
    ]
}

fn request() -> impl Strategy<Value = WatchRequest> {
    let range = prop_oneof![
        (0..KEYS.len()).prop_map(|key| KeyRange::One(Bytes::from(KEYS[key]))),
        Just(KeyRange::prefix(Bytes::from("b"))),
        Just(KeyRange::From(Bytes::from("b1"))),
        Just(KeyRange::All),
        Just(KeyRange::Span {
            start: Bytes::from("c"),
            end: Bytes::from("a")
        }),
    ];
    let id = proptest::option::weighted(0.3, (0_i64..6).prop_map(WatchId::new));
    (range, id, any::<[bool; 4]>(), any::<u8>()).prop_map(|(range, id, flags, filters)| {
        WatchRequest {
            id,
            prev_kv: if flags[0] {
                PrevKv::Include
            } else {
                PrevKv::Omit
            },
            progress_notify: if flags[1] {
                ProgressNotify::Periodic
            } else {
                ProgressNotify::OnRequest
            },
            fragments: if flags[2] {
                Fragments::Accepted
            } else {
                Fragments::Refused
            },
            filters: Filters {
                no_put: filters % 8 == 1,
                no_delete: filters % 8 == 2,
            },
            ..WatchRequest::new(range)
        }
    })
}

fn take(world: &mut World, step: &Step) -> Verdict {
    match *step {
        Step::Write(ref writes) => world.write(&named(writes)),
        Step::Install { ref ahead, compact } => {
            let ahead: Vec<_> = ahead.iter().map(|writes| named(writes)).collect();
            let present = world.past.current().number() + ahead.len() as u64;
            let compact = compact.and_then(|back| Revision::new(present.saturating_sub(back)));
            world.install(&ahead, compact);
        }
        Step::Feed => drop(world.feed()),
        Step::Skip => world.skip(),
        Step::Compact { back } => world.past.compact(back_from(world.past.current(), back)),
        Step::Open { stream, capacity } => {
            let stream = StreamId::new(stream);
            if !world.clients.contains_key(&stream) {
                world.open(stream, capacity);
            }
        }
        Step::Close { stream } => world.close(StreamId::new(stream)),
        Step::Watch {
            stream,
            ref request,
            start,
        } => {
            let current = world.past.current();
            let start = match start {
                Start::Now => WatchStart::Now,
                Start::Back(back) => WatchStart::At(back_from(current, back)),
                Start::Ahead(ahead) => {
                    WatchStart::At(Revision::new(current.number() + ahead).expect("small"))
                }
            };
            world.watch(
                StreamId::new(stream),
                WatchRequest {
                    start,
                    ..request.clone()
                },
            );
        }
        Step::Cancel { stream, id } => world.cancel(StreamId::new(stream), WatchId::new(id)),
        Step::Read { stream, replies } => return world.read(StreamId::new(stream), replies),
        Step::Sync => assert!(matches!(world.sync_step(), CatchUp::More | CatchUp::Done)),
        Step::RetryVictims => drop(world.hub.retry_victims()),
        Step::RequestProgress { stream } => world.hub.request_progress(StreamId::new(stream)),
        Step::Tick { stream } => world.hub.progress_tick(StreamId::new(stream)),
    }
    Ok(())
}

fn named(writes: &[(usize, Option<u32>)]) -> Vec<Write> {
    let named = writes.iter().map(|&(key, value)| match value {
        Some(value) => Write::Put(KEYS[key], value),
        None => Write::Delete(KEYS[key]),
    });
    named.collect()
}

fn back_from(current: Revision, back: u64) -> Revision {
    Revision::new(current.number().saturating_sub(back)).unwrap_or(Revision::FIRST)
}
