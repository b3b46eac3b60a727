//! Leases, as a member's API asks for them.

use std::time::Duration;

use bytes::Bytes;
use cairn_auth::Access;
use cairn_consensus::MemberId;
use cairn_index::Revision;
use cairn_lease::{LeaseId, Term, Ttl};
use cairn_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse, ResponseHeader,
};
use cairn_replica::apply::Outcome;
use cairn_replica::error::ApplyError;
use cairn_replica::lease_question::{KeepAlive, Step, TimeLeft, TimeToLive};
use cairn_replica::lease_request::LeaseRequest;
use cairn_replica::log_request::LogRequest;
use cairn_replica::quota;

use super::{Member, Role};
use crate::logging::Chain;
use crate::member::auth::{Caller, Permit};
use crate::member::error::{Error, MaintenanceError, ProposeError};

/// How long a member that has no leader waits before it looks again.
const LEADER_WAIT: Duration = Duration::from_millis(50);

/// What only the leader can answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LeaderQuestion {
    /// Renew a lease.
    KeepAlive(LeaseKeepAliveRequest),
    /// What is left of a lease.
    TimeToLive(LeaseTimeToLiveRequest),
}

/// What the leader answered.
#[derive(Clone, Debug)]
pub(crate) enum LeaderAnswer {
    /// To a renewal.
    KeepAlive(LeaseKeepAliveResponse),
    /// To what is left.
    TimeToLive(LeaseTimeToLiveResponse),
}

impl Member {
    /// Puts into a grant what the client left to the server: an id, and the shortest time to live.
    ///
    /// # Errors
    ///
    /// [`ProposeError::NoSpace`].
    pub(crate) fn complete_grant(
        &self,
        mut grant: LeaseGrantRequest,
    ) -> Result<LeaseGrantRequest, Error> {
        self.check_space(quota::LEASE_BYTES)?;
        while grant.id == 0 {
            // Positive, as etcd's are.
            grant.id = (self.request_ids.next().to_wire() & (u64::MAX >> 1)).cast_signed();
        }
        // One that is too long is refused when it is applied.
        if let Ok(ttl) = Ttl::from_wire(grant.ttl) {
            grant.ttl = ttl.max(self.leases.ttl_min()).to_wire();
        }
        Ok(grant)
    }

    /// Renews leases, here if this member leads and at the leader if not: their times to live, none
    /// for a lease that there is not.
    ///
    /// # Errors
    ///
    /// [`ProposeError`] if no leader answers in time, or what a forwarded renewal was told.
    pub(crate) async fn renew_leases(
        &self,
        ids: &[i64],
        caller: &Caller,
    ) -> Result<Vec<Option<i64>>, Error> {
        let allowed = self.permit_leases(ids, Access::Write, caller).await?;
        self.confirm(allowed)?;
        let asked = ids.iter().map(|id| LeaseId::from_wire(*id));
        let mut questions: Vec<_> = asked.map(|id| id.map(KeepAlive::new)).collect();
        let steps = questions.iter_mut().flatten();
        let steps: Vec<_> = steps.map(|it| self.keep_alive_step(it)).collect();
        // The group is asked once for all of them.
        if steps.contains(&Step::Confirm) {
            self.name_missing_leader(Ok(self.linearizable().await))?;
        }
        let mut answers = Vec::with_capacity(ids.len());
        for question in questions {
            answers.push(match question {
                Some(question) => self.keep_alive(question).await?,
                None => None,
            });
        }
        Ok(answers)
    }

    /// The time to live of a renewed lease, if that is known without waiting.
    pub(crate) fn renew_lease_at_once(&self, id: i64) -> Option<Ttl> {
        if self.progress.role() != Role::SoleVoter || self.auth.auth_store().is_enabled() {
            return None;
        }
        let mut question = KeepAlive::new(LeaseId::from_wire(id)?);
        // Whom the group is but this member need not be asked.
        if self.keep_alive_step(&mut question) != Step::Confirm {
            return None;
        }
        match self.keep_alive_step(&mut question) {
            Step::Answer(Some(ttl)) => {
                self.metrics.debugging_lease_renewed_total.inc();
                Some(ttl)
            }
            _ => None,
        }
    }

    /// Renews a lease: its time to live, none if there is no such lease.
    async fn keep_alive(&self, question: KeepAlive) -> Result<Option<i64>, Error> {
        let answered = self.try_keeping_alive(question);
        let answered = tokio::time::timeout(self.limits.request_timeout, answered);
        self.name_missing_leader(answered.await)
    }

