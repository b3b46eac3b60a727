//! Changes of the members, as their API asks for them: etcd's checks, then the log.
//!
//! What must be the same on every member is checked when the change is applied
//! ([`cairn_replica::membership`]). Here is what only one member knows: whom it has been connected
//! to, and how far a learner is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cairn_consensus::MemberId;
use cairn_proto::etcdserverpb::{self, MemberPromoteRequest};
use cairn_replica::apply::Outcome;
use cairn_replica::consensus::Proposal;
use cairn_replica::identity::member_added_at;
use cairn_replica::membership::{self, MemberChange, MembershipError};
use tokio::sync::oneshot;
use tonic::{Code, Status};

use super::{ConsensusInput, Member, Reply, Request};
use crate::logging::Chain;
use crate::member::error::{Error, NOT_LEADER_TEXT, ProposeError, ReconfigurationError};
use crate::settings::Url;

/// How long members must have been connected for their votes to be counted on; etcd's time.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);
/// How much of the leader's log a learner must have to be promoted, in hundredths; etcd's share.
const READY_PERCENT: u64 = 90;

/// All members, after a change.
type Members = Vec<etcdserverpb::Member>;

/// Which changes of the members are let through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reconfiguration {
    /// Refuse what could cost the quorum.
    pub is_strict: bool,
    /// Learners that there may be at a time.
    pub learners_max: usize,
}

impl Member {
    /// Adds a member that is reached at `peer_urls`: it, and all members.
    ///
    /// # Errors
    ///
    /// [`ReconfigurationError`], or why the change did not get through the log.
    pub(crate) async fn add_member(
        &self,
        peer_urls: &[String],
        is_learner: bool,
    ) -> Result<(membership::Member, Members), Error> {
        let peer_urls = parse_peer_urls(peer_urls)?;
        // etcd leaves the token out of an ID that is made at run time.
        let id = member_added_at(&peer_urls, "", unix_secs());
        let member = membership::Member {
            id,
            peer_urls,
            is_learner,
            name: String::new(),
            client_urls: Vec::new(),
        };
        self.may_add(is_learner)?;
        let change = MemberChange::Add {
            member: member.clone(),
            learners_max: self.limits.reconfiguration.learners_max,
        };
        Ok((member, self.change_members(&change).await?))
    }

    /// Removes a member for good: all others.
    ///
    /// # Errors
    ///
    /// As [`Member::add_member`].
    pub(crate) async fn remove_member(&self, id: u64) -> Result<Members, Error> {
        let id = known_id(id)?;
        self.may_remove(id)?;
        self.change_members(&MemberChange::Remove(id)).await
    }

    /// Notes that a member is reached elsewhere: all members.
    ///
    /// # Errors
    ///
    /// As [`Member::add_member`].
    pub(crate) async fn update_member(
        &self,
        id: u64,
        peer_urls: &[String],
    ) -> Result<Members, Error> {
        let id = known_id(id)?;
        // etcd takes what it is given here, as long as it is an address at all.
        let peer_urls = parse_peer_urls(peer_urls)?;
        let change = MemberChange::Update { id, peer_urls };
        self.change_members(&change).await
    }

    /// Gives a learner a vote, once it is in sync: all members. Only the leader knows that, so it is
    /// asked.
    ///
    /// # Errors
    ///
    /// As [`Member::promote_here`], and [`Error::Leader`].
    pub(crate) async fn promote_member(&self, id: u64) -> Result<Members, Error> {
        const RETRY: Duration = Duration::from_millis(50);

        let asking = async {
            loop {
                match self.promote_here(id).await {
                    Err(Error::Reconfiguration(ReconfigurationError::NotLeader)) => {}
                    here => return here,
                }
                let leader = self.progress.leader();
                let client = leader.and_then(|leader| self.peers.client(leader).ok());
                if let Some(mut client) = client {
                    let asked = client.member_promote(MemberPromoteRequest { id }).await;
                    match asked {
                        Ok(answer) => return Ok(answer.into_inner().members),
                        Err(status) if is_final(&status) => return Err(Error::Leader(status)),
                        Err(status) => {
                            tracing::debug!(status = %Chain(&status), "the leader does not answer");
                        }
                    }
                }
                tokio::time::sleep(RETRY).await;
            }
        };
        let answer = tokio::time::timeout(self.limits.request_timeout, asking).await;
        answer.unwrap_or_else(|_| Err(ProposeError::Timeout.into()))
    }

    /// Promotes a learner as the leader.
    ///
    /// # Errors
    ///
    /// As [`Member::add_member`]; [`ReconfigurationError::NotLeader`] if this member does not lead.
    pub(crate) async fn promote_here(&self, id: u64) -> Result<Members, Error> {
        let id = known_id(id)?;
        self.check_in_sync(id).await?;
        self.may_promote()?;
        let members = self.change_members(&MemberChange::Promote(id)).await?;
        self.metrics.server_learner_promote_successes.inc();
        Ok(members)
    }

