//! One member: what survives a crash, and the production code that runs on it until the next one.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use cairn_backend::{Applied, Backend, BackendOptions, MemoryEngine};
use cairn_consensus::disk::{CrashOutcome, Disk, FaultDisk, Survival};
use cairn_consensus::wal::{FrameAlignment, WalOptions};
use cairn_consensus::{
    ClusterId, CompactionPolicy, Entry, FirstMember, Identity, Incarnation, Incarnations,
    Leadership, LogIndex, LogWork, Node, NodeError, NodeOptions, SnapshotPoint, StepError,
};
use cairn_history::{ClientId, MemberId, OpId, Time};
use cairn_mvcc::{Change, Restored, Store};
use cairn_proto::raftpb;
use cairn_replica::apply::{Applier, ConfChangeDone};
use cairn_replica::consensus::{Consensus, Effects, Proposal, Waiter};
use cairn_replica::lease_duties::Decided;
use cairn_replica::membership;
use cairn_replica::request_ids::{RequestId, RequestIds};
use cairn_watch::{Hub, StreamId};

use crate::planted::{self, Planted};
use crate::schedule::Leaves;
use crate::watching::{PastOf, Queue, QueueSink};

/// Small segments, so that a run has many.
const SEGMENT_BYTES: u64 = 64 << 10;

/// A short log, so that who was away needs a snapshot.
pub(crate) const POLICY: CompactionPolicy = CompactionPolicy {
    snapshot_count: 25,
    catchup_entries: 8,
    catchup_bytes_max: 64 << 10,
    bytes_max: 512 << 10,
};

/// Copies of a directory that are kept.
const COPIES_MAX: usize = 6;

/// When the simulated world began, in milliseconds since the epoch.
const EPOCH_MILLIS: u64 = 1_700_000_000_000;

/// Who waits for something at a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// A client's call.
    Call(OpId),
    /// A step of a call that is put to the leader.
    Question(OpId, u64),
    /// The member itself, for what it decided about leases.
    Duty(u64),
    /// A call of the second API.
    V2(usize),
    /// Nobody.
    Nobody,
}

/// A handle to what waits at a member.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) waits: Waits,
    /// Set when the client has given up.
    pub(crate) left: Rc<Cell<bool>>,
}

impl Waiter for Ticket {
    fn has_left(&self) -> bool {
        self.left.get()
    }
}

/// What comes to the consensus loop.
#[derive(Debug)]
pub(crate) enum Input {
    Propose(RequestId, Proposal, Ticket),
    Read(Ticket),
    Message(Box<raftpb::Message>),
    Answer(ConfChangeDone),
    TransferTo(cairn_consensus::MemberId),
    /// How sending a snapshot ended.
    Sent(cairn_consensus::MemberId, bool),
    /// What is on disk in the database need not be in the log.
    Shorten(LogIndex),
    Tick,
}

/// What a round hands to the apply loop.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    /// The database of another member, to be installed before anything is applied.
    pub(crate) snapshot: Option<SnapshotPoint>,
    pub(crate) waiting: Vec<(RequestId, Ticket)>,
    pub(crate) entries: VecDeque<Entry>,
}

/// A client's stream at a member.
pub(crate) struct Stream {
    pub(crate) client: ClientId,
    /// Which of the client's streams it is.
    pub(crate) streams: u64,
    pub(crate) queue: Rc<RefCell<Queue>>,
    /// How long the client takes over a message, in nanoseconds.
    pub(crate) pace: u64,
    /// The next message arrives no earlier: a stream keeps its order.
    pub(crate) not_before: Time,
    pub(crate) draining: bool,
}

