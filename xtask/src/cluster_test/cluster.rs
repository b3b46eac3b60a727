//! The cluster under test: its members, and what can be done to them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cairn_history::{IncidentKind, MemberId, Outcome, RangeRequest, Request, Revision};
use cairn_proto::etcdserverpb as pb;
use cairn_proto::etcdserverpb::cluster_client::ClusterClient;
use cairn_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use tonic::{Code, Status};

use super::call::call;
use super::endpoints::{Endpoint, Endpoints};
use super::member::{self, Joining, Member};
use super::network::{Network, Place};
use super::recorder::Recorder;
use crate::server_process::ServerCommand;

/// How a new member ends if the others are not up when it is to learn who they are.
const MET_NOBODY: &str = "could not retrieve cluster information from the given URLs";
/// How long a healed cluster may take until it serves.
const READY_MAX: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(100);
/// How long a change of membership is tried: the members must know each other for a while before.
const CHANGE_MAX: Duration = Duration::from_secs(20);
const CHANGE_POLL: Duration = Duration::from_millis(500);
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long members may take until all have met one that serves.
const MEETING: Duration = Duration::from_secs(3);
/// What a member says that has forgotten.
const TOLD: [&str; 3] = [
    "as a later incarnation of its data directory",
    "has run before, and there is nothing of it",
    "has already been bootstrapped",
];

/// How a member forgets.
pub(crate) struct Forgetting {
    /// Its directory is emptied; otherwise it is an older copy.
    pub(crate) empties: bool,
    /// All others are down at the time.
    pub(crate) all_down: bool,
    /// How long it went on after the copy.
    pub(crate) after: Duration,
}

/// Members, network, and who is cut off from whom.
pub(crate) struct Cluster {
    members: Vec<Member>,
    network: Network,
    cuts: Vec<(Place, Place)>,
    server: ServerCommand,
    home: PathBuf,
    next: u64,
    /// Whose directory went back, until it is replaced.
    forgotten: Option<MemberId>,
    pub(crate) endpoints: Endpoints,
    pub(crate) recorder: Recorder,
}

impl Cluster {
    /// Starts a new cluster, and waits until it serves.
    pub(crate) async fn start(
        size: u64,
        mut network: Network,
        server: ServerCommand,
        home: PathBuf,
        recorder: Recorder,
    ) -> Result<Self> {
        let mut places = Vec::new();
        for number in 0..size {
            places.push((MemberId(number), network.place()?));
        }
        let entries = places.iter();
        let entries = entries.map(|(id, place)| Member::initial_entry(*id, place));
        let initial_cluster = entries.collect::<Vec<_>>().join(",");
        let mut cluster = Self {
            members: Vec::new(),
            network,
            cuts: Vec::new(),
            server,
            home,
            next: size,
            forgotten: None,
            endpoints: Endpoints::default(),
            recorder,
        };
        for (id, place) in places {
            let joining = Joining {
                initial_cluster: initial_cluster.clone(),
                is_new_cluster: true,
            };
            cluster.add(Member::new(
                id,
                place,
                &cluster.home,
                &cluster.server,
                joining,
            ))?;
        }
        cluster.wait_until_ready().await?;
        Ok(cluster)
    }

    fn add(&mut self, mut member: Member) -> Result<()> {
        member.start()?;
        self.recorder
            .incident(Some(member.id), IncidentKind::Started);
        self.endpoints
            .open(member.id, member.url(), member.channel()?);
        self.members.push(member);
        Ok(())
    }

    fn note(&self, member: Option<MemberId>, text: impl Into<String>) {
        self.recorder
            .incident(member, IncidentKind::Note(text.into()));
    }

    pub(crate) fn can_cut(&self) -> bool {
        self.network.can_cut()
    }

    pub(crate) fn ids(&self) -> Vec<MemberId> {
        self.members.iter().map(|member| member.id).collect()
    }

    fn member(&mut self, id: MemberId) -> Result<&mut Member> {
        let mut members = self.members.iter_mut();
        members
            .find(|member| member.id == id)
            .with_context(|| format!("there is no {id}"))
    }

