//! Databases that come whole, in part, spoilt, too late, or twice.

use cairn_backend::Table;
use cairn_backend::{Backend, BackendOptions, LmdbEngine, LmdbOptions};
use cairn_proto::raftpb::{Snapshot, SnapshotMetadata};
use cairn_replica::state::write_checksum;

use super::*;
use crate::member::inbox::{Inbox, PeerEvent, inbox};

const LEADER: u64 = 7;

/// A member that takes databases in.
struct Receiver {
    store: Store,
    inbox: Inbox,
    way_in: SnapshotIn,
    _directory: tempfile::TempDir,
}

impl Receiver {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engine = LmdbEngine::open(directory.path(), LmdbOptions::default()).unwrap();
        let store = store(Backend::open(engine, BackendOptions::default()).unwrap());
        let (sender, inbox) = inbox();
        let way_in = SnapshotIn {
            store: store.clone(),
            inbox: sender,
            from: MemberId::from_wire(LEADER).unwrap(),
            times: SaveTimes {
                whole: histogram(),
                end: histogram(),
            },
        };
        Self {
            store,
            inbox,
            way_in,
            _directory: directory,
        }
    }

    async fn receive(&self, chunks: Vec<Result<SnapshotChunk, Status>>) -> Result<u64, Status> {
        let way_in = self.way_in.clone();
        way_in.receive(tokio_stream::iter(chunks)).await
    }

    /// Nothing was handed on, nothing is left of it, and the next one may come.
    async fn assert_untouched(&self, leader: &Store, why: &str) {
        assert!(self.inbox.quick.is_empty(), "{why}");
        assert_eq!(self.store.backend().received(), [], "{why}");
        self.receive(chunks(leader)).await.unwrap();
        let prepared = self.arrived();
        let place = prepared.applied();
        drop(prepared);
        self.store.backend().discard_received(place).unwrap();
    }

    fn arrived(&self) -> Prepared {
        match self.inbox.quick.try_recv().unwrap().event {
            PeerEvent::Snapshot(arrived) => arrived.prepared,
            _ => panic!("no database was handed on"),
        }
    }

    fn assert_only_message(&self) {
        let event = self.inbox.quick.try_recv().unwrap().event;
        assert!(matches!(event, PeerEvent::Messages(messages) if messages.len() == 1));
        assert!(self.inbox.quick.is_empty());
        assert_eq!(self.store.backend().received(), []);
    }
}

fn store(backend: Backend) -> Store {
    Store::restore(backend).unwrap()
}

/// Writes a revision of `bytes`, as the entry at `index`.
fn write(store: &Store, index: u64, bytes: usize) {
    let mut batch = store.write();
    let mut txn = batch.txn();
    txn.put(b"key", &vec![b'v'; bytes], None);
    let _ = txn.end();
    Applied { index, term: 1 }.write(batch.backend());
    batch.end().unwrap();
    write_checksum(store, []).unwrap();
}

/// A store of a few revisions, long enough for several chunks.
fn leader() -> Store {
    let engine = cairn_backend::MemoryEngine::new();
    let store = store(Backend::open(engine, BackendOptions::default()).unwrap());
    for index in 3..7 {
        write(&store, index, 700 << 10);
    }
    store
}

fn histogram() -> Histogram {
    Histogram::with_opts(prometheus::HistogramOpts::new("a", "b")).unwrap()
}

/// What `leader` sends of its database.
fn chunks(leader: &Store) -> Vec<Result<SnapshotChunk, Status>> {
    let mut sender = leader.backend().send().unwrap();
    let Applied { index, term } = sender.applied();
    let first = SnapshotChunk {
        message: Some(raftpb::Message {
            from: Some(LEADER),
            snapshot: Some(Snapshot {
                metadata: Some(SnapshotMetadata {
                    index: Some(index),
                    term: Some(term),
                    ..SnapshotMetadata::default()
                }),
                ..Snapshot::default()
            }),
            ..raftpb::Message::default()
        }),
        ..SnapshotChunk::default()
    };
    let mut chunks = vec![Ok(first)];
    while let Some(data) = sender.next_chunk().unwrap() {
        chunks.push(Ok(SnapshotChunk {
            data,
            ..SnapshotChunk::default()
        }));
    }
    assert!(chunks.len() > 5);
    chunks
}

#[tokio::test]
async fn a_database_that_comes_whole_is_handed_on_with_its_message() {
    let (leader, receiver) = (leader(), Receiver::new());
    write(&receiver.store, 2, 1);
    let bytes = receiver.receive(chunks(&leader)).await.unwrap();
    assert!(bytes > 4 * (700 << 10));
    let prepared = receiver.arrived();
    assert_eq!(prepared.applied(), Applied { index: 6, term: 1 });
    receiver.store.install(prepared).unwrap();
    assert_eq!(receiver.store.current(), leader.current());
}

#[tokio::test]
async fn a_transfer_that_is_cut_anywhere_leaves_nothing_and_begins_anew() {
    let (leader, receiver) = (leader(), Receiver::new());
    write(&receiver.store, 2, 1);
    for cut in 0..chunks(&leader).len() {
        for how in [None, Some(Status::unavailable("the connection broke"))] {
            let mut chunks = chunks(&leader);
            chunks.truncate(cut);
            let why = format!("{cut} chunks, then {how:?}");
            let expected = how.clone().map(|status| status.code());
            chunks.extend(how.map(Err));
            let refusal = receiver.receive(chunks).await.unwrap_err();
            assert!(expected.is_none_or(|code| code == refusal.code()), "{why}");
            receiver.assert_untouched(&leader, &why).await;
        }
    }
}