/// The production code of a member, from a start to the next crash.
pub(crate) struct Life {
    pub(crate) consensus: Consensus<Ticket, Ticket>,
    pub(crate) applier: Applier,
    pub(crate) store: Store,
    pub(crate) hub: Hub<PastOf, QueueSink>,
    pub(crate) request_ids: Arc<RequestIds>,
    pub(crate) inbox: Vec<Input>,
    /// Whose data it is: the member's, unless its directory was exchanged for another's.
    pub(crate) id: cairn_consensus::MemberId,
    /// What the directory has been, and what it has met.
    pub(crate) incarnations: Incarnations,
    /// Who is connected, as which incarnation.
    pub(crate) let_in: BTreeSet<(MemberId, Incarnation)>,
    /// A message that cannot be if nobody has forgotten anything.
    pub(crate) contradicted: Option<StepError>,
    /// Work that waits for the log's loop.
    pub(crate) log_work: Option<LogWork>,
    /// The term as far as it is on disk: a later one may be forgotten.
    pub(crate) term: u64,
    /// The term that answers show: that of what is applied, or the log's when it started.
    pub(crate) shown_term: u64,
    /// Who leads, as it was written down last.
    pub(crate) noted: Option<Leadership>,
    pub(crate) to_apply: VecDeque<Committed>,
    pub(crate) waiting: HashMap<RequestId, Ticket>,
    /// The term of the last entry that was applied.
    pub(crate) applied_term: u64,
    /// What it decided about leases and does not know to be done.
    pub(crate) duties: BTreeMap<u64, Decided>,
    /// How many of these there were.
    pub(crate) duties_begun: u64,
    /// The start of leases' time.
    pub(crate) started: Time,
    /// Reads that go on when an index is applied.
    pub(crate) confirmed: Vec<(LogIndex, Vec<Ticket>)>,
    pub(crate) changes: VecDeque<Vec<Change>>,
    /// The database as it was when it was offered to those who are behind, in chunks.
    pub(crate) offered: Option<(SnapshotPoint, Rc<Vec<Bytes>>)>,
    /// The log is being shortened.
    pub(crate) shortening: bool,
    /// Changes were dropped since the hub last looked.
    pub(crate) dropped: bool,
    pub(crate) streams: BTreeMap<StreamId, Stream>,
    /// When each loop is done with what it does.
    pub(crate) free_at: BTreeMap<Loop, Time>,
    /// Loops that will run.
    pub(crate) woken: BTreeMap<Loop, Time>,
}

/// The loops that stand for a member's threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loop {
    Consensus,
    Log,
    Apply,
    Watch,
    House,
    Commit,
    Leases,
}

/// A member.
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) disk: FaultDisk,
    pub(crate) engine: MemoryEngine,
    /// Counts starts and crashes: what was meant for an earlier life is dropped.
    pub(crate) lives: u64,
    /// Starts that its directory knows of.
    pub(crate) starts: u64,
    pub(crate) life: Option<Box<Life>>,
    pub(crate) paused_until: Time,
    /// Nanoseconds between two ticks.
    pub(crate) tick: u64,
    /// How far its wall clock is behind, in milliseconds.
    pub(crate) clock_behind: u64,
    /// What the next write takes beyond the usual, in nanoseconds.
    pub(crate) stall: u64,
    pub(crate) slow_apply: (u64, Time),
    pub(crate) no_commits_before: Time,
    /// It has been removed, knows it and never starts again.
    pub(crate) has_left: bool,
    /// What a power cut in the middle of an operation will leave, and for how long.
    pub(crate) cut: Option<(Leaves, u64)>,
    /// Copies of its directory from before its starts, the oldest first; none if no step needs them.
    pub(crate) copies: Vec<Copied>,
    /// It was told that its directory has forgotten something, and never starts again.
    pub(crate) has_forgotten: bool,
}

/// A copy of a member's directory.
pub(crate) struct Copied {
    pub(crate) disk: FaultDisk,
    pub(crate) engine: MemoryEngine,
    /// How many starts it knows of.
    pub(crate) starts: u64,
}

impl Member {
    /// A member of a cluster that begins with `members`, which has never run; with none, it joins.
    pub(crate) fn create(id: MemberId, members: u64, seed: u64) -> Result<Self> {
        let disk = FaultDisk::new(seed ^ id.0.wrapping_mul(0x9E37_79B9));
        let first: Vec<FirstMember> = (1..=members).map(first_member).collect::<Result<_>>()?;
        let identity = Identity {
            cluster: ClusterId::new(0xC1),
            member: raft_id(id)?,
        };
        Node::create(Arc::new(disk.clone()), identity, &first, &options(0))?;
        Ok(Self {
            id,
            disk,
            engine: MemoryEngine::new(),
            lives: 0,
            starts: 0,
            life: None,
            paused_until: Time(0),
            tick: 100_000_000,
            clock_behind: 0,
            stall: 0,
            slow_apply: (0, Time(0)),
            no_commits_before: Time(0),
            has_left: false,
            cut: None,
            copies: Vec::new(),
            has_forgotten: false,
        })
    }

