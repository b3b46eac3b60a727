//! Several members on this machine, for a test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use cairn_proto::etcdserverpb::{
    HashKvRequest, PutRequest, RangeRequest, StatusRequest, StatusResponse,
};
use cairn_testbed::ports::free_address;
use rustix::process::Signal;
use tonic::Status;

use crate::harness::{Clients, Place, Refusal, Server, until};

/// A cluster whose members come and go.
pub(crate) struct Cluster {
    slots: Vec<Slot>,
    peer_urls: Vec<String>,
}

/// A member, running or not.
enum Slot {
    Running(Server),
    Down(Place),
    /// While it is started or killed.
    Moving,
}

impl Cluster {
    /// Starts a cluster of `size` members with further flags, and returns when all serve.
    pub(crate) fn start(size: usize, flags: &[&str]) -> Self {
        Self::start_over("http", size, flags)
    }

    /// The same, with peer URLs of this scheme.
    pub(crate) fn start_over(scheme: &str, size: usize, flags: &[&str]) -> Self {
        Self::start_advertised(scheme, size, flags, |_, address| address)
    }

    /// The same, with members that others reach where `advertised` says, by their number and the
    /// address that they listen at.
    pub(crate) fn start_advertised(
        scheme: &str,
        size: usize,
        flags: &[&str],
        mut advertised: impl FnMut(usize, SocketAddr) -> SocketAddr,
    ) -> Self {
        let addresses: Vec<_> = (0..size).map(|_| free_address().unwrap()).collect();
        let urls: Vec<_> = addresses
            .iter()
            .enumerate()
            .map(|(number, address)| format!("{scheme}://{}", advertised(number, *address)))
            .collect();
        let names = urls.iter().enumerate();
        let initial: Vec<_> = names.map(|(n, url)| format!("m{n}={url}")).collect();
        let initial = initial.join(",");
        let slots = urls.iter().enumerate().map(|(number, url)| {
            let name = format!("m{number}");
            let listen = format!("{scheme}://{}", addresses[number]);
            let mut all = vec!["--name", &name, "--listen-peer-urls", &listen];
            all.extend(["--initial-advertise-peer-urls", url]);
            all.extend(["--initial-cluster", &initial]);
            all.extend(flags);
            Slot::Down(Place::new(&all))
        });
        let mut cluster = Self {
            slots: slots.collect(),
            peer_urls: urls.clone(),
        };
        cluster.start_all();
        cluster
    }

    /// Starts all members that are down; they may need each other to come up.
    pub(crate) fn start_all(&mut self) {
        let all: Vec<_> = (0..self.size()).collect();
        self.start_these(&all);
    }

    /// Starts those of `numbers` that are down; they may need each other to come up.
    pub(crate) fn start_these(&mut self, numbers: &[usize]) {
        let starting: Vec<_> = std::mem::take(&mut self.slots)
            .into_iter()
            .enumerate()
            .map(|(number, slot)| {
                let is_wanted = numbers.contains(&number);
                thread::spawn(move || match slot {
                    Slot::Down(place) if is_wanted => Slot::Running(place.start()),
                    other => other,
                })
            })
            .collect();
        let started = starting.into_iter().map(|thread| thread.join().unwrap());
        self.slots = started.collect();
    }

    pub(crate) fn start_one(&mut self, number: usize) {
        let slot = std::mem::replace(&mut self.slots[number], Slot::Moving);
        self.slots[number] = match slot {
            Slot::Down(place) => Slot::Running(place.start()),
            other => other,
        };
    }

    /// Starts a member that cannot serve before others are there; [`Self::begun`] waits for it.
    pub(crate) fn begin(&mut self, number: usize) -> JoinHandle<Server> {
        match std::mem::replace(&mut self.slots[number], Slot::Moving) {
            Slot::Down(place) => thread::spawn(move || place.start()),
            Slot::Running(_) | Slot::Moving => panic!("member {number} is up"),
        }
    }

    pub(crate) fn begun(&mut self, number: usize, server: JoinHandle<Server>) {
        self.slots[number] = Slot::Running(server.join().unwrap());
    }

    /// Has a member that is down started with further flags from now on.
    pub(crate) fn add_flags(&mut self, number: usize, flags: &[&str]) {
        match &mut self.slots[number] {
            Slot::Down(place) => place.add_flags(flags),
            Slot::Running(_) | Slot::Moving => panic!("member {number} is up"),
        }
    }