    /// Kills a member (SIGKILL).
    pub(crate) fn kill(&mut self, id: MemberId) -> Result<()> {
        self.recorder.incident(Some(id), IncidentKind::Stopped);
        self.member(id)?.kill();
        Ok(())
    }

    /// Starts a member again.
    pub(crate) fn restart(&mut self, id: MemberId) -> Result<()> {
        self.member(id)?.start()?;
        self.recorder.incident(Some(id), IncidentKind::Started);
        Ok(())
    }

    /// Stops a member in whatever it does (SIGSTOP).
    pub(crate) fn pause(&mut self, id: MemberId) -> Result<()> {
        self.note(Some(id), "paused");
        self.member(id)?.pause();
        Ok(())
    }

    pub(crate) fn go_on(&mut self, id: MemberId) -> Result<()> {
        self.member(id)?.go_on();
        self.note(Some(id), "goes on");
        Ok(())
    }

    /// Sets a member's wall clock: so many seconds after the time that it is, or before.
    pub(crate) fn set_wall_clock(&mut self, id: MemberId, seconds: i64) -> Result<()> {
        self.note(Some(id), format!("its wall clock is {seconds:+} s wrong"));
        self.member(id)?.set_wall_clock(seconds)
    }

    /// How often members have said that their wall clock jumped, as their logs say.
    pub(crate) fn told_jumps(&self) -> usize {
        self.told("the wall clock has jumped")
    }

    /// Loses what a member sends to the others, and unless it is one way what they send to it.
    pub(crate) fn cut_off(&mut self, id: MemberId, is_one_way: bool) -> Result<()> {
        let text = if is_one_way {
            "what it sends to others is lost"
        } else {
            "cut off"
        };
        self.note(Some(id), text);
        let place = self.member(id)?.place.clone();
        let others = self.members.iter().filter(|member| member.id != id);
        let others: Vec<Place> = others.map(|member| member.place.clone()).collect();
        for other in others {
            self.network.cut(&place, &other)?;
            self.cuts.push((place.clone(), other.clone()));
            if !is_one_way {
                self.network.cut(&other, &place)?;
                self.cuts.push((other, place.clone()));
            }
        }
        Ok(())
    }

    /// Ends all cuts.
    pub(crate) fn heal_network(&mut self) -> Result<()> {
        if !self.cuts.is_empty() {
            self.note(None, "the network is whole");
        }
        for (from, to) in std::mem::take(&mut self.cuts) {
            self.network.heal(&from, &to)?;
        }
        Ok(())
    }

    /// How often members have installed a snapshot of another's data, those that are gone included, as
    /// their logs say.
    pub(crate) fn installations(&self) -> usize {
        self.told("applied snapshot")
    }

