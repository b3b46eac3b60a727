//! Members whose data directory went back: they have forgotten what they acknowledged and voted for,
//! are told so, and never take part again.

use std::fs;
use std::path::{Path, PathBuf};

use cairn_proto::cairnpb::peer_client::PeerClient;
use cairn_proto::cairnpb::{Lineage, RaftMessages, VersionRequest};
use cairn_proto::etcdserverpb::alarm_request::AlarmAction;
use cairn_proto::etcdserverpb::{
    AlarmRequest, AlarmType, MemberAddRequest, MemberListRequest, MemberRemoveRequest,
};
use cairn_proto::raftpb;
use rustix::process::Signal;
use tempfile::TempDir;
use tonic::transport::Endpoint;

use crate::cluster_harness::{Cluster, get, put, status};
use crate::harness::{Place, Refusal, until};

/// What a member that has forgotten says, whoever has told it.
const TOLD: [&str; 3] = [
    "as a later incarnation of its data directory",
    "has run before, and there is nothing of it",
    "has already been bootstrapped",
];

/// A copy of a member's data directory.
struct Copy(TempDir);

impl Copy {
    fn of(data_dir: &Path) -> Self {
        let copy = tempfile::tempdir().unwrap();
        copy_files(data_dir, copy.path());
        Self(copy)
    }