    fn may_add(&self, is_learner: bool) -> Result<(), ReconfigurationError> {
        if !self.limits.reconfiguration.is_strict {
            return Ok(());
        }
        let voters = Voters::of(self);
        // A cluster of one may grow in any state: this is how a restored one begins.
        let begins = voters.all == 1 && voters.started == 1;
        if !is_learner && !begins && voters.started < quorum(voters.all + 1) {
            return Err(ReconfigurationError::NotEnoughStarted);
        }
        if voters.all > 1 && voters.connected < quorum(voters.all + 1) {
            return Err(ReconfigurationError::Unhealthy);
        }
        Ok(())
    }

    fn may_remove(&self, id: MemberId) -> Result<(), ReconfigurationError> {
        if !self.limits.reconfiguration.is_strict {
            return Ok(());
        }
        let membership = self.membership();
        if membership.get(id).is_some_and(|member| member.is_learner) {
            return Ok(());
        }
        let voters = Voters::of(self);
        let others = membership.voters().filter(|(other, _)| *other != id);
        let (mut left, mut left_started) = (0, 0);
        for (_, member) in others {
            left += 1;
            left_started += usize::from(is_started(member));
        }
        if left_started < quorum(left) {
            return Err(ReconfigurationError::NotEnoughStarted);
        }
        // One that is down already takes nothing from those who are up.
        if id != self.identity.member && self.activity.active_since(id).is_none() {
            return Ok(());
        }
        if voters.connected.saturating_sub(1) < quorum(voters.all.saturating_sub(1)) {
            return Err(ReconfigurationError::Unhealthy);
        }
        Ok(())
    }

    fn may_promote(&self) -> Result<(), ReconfigurationError> {
        if !self.limits.reconfiguration.is_strict {
            return Ok(());
        }
        let voters = Voters::of(self);
        if voters.started + 1 < quorum(voters.all + 1) {
            return Err(ReconfigurationError::NotEnoughStarted);
        }
        Ok(())
    }

    async fn check_in_sync(&self, id: MemberId) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        let asked = self.consensus.try_send(ConsensusInput::Matched(reply));
        asked.map_err(|_| ProposeError::Stopped)?;
        let matched = answer.await.map_err(|_| ProposeError::Stopped)?;
        let Some(matched) = matched else {
            return Err(ReconfigurationError::NotLeader.into());
        };
        if id == self.identity.member {
            // A leader is no learner: applying says so.
            return Ok(());
        }
        let Some(learner) = matched.members.get(&id) else {
            return Err(MembershipErrorOf(MembershipError::IdNotFound).into());
        };
        if learner.get() * 100 < matched.last.get() * READY_PERCENT {
            return Err(ReconfigurationError::LearnerNotReady.into());
        }
        Ok(())
    }

    async fn change_members(&self, change: &MemberChange) -> Result<Members, Error> {
        let id = self.request_ids.next();
        let (reply, answer) = Reply::channel();
        let request = Request {
            id,
            proposal: Proposal::ConfChange(change.to_conf_change(id)),
            reply,
        };
        match self.submit(request, answer).await? {
            Outcome::Members(members) => Ok(members),
            // Applying answers a change of the members with the members.
            _ => Err(ProposeError::Stopped.into()),
        }
    }
}

/// A refusal by the rules that every member knows.
struct MembershipErrorOf(MembershipError);

impl From<MembershipErrorOf> for Error {
    fn from(error: MembershipErrorOf) -> Self {
        Self::Apply(error.0.into())
    }
}

/// How many vote, and how many of them can be counted on.
struct Voters {
    all: usize,
    /// Those that have said their name.
    started: usize,
    /// Those that this member has been connected to for a while, itself among them.
    connected: usize,
}

impl Voters {
    fn of(member: &Member) -> Self {
        let mut voters = Self {
            all: 0,
            started: 0,
            connected: 0,
        };
        for (id, voter) in member.membership().voters() {
            let is_connected =
                id == member.identity.member || member.activity.is_active_for(id, HEALTH_INTERVAL);
            voters.all += 1;
            voters.started += usize::from(is_started(voter));
            voters.connected += usize::from(is_connected);
        }
        voters
    }
}

/// Whether asking another leader would give the same answer.
fn is_final(status: &Status) -> bool {
    let is_refusal = matches!(
        status.code(),
        Code::FailedPrecondition | Code::NotFound | Code::InvalidArgument | Code::Unknown
    );
    is_refusal && status.message() != NOT_LEADER_TEXT
}

/// A member that has never started has told nobody its name.
const fn is_started(member: &membership::Member) -> bool {
    !member.name.is_empty()
}

const fn quorum(members: usize) -> usize {
    members / 2 + 1
}

fn known_id(id: u64) -> Result<MemberId, Error> {
    MemberId::from_wire(id).ok_or_else(|| MembershipErrorOf(MembershipError::IdNotFound).into())
}

fn parse_peer_urls(given: &[String]) -> Result<Vec<String>, ReconfigurationError> {
    let urls: Result<Vec<_>, _> = given.iter().map(|url| Url::parse(url)).collect();
    let urls = urls.map_err(|_| ReconfigurationError::BadUrls)?;
    if urls.is_empty() {
        return Err(ReconfigurationError::BadUrls);
    }
    let mut urls: Vec<_> = urls.iter().map(|url| url.as_str().to_owned()).collect();
    urls.sort_unstable();
    Ok(urls)
}

fn unix_secs() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