    /// How often a text is in the members' logs, those that are gone included.
    fn told(&self, said: &str) -> usize {
        let numbers = 0..self.next;
        let logs = numbers.map(|number| member::log_path(&self.home, MemberId(number)));
        logs.map(|path| {
            let text = std::fs::read(path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            text.matches(said).count()
        })
        .sum()
    }

    /// The member that leads, as any of them says.
    pub(crate) async fn leader(&self) -> Option<Endpoint> {
        for endpoint in self.endpoints.all() {
            let status = status(&endpoint).await;
            let leader = status.ok().map(|status| status.leader);
            if let Some(leader) = leader.and_then(|leader| self.endpoints.named(leader)) {
                return Some(leader);
            }
        }
        None
    }

    /// Asks the leader to hand over to another.
    pub(crate) async fn move_leader(&self, to: MemberId) -> Result<(), Status> {
        self.note(Some(to), "is to lead");
        let target = self.endpoints.all().into_iter().find(|it| it.member == to);
        let target = target.and_then(|endpoint| endpoint.raft_id);
        let (Some(leader), Some(target_id)) = (self.leader().await, target) else {
            return Err(Status::unavailable("nobody leads"));
        };
        let request = pb::MoveLeaderRequest { target_id };
        let mut client = MaintenanceClient::new(leader.channel);
        in_time(client.move_leader(request)).await.map(drop)
    }

    /// Kills a member for good, and has a new one in its stead.
    pub(crate) async fn replace(&mut self, id: MemberId) -> Result<()> {
        let endpoint = self.endpoints.all().into_iter().find(|it| it.member == id);
        let raft_id = endpoint.and_then(|endpoint| endpoint.raft_id);
        let raft_id = raft_id.with_context(|| format!("{id} never said its name"))?;
        self.kill(id)?;
        self.endpoints.close(id);
        // It never comes back, whatever becomes of the rest of this.
        self.forgotten = self.forgotten.filter(|forgotten| *forgotten != id);
        self.members.retain(|member| member.id != id);
        self.note(Some(id), "removed");
        self.change(async |mut client| {
            let id = raft_id;
            let request = pb::MemberRemoveRequest { id };
            in_time(client.member_remove(request)).await.map(drop)
        })
        .await?;

        let place = self.network.place()?;
        let new = MemberId(self.next);
        self.next += 1;
        self.note(Some(new), "added");
        let url = format!("http://{}", place.peer);
        self.change(async |mut client| {
            let request = pb::MemberAddRequest {
                peer_urls: vec![url.clone()],
                is_learner: false,
            };
            in_time(client.member_add(request)).await.map(drop)
        })
        .await?;
        let mut initial_cluster = self.initial_cluster();
        initial_cluster.push(',');
        initial_cluster.push_str(&Member::initial_entry(new, &place));
        let joining = Joining {
            initial_cluster,
            is_new_cluster: false,
        };
        self.add(Member::new(new, place, &self.home, &self.server, joining))
    }

    /// The list of the members that there are now.
    fn initial_cluster(&self) -> String {
        let entries = self.members.iter();
        let entries = entries.map(|member| Member::initial_entry(member.id, &member.place));
        entries.collect::<Vec<_>>().join(",")
    }

    /// Has a member's directory go back, and waits until the member has said so and ended.
    pub(crate) async fn forget(&mut self, id: MemberId, how: Forgetting) -> Result<()> {
        self.kill(id)?;
        let copy = self.member(id)?.copy_data()?;
        self.restart(id)?;
        self.wait_until_ready().await?;
        // All others must have met it: who has not cannot know what is forgotten.
        tokio::time::sleep(MEETING + how.after).await;
        let others: Vec<_> = self.ids().into_iter().filter(|it| *it != id).collect();
        self.kill(id)?;
        for other in others.iter().filter(|_| how.all_down) {
            self.kill(*other)?;
        }
        let text = if how.empties {
            "is emptied"
        } else {
            "is put back"
        };
        self.note(Some(id), format!("its directory {text}"));
        self.forgotten = Some(id);
        let initial_cluster = self.initial_cluster();
        let member = self.member(id)?;
        member.replace_data((!how.empties).then_some(copy.as_path()))?;
        // Whoever starts on an empty directory says who is in the cluster now.
        member.set_initial_cluster(initial_cluster);
        self.recorder.incident(Some(id), IncidentKind::DataReplaced);
        self.restart(id)?;
        for other in others.iter().filter(|_| how.all_down) {
            self.restart(*other)?;
        }
        self.until_told(id).await?;
        println!("note: {id} was told that its directory {text}");
        Ok(())
    }

    /// Waits until a member has ended and said why.
    async fn until_told(&mut self, id: MemberId) -> Result<()> {
        let deadline = self.recorder.now().0 + nanos(READY_MAX);
        loop {
            if self.recorder.now().0 > deadline {
                bail!("{id} runs on a directory that went back");
            }
            if self.member(id)?.is_started() {
                tokio::time::sleep(READY_POLL).await;
                continue;
            }
            let log = self.member(id)?.log_end();
            if TOLD.iter().any(|text| log.contains(text)) {
                self.recorder.incident(Some(id), IncidentKind::Stopped);
                return Ok(());
            }
            // The others may be about to start, or busy.
            if !log.contains(MET_NOBODY) {
                bail!("{id} ended without saying that its directory went back:\n{log}");
            }
            self.restart(id)?;
        }
    }

    /// Tries to change the membership, until it is done: by any member, for any may be behind.
    async fn change(
        &self,
        change: impl AsyncFn(ClusterClient<tonic::transport::Channel>) -> Result<(), Status>,
    ) -> Result<()> {
        let deadline = self.recorder.now().0 + nanos(CHANGE_MAX);
        loop {
            for endpoint in self.endpoints.all() {
                match change(ClusterClient::new(endpoint.channel)).await {
                    Ok(()) => return Ok(()),
                    // It was done, but the answer was lost.
                    Err(status) if is_done_already(&status) => return Ok(()),
                    Err(status) if status.code() == Code::Unimplemented => bail!("{status}"),
                    Err(status) if self.recorder.now().0 > deadline => bail!("{status}"),
                    Err(_) => tokio::time::sleep(CHANGE_POLL).await,
                }
            }
        }
    }

    /// Undoes all that was done, and waits until every member serves.
    pub(crate) async fn heal(&mut self) -> Result<()> {
        self.heal_network()?;
        for id in self.ids() {
            let member = self.member(id)?;
            if member.is_paused() {
                self.go_on(id)?;
            } else if !member.is_started() {
                self.restart(id)?;
            }
        }
        // The end of the load may come between what it forgot and its replacement.
        if let Some(id) = self.forgotten {
            self.until_told(id).await?;
            self.replace(id).await?;
        }
        self.wait_until_ready().await
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = self.recorder.now().0 + nanos(READY_MAX);
        let read = Request::get("ready");
        for id in self.ids() {
            loop {
                let channel = self.member(id)?.channel()?;
                let outcome = call(&channel, &read, &self.recorder).await;
                if matches!(outcome, Outcome::Ok(_)) {
                    break;
                }
                let is_late = self.recorder.now().0 > deadline;
                let member = self.member(id)?;
                let has_ended = !member.is_started();
                let met_nobody = has_ended && member.log_end().contains(MET_NOBODY);
                if is_late || (has_ended && !met_nobody) {
                    bail!("{id} does not serve: {outcome}\n{}", member.log_end());
                }
                if met_nobody {
                    self.restart(id)?;
                }
                tokio::time::sleep(READY_POLL).await;
            }
        }
        Ok(())
    }

    /// Waits until all members have applied what was done until now; the revision that they have.
    pub(crate) async fn wait_until_equal(&mut self) -> Result<Revision> {
        let deadline = self.recorder.now().0 + nanos(READY_MAX);
        let newest = self.revision(&Request::get("ready")).await?;
        let mut old = RangeRequest::new(cairn_history::KeyRange::One("ready".into()));
        old.serializable = true;
        let old = Request::Range(old);
        for endpoint in self.endpoints.all() {
            loop {
                let outcome = call(&endpoint.channel, &old, &self.recorder).await;
                let answer = outcome.answer();
                if answer.and_then(|answer| answer.revision) >= Some(newest) {
                    break;
                }
                if self.recorder.now().0 > deadline {
                    bail!("{} does not reach revision {newest}", endpoint.member);
                }
                tokio::time::sleep(READY_POLL).await;
            }
        }
        Ok(newest)
    }

    async fn revision(&self, request: &Request) -> Result<Revision> {
        let endpoints = self.endpoints.all();
        let endpoint = endpoints.first().context("there is no member")?;
        let outcome = call(&endpoint.channel, request, &self.recorder).await;
        let revision = outcome.answer().and_then(|answer| answer.revision);
        revision.with_context(|| format!("{}: {outcome}", endpoint.member))
    }
}

/// What a member says of itself.
pub(crate) async fn status(endpoint: &Endpoint) -> Result<pb::StatusResponse, Status> {
    let mut client = MaintenanceClient::new(endpoint.channel.clone());
    let response = in_time(client.status(pb::StatusRequest {})).await?;
    Ok(response.into_inner())
}

async fn in_time<T>(answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(ANSWER_MAX, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Status::deadline_exceeded("no answer in time")),
    }
}

fn is_done_already(status: &Status) -> bool {
    let text = status.message();
    text.contains("member not found") || text.contains("Peer URLs already exists")
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
