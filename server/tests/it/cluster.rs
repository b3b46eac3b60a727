//! Three members: one leads, all answer alike, and whoever fails is not missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cairn_proto::etcdserverpb::lease_client::LeaseClient;
use cairn_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, MemberListRequest,
    MemberRemoveRequest, MoveLeaderRequest,
};
use parking_lot::Mutex;
use rustix::process::Signal;
use tonic::transport::Endpoint;

use crate::cluster_harness::{Cluster, get, put, status};
use crate::harness::{Clients, until};

/// Puts one key after the other through whoever answers, and keeps what was acknowledged.
struct Writer {
    acknowledged: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Writer {
    fn start(name: &str, clients: Vec<Clients>) -> Self {
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (sink, over, name) = (acknowledged.clone(), is_over.clone(), name.to_owned());
        let task = tokio::spawn(async move {
            let mut number = 0_u64;
            let mut clients = clients.into_iter().cycle();
            while !over.load(Ordering::Relaxed) {
                let key = format!("{name}/{number}");
                let mut client = clients.next().unwrap();
                if put(&mut client, &key, "written").await.is_ok() {
                    sink.lock().push(key);
                }
                number += 1;
            }
        });
        Self {
            acknowledged,
            is_over,
            task,
        }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().len()
    }

    /// Waits until so many more are acknowledged.
    async fn go_on(&self, more: usize) {
        let goal = self.count() + more;
        until("further puts", async || self.count() >= goal).await;
    }

    async fn stop(self) -> Vec<String> {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        Arc::into_inner(self.acknowledged).unwrap().into_inner()
    }
}

async fn assert_all_there(cluster: &Cluster, number: usize, keys: &[String]) {
    let mut clients = cluster.clients(number).await;
    for key in keys {
        let value = get(&mut clients, key).await.unwrap();
        assert_eq!(value.as_deref(), Some("written"), "{key} at {number}");
    }
}

async fn all_clients(cluster: &Cluster) -> Vec<Clients> {
    let mut all = Vec::new();
    for number in cluster.running() {
        all.push(cluster.clients(number).await);
    }
    all
}

#[tokio::test]
async fn what_is_put_at_one_member_is_read_at_all() {
    let cluster = Cluster::start(3, &[]);
    cluster.leader(&[0, 1, 2]).await;
    for writer in 0..3 {
        let (key, value) = (format!("k{writer}"), format!("v{writer}"));
        let mut clients = cluster.clients(writer).await;
        put(&mut clients, &key, &value).await.unwrap();
        for reader in 0..3 {
            let mut clients = cluster.clients(reader).await;
            let read = get(&mut clients, &key).await.unwrap();
            assert_eq!(
                read.as_deref(),
                Some(&*value),
                "put at {writer}, read at {reader}"
            );
        }
    }
    cluster.settle().await;
    let mut clients = cluster.clients(1).await;
    let listed = clients.cluster.member_list(MemberListRequest::default());
    let names: Vec<_> = listed.await.unwrap().into_inner().members;
    let mut names: Vec<_> = names.into_iter().map(|member| member.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["m0", "m1", "m2"]);
}

#[tokio::test]
async fn writes_go_on_when_the_leader_is_killed_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader(&[0, 1, 2]).await;
    let writer = Writer::start("w", all_clients(&cluster).await);
    writer.go_on(100).await;
    cluster.kill(leader);
    let others = cluster.running();
    cluster.leader(&others).await;
    writer.go_on(100).await;
    cluster.start_one(leader);
    let clients = cluster.clients(leader).await;
    let late = Writer::start("late", vec![clients]);
    late.go_on(20).await;
    let (acknowledged, late) = (writer.stop().await, late.stop().await);
    cluster.settle().await;
    for number in 0..3 {
        assert_all_there(&cluster, number, &acknowledged).await;
        assert_all_there(&cluster, number, &late).await;
    }
}

#[tokio::test]
async fn all_members_killed_at_once_come_back_with_what_they_acknowledged() {
    let mut cluster = Cluster::start(3, &[]);
    let writer = Writer::start("w", all_clients(&cluster).await);
    writer.go_on(200).await;
    for number in 0..3 {
        cluster.kill(number);
    }
    let acknowledged = writer.stop().await;
    cluster.start_all();
    cluster.leader(&[0, 1, 2]).await;
    cluster.settle().await;
    assert_all_there(&cluster, 0, &acknowledged).await;
}

