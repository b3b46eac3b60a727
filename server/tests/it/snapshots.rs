//! Databases on their way to a member that is far behind, and what may become of them.

use std::net::SocketAddr;

use rustix::process::Signal;

use crate::cluster_harness::{Cluster, get, put};
use crate::gate::{Gate, Rule, Way};
use crate::harness::until;
use crate::metrics::total;

/// Little log is kept, so that whoever misses a few entries needs a database.
const FLAGS: [&str; 2] = ["--snapshot-count=20", "--snapshot-catchup-entries=5"];
/// Several chunks, and more than [`Gate`] takes for anything but a database.
const VALUE_BYTES: usize = 100 << 10;
const VALUES: usize = 60;

/// A cluster of three, of which one follower is behind a gate that was shut while all was written.
struct Behind {
    cluster: Cluster,
    gate: Gate,
    number: usize,
    leader: usize,
}

impl Behind {
    async fn start() -> Self {
        let mut gates = Vec::new();
        let cluster = Cluster::start_advertised("http", 3, &FLAGS, |_, address: SocketAddr| {
            gates.push(Gate::before(address));
            gates.last().unwrap().address()
        });
        let leader = cluster.leader(&[0, 1, 2]).await;
        let number = (leader + 1) % 3;
        let gate = gates.swap_remove(number);
        cluster.settle().await;
        gate.set(Rule::Refuse);
        let mut clients = cluster.clients(leader).await;
        let value = "v".repeat(VALUE_BYTES);
        for number in 0..VALUES {
            let key = format!("k{number}");
            put(&mut clients, &key, &value).await.unwrap();
        }
        // The log is shortened beside the requests: many times, while these are written.
        for more in 0..200 {
            put(&mut clients, "more", &more.to_string()).await.unwrap();
        }
        let others: Vec<_> = (0..3).filter(|other| *other != number).collect();
        let leader = cluster.leader(&others).await;
        Self {
            cluster,
            gate,
            number,
            leader,
        }
    }

    fn log(&self) -> String {
        self.cluster.member(self.number).log()
    }

    /// Waits until the member is as all others, and looks at what is left of databases.
    async fn assert_caught_up(&self) {
        self.cluster.settle().await;
        let mut clients = self.cluster.clients(self.number).await;
        let last = format!("k{}", VALUES - 1);
        let value = get(&mut clients, &last).await.unwrap().unwrap();
        assert_eq!(value.len(), VALUE_BYTES);
        assert!(self.log().contains("applied snapshot"));
        let directory = self.cluster.member(self.number).data_dir();
        let saved = "etcd_snap_db_save_total_duration_seconds_count";
        assert!(total(self.cluster.member(self.number), saved) > 0.0);
        let files = std::fs::read_dir(directory.join("member/snap")).unwrap();
        let mut names: Vec<_> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.retain(|name| name.contains("receiv"));
        assert_eq!(names, [""; 0]);
    }
}

#[tokio::test]
async fn a_database_that_breaks_off_or_is_spoilt_on_its_way_is_sent_anew() {
    for way in [Way::Cut, Way::Flip] {
        let behind = Behind::start().await;
        behind.gate.set(Rule::Spoil(way, 2));
        behind.assert_caught_up().await;
        assert_eq!(behind.gate.spoilt(), 2, "{way:?}");
        let log = behind.log();
        let failures = log.matches("failed to receive database snapshot").count();
        assert_eq!(failures, 2, "{way:?}");
    }
}

#[tokio::test]
async fn a_member_that_is_killed_while_it_receives_a_database_gets_another() {
    let mut behind = Behind::start().await;
    behind.gate.set(Rule::Spoil(Way::Hold, 1));
    until("half of a database", async || behind.gate.spoilt() == 1).await;
    behind.cluster.kill(behind.number);
    behind.gate.set(Rule::Pass);
    behind.cluster.start_one(behind.number);
    behind.assert_caught_up().await;
}

#[tokio::test]
async fn a_member_that_is_asked_to_stop_while_it_receives_a_database_ends_and_gets_another() {
    let mut behind = Behind::start().await;
    behind.gate.set(Rule::Spoil(Way::Hold, 1));
    until("half of a database", async || behind.gate.spoilt() == 1).await;
    behind.cluster.signal(behind.number, Signal::TERM);
    // Without waiting for the rest, which never comes.
    behind.cluster.ended(behind.number);
    behind.gate.set(Rule::Pass);
    behind.cluster.start_one(behind.number);
    behind.assert_caught_up().await;
}

#[tokio::test]
async fn a_leader_that_is_killed_while_it_sends_its_database_leaves_that_to_the_next() {
    let mut behind = Behind::start().await;
    behind.gate.set(Rule::Spoil(Way::Hold, 1));
    until("half of a database", async || behind.gate.spoilt() == 1).await;
    behind.cluster.kill(behind.leader);
    behind.gate.set(Rule::Pass);
    until("a database of the next leader", async || {
        behind.log().contains("applied snapshot")
    })
    .await;
    behind.cluster.start_one(behind.leader);
    behind.assert_caught_up().await;
}