    /// What only a leader can answer was not answered: for want of one, if there is none.
    fn name_missing_leader<T>(
        &self,
        answered: Result<Result<T, Error>, tokio::time::error::Elapsed>,
    ) -> Result<T, Error> {
        match answered {
            Ok(Err(Error::Propose(ProposeError::Timeout))) | Err(_) => {
                Err(match self.progress.leader() {
                    None => ProposeError::NoLeader,
                    Some(_) => ProposeError::Timeout,
                }
                .into())
            }
            Ok(answered) => answered,
        }
    }

    async fn try_keeping_alive(&self, mut question: KeepAlive) -> Result<Option<i64>, Error> {
        loop {
            let settled = self.leases.settled();
            match self.keep_alive_step(&mut question) {
                Step::Answer(ttl) => {
                    if ttl.is_some() {
                        self.metrics.debugging_lease_renewed_total.inc();
                    }
                    return Ok(ttl.map(Ttl::to_wire));
                }
                Step::Confirm => self.linearizable().await?,
                Step::Propose(request) => match self.propose(request, &Caller::MEMBER).await {
                    Ok(_) | Err(Error::Apply(ApplyError::TermEnded)) => {}
                    Err(error) => return Err(error),
                },
                Step::Wait => settled.await,
                Step::AskLeader => {
                    let request = LeaseKeepAliveRequest {
                        id: question.id().to_wire(),
                    };
                    match self.ask_leader(LeaderQuestion::KeepAlive(request)).await {
                        Some(LeaderAnswer::KeepAlive(answer)) => {
                            return Ok((answer.ttl > 0).then_some(answer.ttl));
                        }
                        _ => {
                            let _ = tokio::time::timeout(LEADER_WAIT, settled).await;
                        }
                    }
                }
            }
        }
    }

    fn keep_alive_step(&self, question: &mut KeepAlive) -> Step<Option<Ttl>> {
        let leads = self.progress.role().leads();
        let leads_in = leads.then(|| Term(self.progress.term().get()));
        let now = self.leases.now();
        question.step(&mut self.leases.leases().lock(), leads_in, now)
    }