    /// Where the data of a member that is down is.
    pub(crate) fn data_dir(&self, number: usize) -> PathBuf {
        match &self.slots[number] {
            Slot::Down(place) => place.data_dir(),
            Slot::Running(_) | Slot::Moving => panic!("member {number} is up"),
        }
    }

    /// Kills a member as `kill -9` does.
    pub(crate) fn kill(&mut self, number: usize) {
        let slot = std::mem::replace(&mut self.slots[number], Slot::Moving);
        self.slots[number] = match slot {
            Slot::Running(server) => Slot::Down(server.kill()),
            other => other,
        };
    }

    /// Waits until a member has ended by itself.
    pub(crate) fn ended(&mut self, number: usize) {
        let slot = std::mem::replace(&mut self.slots[number], Slot::Moving);
        self.slots[number] = match slot {
            Slot::Running(server) => Slot::Down(server.ended().1),
            other => other,
        };
    }

    /// What a member that is down and cannot start says.
    pub(crate) fn refusal(&self, number: usize) -> Refusal {
        self.place(number).refusal()
    }

    /// Where a member that is down has its data.
    pub(crate) fn place(&self, number: usize) -> &Place {
        match &self.slots[number] {
            Slot::Down(place) => place,
            Slot::Running(_) | Slot::Moving => panic!("member {number} is up"),
        }
    }

    pub(crate) fn peer_url(&self, number: usize) -> String {
        self.peer_urls[number].clone()
    }

    pub(crate) fn size(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn member(&self, number: usize) -> &Server {
        match &self.slots[number] {
            Slot::Running(server) => server,
            Slot::Down(_) | Slot::Moving => panic!("member {number} is down"),
        }
    }

    pub(crate) fn signal(&self, number: usize, signal: Signal) {
        self.member(number).signal(signal);
    }

    pub(crate) async fn clients(&self, number: usize) -> Clients {
        self.member(number).clients().await
    }

    /// Those that are up.
    pub(crate) fn running(&self) -> Vec<usize> {
        let is_running = |number: &usize| matches!(self.slots[*number], Slot::Running(_));
        (0..self.size()).filter(is_running).collect()
    }

    /// Waits until all of `among` know the same leader, which is one of them.
    pub(crate) async fn leader(&self, among: &[usize]) -> usize {
        let mut found = None;
        until("a leader that all know", async || {
            let mut statuses = Vec::new();
            for number in among {
                let Ok(status) = status(&mut self.clients(*number).await).await else {
                    return false;
                };
                statuses.push((*number, status));
            }
            let leader = statuses[0].1.leader;
            let is_known = statuses.iter().all(|(_, status)| status.leader == leader);
            let is = |status: &StatusResponse| {
                status.header.as_ref().map(|header| header.member_id) == Some(leader)
            };
            let lead = statuses.iter().find(|(_, status)| is(status));
            found = lead.filter(|_| is_known).map(|(number, _)| *number);
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Waits until all members that are up have the same data.
    pub(crate) async fn settle(&self) {
        until("equal hashes on all members", async || {
            let mut hashes = Vec::new();
            for number in self.running() {
                let mut clients = self.clients(number).await;
                let hash = clients.maintenance.hash_kv(HashKvRequest::default()).await;
                let Ok(hash) = hash else { return false };
                let hash = hash.into_inner();
                let revision = hash.header.map(|header| header.revision);
                hashes.push((revision, hash.compact_revision, hash.hash));
            }
            hashes.windows(2).all(|pair| pair[0] == pair[1])
        })
        .await;
    }
}

pub(crate) async fn status(clients: &mut Clients) -> Result<StatusResponse, Status> {
    let answer = clients.maintenance.status(StatusRequest::default()).await;
    answer.map(tonic::Response::into_inner)
}

pub(crate) async fn put(clients: &mut Clients, key: &str, value: &str) -> Result<i64, Status> {
    let put = PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    };
    let answer = clients.kv.put(put).await?.into_inner();
    Ok(answer.header.unwrap().revision)
}

/// Reads a key, linearizably.
pub(crate) async fn get(clients: &mut Clients, key: &str) -> Result<Option<String>, Status> {
    let range = RangeRequest {
        key: key.to_owned().into(),
        ..RangeRequest::default()
    };
    let answer = clients.kv.range(range).await?.into_inner();
    let value = answer.kvs.into_iter().next().map(|kv| kv.value);
    Ok(value.map(|value| String::from_utf8(value.to_vec()).unwrap()))
}
