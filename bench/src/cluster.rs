//! A cluster started here: some members run, others are down and can be started again.

mod member;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

pub use member::Member;

use crate::endpoint::Endpoint;
use crate::probe;
use crate::running_server::RunningServer;
use crate::server_command::ServerCommand;
use crate::server_process::ServerProcess;
use crate::target::Target;

/// How long members may take to agree on a leader.
const LEADER_MAX: Duration = Duration::from_secs(60);
/// How often they are asked for it.
const LEADER_RETRY: Duration = Duration::from_millis(20);

/// Members of one cluster; those that run are killed when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    slots: Vec<Slot>,
}

/// A member, and its process while it runs.
#[derive(Debug)]
struct Slot {
    member: Member,
    process: Option<RunningServer>,
}

impl Slot {
    fn running(&self) -> Result<&RunningServer> {
        self.process.as_ref().context("the server is gone")
    }
}

impl Cluster {
    /// Starts so many members with fresh data under `home`, and waits until each answers a
    /// linearizable read.
    ///
    /// # Errors
    ///
    /// If one cannot be started or does not answer.
    pub fn start(command: &ServerCommand, home: &Path, members: usize) -> Result<Self> {
        let members = Member::several(command, home, members.max(1))?;
        let slots = members.into_iter().map(|member| Slot {
            member,
            process: None,
        });
        let mut cluster = Self {
            slots: slots.collect(),
        };
        cluster.start_all()?;
        Ok(cluster)
    }

    /// Starts all members, which are down, and returns the time until the last of them answers.
    fn start_all(&mut self) -> Result<Duration> {
        for slot in &mut self.slots {
            slot.process = Some(slot.member.spawn()?);
        }
        let mut slowest = Duration::ZERO;
        for slot in &mut self.slots {
            if let Some(server) = &mut slot.process {
                server.wait_until_ready()?;
                slowest = slowest.max(server.ready_after());
            }
        }
        Ok(slowest)
    }

    /// Asks all members that run to end, and waits until they have.
    ///
    /// # Errors
    ///
    /// If one does not end.
    pub fn stop(&mut self) -> Result<()> {
        let slots = self.slots.iter_mut();
        let running: Vec<_> = slots.filter_map(|slot| slot.process.take()).collect();
        for server in &running {
            server.process().terminate()?;
        }
        running
            .into_iter()
            .try_for_each(RunningServer::wait_until_ended)
    }

    /// Ends and starts all members; returns the time until the last of them answers.
    ///
    /// # Errors
    ///
    /// If one does not end, or does not answer.
    pub fn restart(&mut self) -> Result<Duration> {
        self.stop()?;
        self.start_all()
    }

    /// Kills a member without a word (SIGKILL).
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn kill(&mut self, number: usize) -> Result<()> {
        let server = self.slot_mut(number)?.process.take();
        server.context("the server is gone")?.kill()
    }

    /// Starts a member that is down, and does not wait for anything but its process.
    ///
    /// # Errors
    ///
    /// If it runs already, or cannot be started.
    pub fn revive(&mut self, number: usize) -> Result<&mut RunningServer> {
        let slot = self.slot_mut(number)?;
        ensure!(slot.process.is_none(), "member {number} runs already");
        Ok(slot.process.insert(slot.member.spawn()?))
    }

    /// The directory of the first member's data and log.
    ///
    /// # Errors
    ///
    /// Never: there is at least one member.
    pub fn home(&self) -> Result<&Path> {
        Ok(self.slots.first().context("no member")?.member.home())
    }

    /// Where a member listens while it runs.
    ///
    /// # Errors
    ///
    /// If there is no such member.
    pub fn endpoint(&self, number: usize) -> Result<Endpoint> {
        let slot = self.slots.get(number).context("no such member")?;
        Ok(slot.member.client())
    }

    /// Where all members but one listen.
    #[must_use]
    pub fn others(&self, number: usize) -> Vec<Endpoint> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(other, _)| *other != number)
            .map(|(_, slot)| slot.member.client())
            .collect()
    }

    /// The processes of the members that run.
    #[must_use]
    pub fn processes(&self) -> Vec<ServerProcess> {
        let running = self.slots.iter().filter_map(|slot| slot.process.as_ref());
        running.map(RunningServer::process).collect()
    }

    /// All members that run, for load that is spread over them; what they cost together counts.
    ///
    /// # Errors
    ///
    /// If none runs.
    pub fn all(&self) -> Result<Target> {
        let running = self.slots.iter().filter_map(|slot| slot.process.as_ref());
        let endpoints = running.map(RunningServer::endpoint).collect();
        Ok(Target::new(endpoints)
            .context("no member runs")?
            .with_processes(self.processes()))
    }

    /// One member for the load, and what all of them together cost.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn one(&self, number: usize) -> Result<Target> {
        let slot = self.slots.get(number).context("no such member")?;
        Ok(Target::one(slot.running()?.endpoint()).with_processes(self.processes()))
    }

    /// The number of the member that says that it leads.
    ///
    /// # Errors
    ///
    /// If none that runs says so for a minute.
    pub fn leader(&self) -> Result<usize> {
        let deadline = Instant::now() + LEADER_MAX;
        loop {
            for (number, slot) in self.slots.iter().enumerate() {
                if slot.process.is_some() && probe::leads(slot.member.client()).unwrap_or(false) {
                    return Ok(number);
                }
            }
            ensure!(Instant::now() < deadline, "no member leads");
            std::thread::sleep(LEADER_RETRY);
        }
    }

    fn slot_mut(&mut self, number: usize) -> Result<&mut Slot> {
        self.slots.get_mut(number).context("no such member")
    }
}
