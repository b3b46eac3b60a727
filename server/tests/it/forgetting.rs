//! Members whose data directory went back: they have forgotten what they acknowledged and voted for,
//! are told so, and never take part again.

use std::fs;
use std::path::{Path, PathBuf};

use cairn_proto::etcdserverpb::{MemberAddRequest, MemberListRequest, MemberRemoveRequest};
use tempfile::TempDir;

use crate::cluster_harness::{Cluster, get, put, status};
use crate::harness::{Refusal, until};

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
    let add = MemberAddRequest {
        peer_urls: urls,
        is_learner: false,
    };
    until("an addition", async || {
        clients.cluster.member_add(add.clone()).await.is_ok()
    })
    .await;
    let data_dir = cluster.data_dir(2);
    if data_dir.exists() {
        fs::remove_dir_all(data_dir).unwrap();
    }
    cluster.add_flags(2, &["--initial-cluster-state", "existing"]);
    cluster.start_one(2);
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