    /// Keeps a copy of its directory.
    pub(crate) fn copy(&mut self) {
        let starts = self.starts;
        if self.copies.len() >= COPIES_MAX {
            // The first one stays: it is the emptiest.
            self.copies.remove(1);
        }
        self.copies.push(Copied {
            disk: self.disk.copy(),
            engine: self.engine.copied(),
            starts,
        });
    }

    /// Starts it on what its disks hold.
    pub(crate) fn start(&mut self, now: Time, seed: u64, planted: Option<Planted>) -> Result<()> {
        self.lives += 1;
        if Planted::UncheckedRows.is(planted) {
            self.engine.skip_row_checks();
        }
        let backend = Backend::open(self.engine.clone(), BackendOptions::default())?;
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let disk = planted::disk(planted, disk);
        let (store, applier, node) = match open(&backend, &disk, seed) {
            Err(Unopened::SnapshotNotInstalled(point)) => {
                backend.resume_install(applied_of(&point))?;
                open(&backend, &disk, seed)
            }
            Ok(opened) => {
                // Of what else was received, the log was never told.
                backend.resume_install(Applied::default())?;
                Ok(opened)
            }
            Err(error) => Err(error),
        }?;
        let id = node.wal().identity().member;
        let incarnations = Incarnations::start(disk, seed)?;
        self.starts = incarnations.own().last().number;
        let millis = EPOCH_MILLIS + now.0 / 1_000_000 - self.clock_behind;
        let request_ids = Arc::new(RequestIds::new(id, millis));
        let past = PastOf {
            store: store.clone(),
            planted,
        };
        let term = node.status().leadership.term.get();
        self.life = Some(Box::new(Life {
            consensus: Consensus::new(node, Arc::clone(&request_ids)),
            applier,
            hub: Hub::new(past, store.current()),
            store,
            request_ids,
            inbox: Vec::new(),
            id,
            incarnations,
            let_in: BTreeSet::new(),
            contradicted: None,
            log_work: None,
            term,
            shown_term: term,
            noted: None,
            to_apply: VecDeque::new(),
            waiting: HashMap::new(),
            applied_term: 0,
            duties: BTreeMap::new(),
            duties_begun: 0,
            started: now,
            confirmed: Vec::new(),
            changes: VecDeque::new(),
            offered: None,
            shortening: false,
            dropped: false,
            streams: BTreeMap::new(),
            free_at: BTreeMap::new(),
            woken: BTreeMap::new(),
        }));
        Ok(())
    }

    /// Ends its life as a power cut does.
    pub(crate) fn crash(&mut self, leaves: Leaves) -> CrashOutcome {
        self.lives += 1;
        self.life = None;
        self.stall = 0;
        self.cut = None;
        self.disk.crash(match leaves {
            Leaves::Nothing => Survival::Nothing,
            Leaves::Everything => Survival::Everything,
            Leaves::First(count) => Survival::Prefix(count),
            Leaves::Some => Survival::Random,
        })
    }
}

impl Life {
    /// Whether the member knows that it is none any more.
    pub(crate) fn is_removed(&self, id: MemberId) -> bool {
        let members = self.applier.membership();
        raft_id(id).is_ok_and(|id| members.load().was_removed(id))
    }

    fn is_sole_voter(&mut self) -> bool {
        let driver = self.consensus.node().driver();
        driver.conf_state().is_sole_voter(self.id)
    }

    /// Notes that an entry of a term was applied.
    pub(crate) fn note_applied(&mut self, term: u64) {
        self.applied_term = term;
        self.shown_term = self.shown_term.max(term);
    }