    fn put_back(&self, data_dir: &Path) {
        fs::remove_dir_all(data_dir).unwrap();
        copy_files(self.0.path(), data_dir);
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_files(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn assert_told(refusal: &Refusal) {
    let is_told = TOLD.iter().any(|text| refusal.log.contains(text));
    assert!(is_told && !refusal.status.success(), "{refusal:?}");
}

async fn put_many(cluster: &Cluster, number: usize, name: &str) {
    let mut clients = cluster.clients(number).await;
    for key in 0..20 {
        put(&mut clients, &format!("{name}/{key}"), "written")
            .await
            .unwrap();
    }
}

async fn assert_many(cluster: &Cluster, number: usize, name: &str, value: Option<&str>) {
    let mut clients = cluster.clients(number).await;
    for key in 0..20 {
        let found = get(&mut clients, &format!("{name}/{key}")).await.unwrap();
        assert_eq!(found.as_deref(), value, "{name}/{key} at {number}");
    }
}

/// The story: a member was stopped, its directory copied, and it went on. Later it was stopped again and
/// the copy put back. It ran on, was never ready, said nothing, and voted.
#[tokio::test]
async fn an_old_data_directory_put_back_is_told_so_and_the_newest_goes_on() {
    let mut cluster = Cluster::start(3, &[]);
    let others = [0, 1];
    for round in 0..3 {
        cluster.kill(2);
        let copy = Copy::of(&cluster.data_dir(2));
        cluster.start_one(2);
        put_many(&cluster, 0, &format!("round{round}")).await;
        cluster.kill(2);
        let newest = Copy::of(&cluster.data_dir(2));
        copy.put_back(&cluster.data_dir(2));
        assert_told(&cluster.refusal(2));
        assert_told(&cluster.refusal(2));
        // The others do not miss it.
        cluster.leader(&others).await;
        put_many(&cluster, 1, &format!("meanwhile{round}")).await;
        newest.put_back(&cluster.data_dir(2));
        cluster.start_one(2);
    }
    cluster.settle().await;
    for name in ["round0", "meanwhile0", "round2", "meanwhile2"] {
        assert_many(&cluster, 2, name, Some("written")).await;
    }
}

/// The story: two of three had acknowledged 20 keys; one of them was emptied, and made a majority with
/// the third, which lacked them. Members then answered linearizable reads differently.
#[tokio::test]
async fn an_emptied_member_makes_no_majority_with_one_that_lacks_what_it_acknowledged() {
    for state in ["existing", "new"] {
        let mut cluster = Cluster::start(3, &[]);
        cluster.leader(&[0, 1, 2]).await;
        cluster.kill(0);
        cluster.leader(&[1, 2]).await;
        put_many(&cluster, 1, "acknowledged").await;
        cluster.kill(1);
        cluster.kill(2);
        fs::remove_dir_all(cluster.data_dir(2)).unwrap();
        cluster.add_flags(2, &["--initial-cluster-state", state]);
        let first = cluster.begin(0);
        assert_told(&retried(&cluster, state));
        cluster.start_one(1);
        cluster.begun(0, first);
        cluster.leader(&[0, 1]).await;
        for number in [0, 1] {
            assert_many(&cluster, number, "acknowledged", Some("written")).await;
        }
        assert_told(&cluster.refusal(2));
        add_anew(&mut cluster).await;
        cluster.settle().await;
        assert_many(&cluster, 2, "acknowledged", Some("written")).await;
    }
}

/// What an emptied member says. One that joins must find somebody who knows the cluster, and the other
/// member may take its time to come up.
fn retried(cluster: &Cluster, state: &str) -> Refusal {
    loop {
        let refusal = cluster.refusal(2);
        let found_nobody = refusal.log.contains("cannot fetch cluster info");
        if state == "new" || !found_nobody {
            return refusal;
        }
    }
}

/// The way out: the member that has forgotten is removed, and added anew with an empty directory.
async fn add_anew(cluster: &mut Cluster) {
    let mut clients = cluster.clients(0).await;
    let listed = clients
        .cluster
        .member_list(MemberListRequest::default())
        .await
        .unwrap();
    let urls = vec![cluster.peer_url(2)];
    let members = listed.into_inner().members;
    let id = members.iter().find(|it| it.peer_urls == urls).unwrap().id;
    let remove = MemberRemoveRequest { id };
    until("a removal", async || {
        clients.cluster.member_remove(remove).await.is_ok()
    })
    .await;
    add(cluster, 2).await;
    cluster.start_one(2);
}

/// Adds a member that is to begin with an empty directory.
async fn add(cluster: &mut Cluster, number: usize) {
    let mut clients = cluster.clients(0).await;
    let add = MemberAddRequest {
        peer_urls: vec![cluster.peer_url(number)],
        is_learner: false,
    };
    until("an addition", async || {
        clients.cluster.member_add(add.clone()).await.is_ok()
    })
    .await;
    let data_dir = cluster.data_dir(number);
    if data_dir.exists() {
        fs::remove_dir_all(data_dir).unwrap();
    }
    cluster.add_flags(number, &["--initial-cluster-state", "existing"]);
}

#[tokio::test]
async fn a_whole_cluster_put_back_from_copies_of_one_moment_goes_on_from_there() {
    let mut cluster = Cluster::start(3, &[]);
    put_many(&cluster, 0, "before").await;
    let all = [0, 1, 2];
    for number in all {
        cluster.kill(number);
    }
    let copies = all.map(|number| Copy::of(&cluster.data_dir(number)));
    cluster.start_all();
    put_many(&cluster, 0, "after").await;
    for number in all {
        cluster.kill(number);
    }
    for (number, copy) in copies.iter().enumerate() {
        copy.put_back(&cluster.data_dir(number));
    }
    cluster.start_all();
    cluster.settle().await;
    for number in all {
        assert_many(&cluster, number, "before", Some("written")).await;
        assert_many(&cluster, number, "after", None).await;
    }
}

#[tokio::test]
async fn directories_of_older_versions_become_incarnations_one_after_the_other() {
    let mut cluster = Cluster::start(3, &[]);
    put_many(&cluster, 0, "old").await;
    let all = [0, 1, 2];
    for number in all {
        cluster.kill(number);
    }
    for number in all {
        fs::remove_file(incarnations(&cluster, number)).unwrap();
    }
    cluster.start_all();
    // Each is restarted while the others run, as in a rolling upgrade.
    for number in all {
        cluster.kill(number);
        assert!(incarnations(&cluster, number).exists());
        cluster.start_one(number);
        cluster.leader(&all).await;
    }
    cluster.settle().await;
    assert_many(&cluster, 2, "old", Some("written")).await;
    // From then on a directory without the file is one that has forgotten.
    cluster.kill(2);
    fs::remove_file(incarnations(&cluster, 2)).unwrap();
    assert_told(&cluster.refusal(2));
    let mut clients = cluster.clients(0).await;
    assert!(status(&mut clients).await.unwrap().leader != 0);
}

fn incarnations(cluster: &Cluster, number: usize) -> PathBuf {
    cluster.data_dir(number).join("member/wal/incarnations")
}

/// A member's directory that is moved to another place, and put in this one's, is the same directory.
#[tokio::test]
async fn exchanged_directories_are_told_apart_and_nothing_is_lost() {
    let mut cluster = Cluster::start(3, &[]);
    put_many(&cluster, 0, "before").await;
    for number in [1, 2] {
        cluster.kill(number);
    }
    let [one, other] = [1, 2].map(|number| cluster.data_dir(number));
    let exchange = || {
        let aside = one.with_file_name("aside");
        fs::rename(&one, &aside).unwrap();
        // The directories may be on different file systems, as those of machines are.
        copy_files(&other, &one);
        fs::remove_dir_all(&other).unwrap();
        copy_files(&aside, &other);
        fs::remove_dir_all(&aside).unwrap();
    };
    exchange();
    for number in [1, 2] {
        let refusal = cluster.refusal(number);
        let is_told = refusal.log.contains("the directories were exchanged");
        assert!(is_told && !refusal.status.success(), "{refusal:?}");
    }
    exchange();
    cluster.start_these(&[1, 2]);
    put_many(&cluster, 1, "after").await;
    cluster.settle().await;
    for name in ["before", "after"] {
        assert_many(&cluster, 2, name, Some("written")).await;
    }
}

/// One member goes on alone, is met as what it is by members that join it, and by none of the old ones.
#[tokio::test]
async fn a_new_cluster_forced_of_one_member_meets_new_members_and_no_old_one() {
    let mut cluster = Cluster::start(3, &[]);
    put_many(&cluster, 0, "kept").await;
    cluster.settle().await;
    for number in 0..3 {
        cluster.kill(number);
    }
    cluster.add_flags(0, &["--force-new-cluster"]);
    cluster.start_one(0);
    assert_many(&cluster, 0, "kept", Some("written")).await;
    cluster.kill(0);
    cluster.add_flags(0, &["--force-new-cluster=false"]);
    cluster.start_one(0);
    add(&mut cluster, 2).await;
    // The flags name all who were there once.
    let initial = [0, 2].map(|number| format!("m{number}={}", cluster.peer_url(number)));
    cluster.add_flags(2, &["--initial-cluster", &initial.join(",")]);
    cluster.start_one(2);
    cluster.settle().await;
    assert_many(&cluster, 2, "kept", Some("written")).await;
    // One of the others comes back: it is none of them any more.
    let refusal = cluster.refusal(1);
    assert!(refusal.log.contains("removed"), "{}", refusal.log);
    put_many(&cluster, 2, "after").await;
}

/// The story: a member was cut off while another one started anew, acknowledged, and then went back. It
/// was the first that came up again, had never met what was forgotten, and made a majority with it.
#[tokio::test]
async fn a_member_that_was_only_told_of_what_another_one_was_refuses_it_when_it_forgets() {
    let mut cluster = Cluster::start(3, &[]);
    put_many(&cluster, 0, "before").await;
    cluster.kill(2);
    let copy = Copy::of(&cluster.data_dir(2));
    // Stopped, it meets nobody.
    cluster.signal(1, Signal::STOP);
    cluster.start_one(2);
    put_many(&cluster, 2, "acknowledged").await;
    cluster.kill(2);
    let id = *lineage_of(cluster.place(2)).ids.last().unwrap();
    cluster.signal(1, Signal::CONT);
    let known = cluster.member(1).data_dir().join("member/wal/incarnations");
    until("what member 0 has met to be told", async || {
        let bytes = fs::read(&known).unwrap_or_default();
        bytes.windows(8).any(|bytes| bytes == id.to_le_bytes())
    })
    .await;
    cluster.kill(0);
    copy.put_back(&cluster.data_dir(2));
    assert_told(&cluster.refusal(2));
    cluster.start_one(0);
    cluster.leader(&[0, 1]).await;
    assert_many(&cluster, 1, "acknowledged", Some("written")).await;
}

/// What a member has on disk of its own starts.
fn lineage_of(place: &Place) -> Lineage {
    let file = fs::read(place.data_dir().join("member/wal/incarnations")).unwrap();
    let number = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
    let count = u32::from_le_bytes(file[12..16].try_into().unwrap()) as usize;
    Lineage {
        first: number(24),
        ids: (0..count).map(|place| number(32 + 8 * place)).collect(),
    }
}

/// A copy of a disk that was made while the member ran may come back as itself, and acknowledge what the
/// leader never had. Here that is said in its name.
#[tokio::test]
async fn a_member_that_acknowledges_more_than_its_leader_has_raises_the_alarm() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader(&[0, 1, 2]).await;
    let forged = (leader + 1) % 3;
    cluster.settle().await;
    let mut clients = cluster.clients(forged).await;
    let header = status(&mut clients).await.unwrap().header.unwrap();
    let to = status(&mut cluster.clients(leader).await).await.unwrap();
    cluster.kill(forged);
    let lineage = lineage_of(cluster.place(forged));
    let number = lineage.first + lineage.ids.len() as u64 - 1;
    let incarnation = format!("{number}-{:016x}", lineage.ids.last().unwrap());
    let headers = [
        ("cairn-cluster-id", format!("{:x}", header.cluster_id)),
        ("cairn-member-id", format!("{:x}", header.member_id)),
        ("cairn-version", "3.7.1".to_owned()),
        ("cairn-incarnation", incarnation),
        ("cairn-lane", "quick".to_owned()),
    ];
    let endpoint = Endpoint::from_shared(cluster.peer_url(leader)).unwrap();
    let mut peer = PeerClient::new(endpoint.connect().await.unwrap());
    let lineage = Some(lineage);
    let mut call = tonic::Request::new(VersionRequest {
        lineage,
        met: Vec::new(),
    });
    for (name, value) in &headers {
        call.metadata_mut().insert(*name, value.parse().unwrap());
    }
    peer.version(call).await.unwrap();
    let message = raftpb::Message {
        r#type: Some(raftpb::MessageType::MsgAppResp.into()),
        from: Some(header.member_id),
        to: Some(to.leader),
        term: Some(to.raft_term),
        index: Some(1_000_000),
        ..raftpb::Message::default()
    };
    let messages = vec![message];
    let mut call = tonic::Request::new(tokio_stream::once(RaftMessages { messages }));
    for (name, value) in &headers {
        call.metadata_mut().insert(*name, value.parse().unwrap());
    }
    peer.raft(call).await.unwrap();
    let clients = cluster.clients(leader).await;
    until("the alarm", async || {
        let list = AlarmRequest {
            action: AlarmAction::Get.into(),
            ..AlarmRequest::default()
        };
        let listed = clients.maintenance.clone().alarm(list).await;
        let raised = listed.unwrap().into_inner().alarms;
        raised
            .iter()
            .any(|it| it.member_id == header.member_id && it.alarm == i32::from(AlarmType::Corrupt))
    })
    .await;
    let log = cluster.member(leader).log();
    assert!(
        log.contains("a member has another history than this leader"),
        "{log}"
    );
}