#[tokio::test]
async fn a_leader_that_was_stopped_does_not_read_what_is_old() {
    let cluster = Cluster::start(3, &[]);
    let old = cluster.leader(&[0, 1, 2]).await;
    let others: Vec<_> = (0..3).filter(|number| *number != old).collect();
    let mut at_old = cluster.clients(old).await;
    put(&mut at_old, "key", "old").await.unwrap();
    cluster.signal(old, Signal::STOP);
    let new = cluster.leader(&others).await;
    let mut at_new = cluster.clients(new).await;
    put(&mut at_new, "key", "new").await.unwrap();
    cluster.signal(old, Signal::CONT);
    // Whenever it answers, it answers with what is new.
    until("an answer of the old leader", async || {
        match get(&mut at_old, "key").await {
            Ok(value) => {
                assert_eq!(value.as_deref(), Some("new"));
                true
            }
            Err(_) => false,
        }
    })
    .await;
    cluster.settle().await;
}

#[tokio::test]
async fn a_cluster_without_a_quorum_says_so_and_ends_when_told() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.leader(&[0, 1, 2]).await;
    cluster.kill(1);
    cluster.kill(2);
    let mut clients = cluster.clients(0).await;
    until("no leader", async || {
        status(&mut clients).await.is_ok_and(|it| it.leader == 0)
    })
    .await;
    cluster.signal(0, Signal::TERM);
    cluster.ended(0);
}

#[tokio::test]
async fn a_member_that_missed_more_than_the_log_keeps_gets_the_leaders_data() {
    let flags = ["--snapshot-count=50", "--snapshot-catchup-entries=20"];
    let mut cluster = Cluster::start(3, &flags);
    let leader = cluster.leader(&[0, 1, 2]).await;
    let behind = (leader + 1) % 3;
    cluster.kill(behind);
    let others = cluster.running();
    let writer = Writer::start("w", all_clients(&cluster).await);
    writer.go_on(500).await;
    cluster.start_one(behind);
    until("a snapshot", async || {
        cluster.member(behind).log().contains("applied snapshot")
    })
    .await;
    writer.go_on(100).await;
    let acknowledged = writer.stop().await;
    cluster.settle().await;
    assert_all_there(&cluster, behind, &acknowledged).await;
    // What it got is durable, and what comes after it too.
    cluster.kill(behind);
    cluster.start_one(behind);
    cluster.settle().await;
    // It can even lead.
    for other in others {
        cluster.kill(other);
        cluster.start_one(other);
    }
    cluster.leader(&[0, 1, 2]).await;
    assert_all_there(&cluster, behind, &acknowledged).await;
}

#[tokio::test]
async fn every_member_tells_of_a_lease_in_its_own_name_and_does_not_go_back() {
    let cluster = Cluster::start(3, &[]);
    let leader = cluster.leader(&[0, 1, 2]).await;
    let lease = LeaseGrantRequest { ttl: 1000, id: 7 };
    let mut leases = LeaseClient::new(cluster.clients(leader).await.channel);
    leases.lease_grant(lease).await.unwrap();
    for round in 0..50 {
        let mut at_leader = cluster.clients(leader).await;
        let written = put(&mut at_leader, "key", &round.to_string())
            .await
            .unwrap();
        for number in 0..3 {
            let mut clients = cluster.clients(number).await;
            let own = status(&mut clients).await.unwrap().header.unwrap();
            let mut leases = LeaseClient::new(clients.channel.clone());
            let question = LeaseTimeToLiveRequest { id: 7, keys: true };
            let told = leases.lease_time_to_live(question).await.unwrap();
            let told = told.into_inner().header.unwrap();
            assert_eq!(told.member_id, own.member_id);
            assert!(told.revision >= written);
            let after = status(&mut clients).await.unwrap().header.unwrap();
            assert!(after.revision >= told.revision, "member {number}");
        }
    }
}