    /// Runs the consensus loop once: takes all that waits, and turns until nothing is left to do.
    pub(crate) fn work(&mut self) -> Result<Vec<Effects<Ticket, Ticket>>> {
        for input in std::mem::take(&mut self.inbox) {
            match input {
                Input::Propose(id, proposal, ticket) => {
                    self.consensus.propose(id, proposal, ticket);
                }
                Input::Read(ticket) => {
                    // One that is turned away hears nothing, and gives up.
                    self.consensus.read(ticket);
                }
                Input::Message(message) => {
                    if let Err(error @ StepError::Contradiction { .. }) =
                        self.consensus.step(*message)
                    {
                        self.contradicted = Some(error);
                    }
                }
                Input::Answer(done) => {
                    // What raft refuses is not done.
                    let _ = self.consensus.answer(done.index, done.accepted.as_ref());
                }
                Input::TransferTo(member) => self.consensus.transfer_leader(member),
                Input::Sent(member, whole) => self.consensus.report_snapshot(member, whole),
                Input::Shorten(durable) => self.consensus.shorten(durable, &POLICY),
                Input::Tick => self.consensus.tick(),
            }
        }
        let mut rounds = Vec::new();
        loop {
            // As the server: who is alone waits for its disk, who has peers never does.
            if self.is_sole_voter() && !self.consensus.has_work_under_way() {
                rounds.push(self.consensus.work()?);
                self.term = self.consensus.status().leadership.term.get();
            } else {
                let (effects, work) = self.consensus.begin()?;
                rounds.push(effects);
                match &mut self.log_work {
                    _ if work.is_empty() => {}
                    Some(waiting) => waiting.join(work),
                    None => self.log_work = Some(work),
                }
            }
            if !self.consensus.has_work() {
                return Ok(rounds);
            }
        }
    }
}

/// Why a member's data cannot be opened.
#[derive(Debug, thiserror::Error)]
enum Unopened {
    /// A crash came before a snapshot was installed.
    #[error("the log begins after a snapshot that is not installed")]
    SnapshotNotInstalled(SnapshotPoint),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// Opens what a member's disks hold.
fn open(
    backend: &Backend,
    disk: &Arc<dyn Disk>,
    seed: u64,
) -> Result<(Store, Applier, Node), Unopened> {
    let restored = Restored::read(backend.clone()).context("restoring the store")?;
    let store = restored.store.clone();
    let applier = Applier::restore(restored).context("restoring what was applied")?;
    let options = NodeOptions {
        applied: applier.applied(),
        conf_state: applier.membership().load().conf_state(),
        ..options(seed)
    };
    match Node::open(Arc::clone(disk), &options) {
        Ok(node) => Ok((store, applier, node)),
        Err(NodeError::SnapshotNotInstalled { point, .. }) => {
            Err(Unopened::SnapshotNotInstalled(*point))
        }
        Err(error) => Err(anyhow::Error::from(error).context("opening the log").into()),
    }
}

/// The name of the database at a point of the log.
pub(crate) const fn applied_of(point: &SnapshotPoint) -> Applied {
    Applied {
        index: point.index.get(),
        term: point.term.get(),
    }
}

/// The number that raft knows a member by.
pub(crate) fn raft_id(id: MemberId) -> Result<cairn_consensus::MemberId> {
    cairn_consensus::MemberId::from_wire(id.0).context("members are numbered from 1")
}

/// What the cluster knows of a member.
pub(crate) fn description(id: cairn_consensus::MemberId) -> membership::Member {
    let number = id.get();
    membership::Member {
        id,
        peer_urls: vec![format!("http://m{number}:2380")],
        is_learner: false,
        name: format!("m{number}"),
        client_urls: Vec::new(),
    }
}

fn first_member(number: u64) -> Result<FirstMember> {
    let id = raft_id(MemberId(number))?;
    Ok(FirstMember {
        id,
        context: description(id).to_json(),
    })
}

fn options(seed: u64) -> NodeOptions {
    NodeOptions {
        wal: WalOptions {
            segment_bytes: SEGMENT_BYTES,
            frame_alignment: FrameAlignment::SECTOR,
            ..WalOptions::default()
        },
        seed,
        ..NodeOptions::default()
    }
}