#[tokio::test]
async fn a_database_is_good_once_its_last_chunk_is_here_whatever_becomes_of_the_sender() {
    let (leader, receiver) = (leader(), Receiver::new());
    let mut chunks = chunks(&leader);
    chunks.push(Err(Status::unavailable("the connection broke")));
    receiver.receive(chunks).await.unwrap();
    assert_eq!(receiver.arrived().current(), leader.current());
}

#[tokio::test]
async fn one_flipped_bit_in_any_chunk_spoils_all_of_it() {
    let (leader, receiver) = (leader(), Receiver::new());
    write(&receiver.store, 2, 1);
    for at in 1..chunks(&leader).len() {
        for place in [0, 1, 2] {
            let mut chunks = chunks(&leader);
            let chunk = chunks[at].as_mut().unwrap();
            let mut data = chunk.data.to_vec();
            let byte = (data.len() - 1) * place / 2;
            data[byte] ^= 1;
            chunk.data = data.into();
            let refusal = receiver.receive(chunks).await.unwrap_err();
            assert_eq!(refusal.code(), tonic::Code::DataLoss);
            let why = format!("chunk {at}, byte {byte}");
            receiver.assert_untouched(&leader, &why).await;
        }
    }
}

#[tokio::test]
async fn chunks_that_are_left_out_or_come_twice_spoil_it_too() {
    let (leader, receiver) = (leader(), Receiver::new());
    for at in 1..chunks(&leader).len() {
        let mut without = chunks(&leader);
        without.remove(at).unwrap();
        receiver.receive(without).await.unwrap_err();
        let mut twice = chunks(&leader);
        twice.insert(at, twice[at].clone());
        receiver.receive(twice).await.unwrap_err();
        receiver.assert_untouched(&leader, "left out, twice").await;
    }
}

#[tokio::test]
async fn a_database_that_is_not_what_its_message_says_is_deleted() {
    let (leader, receiver) = (leader(), Receiver::new());
    let mut other = chunks(&leader);
    let message = other[0].as_mut().unwrap().message.as_mut().unwrap();
    let snapshot = message.snapshot.as_mut().unwrap();
    snapshot.metadata.as_mut().unwrap().index = Some(100);
    let refusal = receiver.receive(other).await.unwrap_err();
    assert_eq!(
        refusal.message(),
        "the database is of index 6 of term 1, and that of index 100 of term 1 was announced"
    );
    receiver.assert_untouched(&leader, "misnamed").await;
    let mut stolen = chunks(&leader);
    let message = stolen[0].as_mut().unwrap().message.as_mut().unwrap();
    message.from = Some(LEADER + 1);
    receiver.receive(stolen).await.unwrap_err();
    receiver.assert_untouched(&leader, "stolen").await;
}

/// It comes whole and is of the announced place; before the log is told of it, its tables are read.
#[tokio::test]
async fn a_database_with_a_damaged_or_missing_row_is_deleted() {
    let receiver = Receiver::new();
    write(&receiver.store, 2, 1);
    let key = b"00000000000000ff";
    for (value, reason) in [
        (
            "removed",
            "table members_removed, key (all): 0 rows were stored",
        ),
        (
            "remover",
            "table members_removed, key \"00000000000000ff\": ",
        ),
    ] {
        let damaged = leader();
        let mut tx = damaged.backend().write();
        tx.put(Table::MembersRemoved, key, value.into());
        tx.end().unwrap();
        let refusal = receiver.receive(chunks(&damaged)).await.unwrap_err();
        assert_eq!(refusal.code(), tonic::Code::DataLoss);
        assert!(refusal.message().contains(reason), "{refusal}");
        receiver.assert_untouched(&leader(), value).await;
    }
}

#[tokio::test]
async fn a_database_of_another_history_is_deleted() {
    let (leader, receiver) = (leader(), Receiver::new());
    for _ in 0..9 {
        write(&receiver.store, 2, 1);
    }
    let refusal = receiver.receive(chunks(&leader)).await.unwrap_err();
    assert_eq!(refusal.code(), tonic::Code::DataLoss);
    assert!(receiver.inbox.quick.is_empty());
    assert_eq!(receiver.store.backend().received(), []);
}

#[tokio::test]
async fn raft_alone_hears_of_a_database_that_is_not_ahead() {
    let (leader, receiver) = (leader(), Receiver::new());
    for index in 3..7 {
        write(&receiver.store, index, 1);
    }
    assert_eq!(receiver.receive(chunks(&leader)).await.unwrap(), 0);
    receiver.assert_only_message();
    write(&receiver.store, 7, 1);
    assert_eq!(receiver.receive(chunks(&leader)).await.unwrap(), 0);
    receiver.assert_only_message();
}

#[tokio::test]
async fn entries_may_overtake_a_database_on_its_way() {
    let (leader, receiver) = (leader(), Receiver::new());
    let late = receiver.store.clone();
    // While the last chunk is on its way, this member applies more than the database holds.
    let chunks = chunks(&leader);
    let last = chunks.len() - 1;
    let chunks = tokio_stream::iter(chunks.into_iter().enumerate());
    let chunks = chunks.map(move |(at, chunk)| {
        if at == last {
            for index in 3..9 {
                write(&late, index, 1);
            }
        }
        chunk
    });
    let way_in = receiver.way_in.clone();
    assert_eq!(way_in.receive(chunks).await.unwrap(), 0);
    receiver.assert_only_message();
}