    /// What is left of a lease, from the leader: without a time to live of its own, and with -1 left,
    /// if there is no such lease.
    ///
    /// # Errors
    ///
    /// [`ProposeError`] if no leader answers in time, or what a forwarded question was told.
    pub(crate) async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
        caller: &Caller,
    ) -> Result<LeaseTimeToLiveResponse, Error> {
        let looked_at: &[i64] = if request.keys { &[request.id] } else { &[] };
        let permit = self.permit_leases(looked_at, Access::Read, caller).await?;
        let answered = async {
            let mut question = TimeToLive::new(LeaseId::from_wire(request.id), request.keys);
            loop {
                let settled = self.leases.settled();
                let header = self.header(Some(self.store.current()));
                let (leads, now) = (self.progress.role().leads(), self.leases.now());
                let step = question.step(&self.leases.leases().lock(), leads, now);
                match step {
                    Step::Answer(left) => {
                        return Ok::<_, Error>(time_to_live(header, request.id, left));
                    }
                    Step::Confirm => {
                        self.linearizable().await?;
                        continue;
                    }
                    Step::Propose(_) | Step::Wait | Step::AskLeader => {}
                }
                match self.ask_leader(LeaderQuestion::TimeToLive(request)).await {
                    Some(LeaderAnswer::TimeToLive(answer)) => {
                        // It is told in this member's name, which must be as far then.
                        self.linearizable().await?;
                        return Ok(self.in_own_name(answer));
                    }
                    _ => {
                        let _ = tokio::time::timeout(LEADER_WAIT, settled).await;
                    }
                }
            }
        };
        let answered = tokio::time::timeout(self.limits.request_timeout, answered).await;
        let answer = self.name_missing_leader(answered)?;
        if request.keys {
            self.confirm(permit)?;
        }
        Ok(answer)
    }

    /// The leader's answer, of the same revision.
    fn in_own_name(&self, answer: LeaseTimeToLiveResponse) -> LeaseTimeToLiveResponse {
        let revision = answer.header.as_ref().map_or(0, |header| header.revision);
        LeaseTimeToLiveResponse {
            header: Some(self.header(Revision::from_wire(revision).ok())),
            ..answer
        }
    }

    /// Asks the leader, if that is another member. None if nobody can be asked: ask again later.
    async fn ask_leader(&self, question: LeaderQuestion) -> Option<LeaderAnswer> {
        let leader = self.progress.leader()?;
        if leader == self.identity.member {
            return None;
        }
        self.forward_to_leader(leader, question).await
    }

    /// Takes a question to the leader over the connection between members. None if it did not answer:
    /// it may lead no more.
    async fn forward_to_leader(
        &self,
        leader: MemberId,
        question: LeaderQuestion,
    ) -> Option<LeaderAnswer> {
        let mut client = self.peers.client(leader).ok()?;
        let answer = match question {
            LeaderQuestion::KeepAlive(request) => {
                let answer = client.lease_keep_alive(request).await;
                answer.map(|answer| LeaderAnswer::KeepAlive(answer.into_inner()))
            }
            LeaderQuestion::TimeToLive(request) => {
                let answer = client.lease_time_to_live(request).await;
                answer.map(|answer| LeaderAnswer::TimeToLive(answer.into_inner()))
            }
        };
        answer
            .inspect_err(|status| tracing::debug!(%leader, status = %Chain(status), "the leader did not answer"))
            .ok()
    }

    /// Answers another member's client, whom that member has let in. It asks again if this member does
    /// not lead.
    ///
    /// # Errors
    ///
    /// [`MaintenanceError::NotLeader`], or [`ProposeError`].
    pub(crate) async fn answer_as_leader(
        &self,
        question: LeaderQuestion,
    ) -> Result<LeaderAnswer, Error> {
        if !self.progress.role().leads() {
            return Err(MaintenanceError::NotLeader.into());
        }
        let header = Some(self.header(Some(self.store.current())));
        Ok(match question {
            LeaderQuestion::KeepAlive(LeaseKeepAliveRequest { id }) => {
                let ttl = match LeaseId::from_wire(id) {
                    Some(id) => self.keep_alive(KeepAlive::new(id)).await?.unwrap_or(0),
                    None => 0,
                };
                LeaderAnswer::KeepAlive(LeaseKeepAliveResponse { header, id, ttl })
            }
            LeaderQuestion::TimeToLive(request) => {
                let answer = self.lease_time_to_live(request, &Caller::MEMBER).await?;
                LeaderAnswer::TimeToLive(answer)
            }
        })
    }

    /// Takes a request about leases through the log.
    ///
    /// # Errors
    ///
    /// As [`propose`](Self::propose).
    pub(crate) async fn propose_lease(
        &self,
        request: LeaseRequest,
        caller: &Caller,
    ) -> Result<Outcome, Error> {
        self.check_somebody(caller).await?;
        self.propose(LogRequest::Lease(request), caller).await
    }

    /// The ids of all leases.
    ///
    /// # Errors
    ///
    /// The refusal, if the caller may not read the keys of all of them.
    pub(crate) async fn lease_ids(&self, caller: &Caller) -> Result<Vec<i64>, Error> {
        let ids = || {
            let leases = self.leases.leases().lock();
            leases.ids().map(LeaseId::to_wire).collect::<Vec<_>>()
        };
        let listed = ids();
        let permit = self.permit_leases(&listed, Access::Read, caller).await?;
        self.confirm(permit)?;
        Ok(listed)
    }

    /// Allows what needs the right to `access` all keys of leases, and that somebody asks.
    async fn permit_leases(
        &self,
        ids: &[i64],
        access: Access,
        caller: &Caller,
    ) -> Result<Permit, Error> {
        let keys = |id| {
            let leases = self.leases.leases().lock();
            let keys = leases.keys(id);
            keys.map(|key| Bytes::copy_from_slice(key)).collect()
        };
        self.permit(caller, |permission| {
            permission.auth_store.check_somebody(permission.auth_info)?;
            let ids = ids.iter().filter_map(|id| LeaseId::from_wire(*id));
            for id in ids.filter(|_| permission.auth_store.is_enabled()) {
                match access {
                    Access::Read => permission.lease_reads(id, &keys)?,
                    Access::Write => permission.lease_writes(id, &keys)?,
                }
            }
            Ok(())
        })
        .await
    }
}

fn time_to_live(
    header: ResponseHeader,
    id: i64,
    left: Option<TimeLeft>,
) -> LeaseTimeToLiveResponse {
    let Some(TimeLeft { remaining, keys }) = left else {
        return LeaseTimeToLiveResponse {
            header: Some(header),
            id,
            ttl: -1,
            ..LeaseTimeToLiveResponse::default()
        };
    };
    LeaseTimeToLiveResponse {
        header: Some(header),
        id,
        ttl: whole_seconds(remaining.left),
        granted_ttl: remaining.granted.to_wire(),
        keys: keys.iter().map(|key| Bytes::copy_from_slice(key)).collect(),
    }
}

/// The whole seconds that are left. Of a time that has just begun some is gone already, though not a
/// millisecond, by which it is measured.
fn whole_seconds(left: Duration) -> i64 {
    let left = left.saturating_sub(Duration::from_nanos(1));
    i64::try_from(left.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// etcd 3.7 measures in nanoseconds and cuts off: of 90 seconds granted it says 89.
    #[test]
    fn a_lease_that_was_just_renewed_has_less_than_its_time_left() {
        for (millis, secs) in [(90_000, 89), (89_001, 89), (89_000, 88), (1, 0), (0, 0)] {
            assert_eq!(
                whole_seconds(Duration::from_millis(millis)),
                secs,
                "{millis}"
            );
        }
    }
}
