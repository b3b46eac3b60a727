//! Starts after a crash, with a database of another member that was received.

use cairn_backend::{Backend, BackendOptions, LmdbEngine, LmdbOptions};
use cairn_consensus::LogIndex;
use cairn_consensus::disk::RealDisk;
use cairn_mvcc::Restored;
use cairn_proto::raftpb;
use cairn_replica::state::write_checksum;

use super::*;
use crate::net::peer::Pings;
use crate::settings::{Invocation, read};

const CLUSTER: &str = "a=http://127.0.0.1:1,b=http://127.0.0.1:2";

/// A member's data and how it is started.
struct Machine {
    settings: Settings,
    directory: tempfile::TempDir,
}

/// What a process has open of it.
struct Running {
    store: Store,
    applier: Applier,
    disk: Arc<dyn Disk>,
}

impl Machine {
    fn new(name: &str, url: &str) -> Self {
        let arguments = ["--name", name, "--initial-cluster", CLUSTER];
        let arguments = arguments.into_iter().chain([
            "--initial-advertise-peer-urls",
            url,
            "--listen-peer-urls",
            url,
        ]);
        let arguments: Vec<_> = arguments.map(Into::into).collect();
        let no_file = |_: &_| Err(std::io::ErrorKind::NotFound.into());
        let settings = match read(&arguments, &[], no_file).unwrap() {
            Invocation::Serve(settings) => *settings,
            Invocation::Print(_) => panic!("these flags start a server"),
        };
        Self {
            settings,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// As a process begins that was not told to end before.
    fn run(&self) -> Running {
        let directory = self.directory.path();
        let engine = LmdbEngine::open(directory, LmdbOptions::default()).unwrap();
        let backend = Backend::open(engine, BackendOptions::default()).unwrap();
        let restored = Restored::read(backend).unwrap();
        Running {
            store: restored.store.clone(),
            applier: Applier::restore(restored).unwrap(),
            disk: Arc::new(RealDisk::open(&directory.join("wal")).unwrap()),
        }
    }

    fn id(&self) -> MemberId {
        match self.settings.first_start().unwrap() {
            FirstStart::New(cluster) => cluster.me,
            FirstStart::Join(_) => panic!("a new cluster"),
        }
    }

    fn open(&self, running: &mut Running) -> Result<Opened, StartError> {
        let network = Network {
            connector: Connector {
                timeout: Duration::from_secs(1),
                pings: Pings::OF_MEMBERS,
                tls: None,
            },
            runtime: tokio::runtime::Handle::current(),
        };
        let Running {
            store,
            applier,
            disk,
        } = running;
        open_node(&self.settings, Arc::clone(disk), store, applier, &network)
    }
}

/// A member that has applied the cluster's first entries and a key.
fn leader() -> (Machine, Running) {
    let machine = Machine::new("a", "http://127.0.0.1:1");
    let mut running = machine.run();
    let FirstStart::New(cluster) = machine.settings.first_start().unwrap() else {
        panic!("a new cluster");
    };
    let options = node_options(&machine.settings, &running.applier).unwrap();
    begin_cluster(&cluster, Arc::clone(&running.disk), &options).unwrap();
    let mut node = machine.open(&mut running).unwrap().node;
    let committed = node.work().unwrap().committed;
    assert_eq!(committed.len(), 2);
    running.applier.apply(committed).unwrap();
    let mut batch = running.store.write();
    let mut txn = batch.txn();
    txn.put(b"key", b"the leader's", None);
    let _ = txn.end();
    batch.end().unwrap();
    write_checksum(&running.store, []).unwrap();
    (machine, running)
}

/// Has `follower` receive the leader's database.
fn send(leader: &Running, follower: &Running) -> Applied {
    let mut sender = leader.store.backend().send().unwrap();
    let mut receiver = follower.store.backend().receive().unwrap();
    while let Some(chunk) = sender.next_chunk().unwrap() {
        receiver.write(&chunk).unwrap();
    }
    receiver.finish().unwrap()
}

/// Has the leader apply an entry after `place`.
fn go_on(leader: &Running, place: Applied) -> Applied {
    let later = Applied {
        index: place.index + 1,
        ..place
    };
    let mut batch = leader.store.write();
    later.write(batch.backend());
    batch.end().unwrap();
    write_checksum(&leader.store, []).unwrap();
    later
}

/// A member whose log begins after the leader's database, which it was killed before it installed.
fn killed_before_the_installation() -> (Machine, Applied, (Machine, Running)) {
    let (leaders_machine, leader) = leader();
    let machine = Machine::new("b", "http://127.0.0.1:2");
    let running = machine.run();
    let options = node_options(&machine.settings, &running.applier).unwrap();
    let FirstStart::New(cluster) = leaders_machine.settings.first_start().unwrap() else {
        panic!("a new cluster");
    };
    let identity = Identity {
        cluster: cluster.cluster_id,
        member: machine.id(),
    };
    Node::create(Arc::clone(&running.disk), identity, &[], &options).unwrap();
    let mut node = Node::open(Arc::clone(&running.disk), &options).unwrap();
    let received = send(&leader, &running);
    let (from, to) = (leaders_machine.id().get(), machine.id().get());
    let message = raftpb::Message {
        r#type: Some(raftpb::MessageType::MsgSnap.into()),
        from: Some(from),
        to: Some(to),
        term: Some(2),
        snapshot: Some(raftpb::Snapshot {
            data: None,
            metadata: Some(raftpb::SnapshotMetadata {
                conf_state: Some(raftpb::ConfState {
                    voters: vec![from, to],
                    ..raftpb::ConfState::default()
                }),
                index: Some(received.index),
                term: Some(received.term),
            }),
        }),
        ..raftpb::Message::default()
    };
    node.driver().step(message).unwrap();
    let point = node.work().unwrap().snapshot.unwrap();
    assert_eq!(point.index, LogIndex::new(received.index));
    (machine, received, (leaders_machine, leader))
}

#[tokio::test]
async fn what_a_crash_kept_from_being_installed_is_installed_at_the_next_start() {
    let (machine, received, (_machine, leader)) = killed_before_the_installation();
    let mut running = machine.run();
    assert_eq!(running.store.backend().received(), [received]);
    assert_eq!(running.applier.applied(), LogIndex::ZERO);
    let opened = machine.open(&mut running).unwrap();
    assert_eq!(
        opened.node.status().handed_out,
        LogIndex::new(received.index)
    );
    assert_eq!(running.applier.applied(), LogIndex::new(received.index));
    assert_eq!(running.applier.membership().load().iter().count(), 2);
    assert_eq!(running.store.current(), leader.store.current());
    assert_eq!(running.store.backend().received(), []);
    drop((opened, running));
    // It stays so.
    let mut again = machine.run();
    machine.open(&mut again).unwrap();
    assert_eq!(again.store.current(), leader.store.current());
}

#[tokio::test]
async fn a_start_that_fails_deletes_nothing_that_was_received() {
    let (machine, received, (_machine, leader)) = killed_before_the_installation();
    let mut running = machine.run();
    // What the log asks for is gone; something else is there.
    running.store.backend().discard_received(received).unwrap();
    let later = go_on(&leader, received);
    assert_eq!(send(&leader, &running), later);
    let refusal = machine.open(&mut running).err().unwrap();
    let text = refusal.to_string();
    let begins = format!("the log begins after {}", received.index);
    assert!(
        text.contains(&begins) && text.contains("cairn rebuild"),
        "{text}"
    );
    assert_eq!(running.store.backend().received(), [later]);
}

#[tokio::test]
async fn what_the_log_was_never_told_of_is_deleted_at_the_start() {
    let (machine, received, (_machine, leader)) = killed_before_the_installation();
    let mut running = machine.run();
    machine.open(&mut running).unwrap();
    let later = go_on(&leader, received);
    assert_eq!(send(&leader, &running), later);
    drop(running);
    let mut running = machine.run();
    assert_eq!(running.store.backend().received(), [later]);
    machine.open(&mut running).unwrap();
    assert_eq!(running.store.backend().received(), []);
    assert_eq!(running.applier.applied(), LogIndex::new(received.index));
}