#[tokio::test]
async fn leadership_moves_when_asked_and_before_a_leader_ends() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader(&[0, 1, 2]).await;
    let target = (leader + 1) % 3;
    let mut at_target = cluster.clients(target).await;
    let id = status(&mut at_target)
        .await
        .unwrap()
        .header
        .unwrap()
        .member_id;
    let mut at_leader = cluster.clients(leader).await;
    let refused = move_leader(&mut at_leader, 1).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: bad leader transferee");
    let refused = move_leader(&mut at_target, id).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: not leader");
    move_leader(&mut at_leader, id).await.unwrap();
    assert_eq!(cluster.leader(&[0, 1, 2]).await, target);
    cluster.signal(target, Signal::TERM);
    cluster.ended(target);
    // Nobody had to wait for an election timeout: each has seen its leader go and another one come.
    let left = cluster.running();
    assert_ne!(cluster.leader(&left).await, target);
    let mut clients = cluster.clients(left[0]).await;
    put(&mut clients, "after", "it").await.unwrap();
}

#[tokio::test]
async fn a_leader_that_removes_itself_goes_when_the_others_know() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader(&[0, 1, 2]).await;
    let mut at_leader = cluster.clients(leader).await;
    let header = status(&mut at_leader).await.unwrap().header.unwrap();
    let id = header.member_id;
    until("a cluster that is healthy enough", async || {
        let removed = at_leader.cluster.member_remove(MemberRemoveRequest { id });
        removed.await.is_ok()
    })
    .await;
    cluster.ended(leader);
    let left = cluster.running();
    assert_ne!(cluster.leader(&left).await, leader);
    for number in left {
        let mut clients = cluster.clients(number).await;
        put(&mut clients, "after", "it").await.unwrap();
        let listed = clients.cluster.member_list(MemberListRequest::default());
        let listed = listed.await.unwrap().into_inner().members;
        assert_eq!(listed.len(), 2);
        assert!(listed.iter().all(|member| member.id != id));
    }
    let refusal = cluster.refusal(leader);
    assert!(refusal.log.contains("removed"), "{}", refusal.log);
}

async fn move_leader(clients: &mut Clients, target: u64) -> Result<(), tonic::Status> {
    let request = MoveLeaderRequest { target_id: target };
    clients.maintenance.move_leader(request).await.map(drop)
}

#[tokio::test]
async fn a_caller_of_another_cluster_is_turned_away_at_the_peer_service() {
    use cairn_proto::cairnpb::VersionRequest;
    use cairn_proto::cairnpb::peer_client::PeerClient;

    let cluster = Cluster::start(1, &[]);
    let endpoint = Endpoint::from_shared(cluster.peer_url(0)).unwrap();
    let mut client = PeerClient::new(endpoint.connect().await.unwrap());
    let mut call = tonic::Request::new(VersionRequest::default());
    for (name, value) in [
        ("cairn-cluster-id", "1"),
        ("cairn-member-id", "2"),
        ("cairn-version", "3.7.1"),
    ] {
        call.metadata_mut().insert(name, value.parse().unwrap());
    }
    let refusal = client.version(call).await.unwrap_err();
    assert_eq!(refusal.message(), "cluster ID mismatch");
    let refusal = client.version(VersionRequest::default()).await.unwrap_err();
    assert_eq!(
        refusal.message(),
        "peer call without the caller's cluster, member and version"
    );
}

/// etcd 3.7 waits for a leader for as long as a request may take, and then says that there is none.
#[tokio::test]
async fn a_renewal_without_a_leader_is_told_that_there_is_none() {
    let flags = ["--heartbeat-interval=20", "--election-timeout=200"];
    let mut cluster = Cluster::start(3, &flags);
    cluster.leader(&[0, 1, 2]).await;
    let clients = cluster.clients(0).await;
    let mut leases = LeaseClient::new(clients.channel.clone());
    let grant = LeaseGrantRequest { id: 7, ttl: 900 };
    leases.lease_grant(grant).await.unwrap();
    cluster.kill(1);
    cluster.kill(2);
    let renewal = tokio_stream::once(LeaseKeepAliveRequest { id: 7 });
    let answer = match leases.lease_keep_alive(renewal).await {
        Ok(answers) => answers.into_inner().message().await,
        Err(refusal) => Err(refusal),
    };
    let refusal = answer.unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.message()),
        (tonic::Code::Unavailable, "etcdserver: no leader")
    );
}
