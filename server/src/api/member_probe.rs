//! The member as its HTTP pages see it.

use std::sync::Arc;
use std::time::Instant;

use cairn_mvcc::CompactionPoint;
use cairn_proto::etcdserverpb::RangeRequest;
use tonic::Status;

use crate::api::http::{Alarm, Consistency, Probe, ProbeError, ProbeFuture, Versions};
use crate::logging::fatal;
use crate::member::auth::Caller;
use crate::member::error::Error;
use crate::member::{Member, Role};
use crate::metrics::Metrics;
use crate::settings::CLUSTER_VERSION;
use cairn_replica::alarms;
use cairn_replica::request::Range;
use cairn_v2::Counter;

/// Answers the pages' questions.
pub(super) struct MemberProbe {
    member: Arc<Member>,
}

impl MemberProbe {
    /// Asks `member`.
    pub(super) const fn new(member: Arc<Member>) -> Self {
        Self { member }
    }

    /// Reads at most one key, which need not exist.
    async fn try_read(&self, consistency: Consistency) -> Result<(), Status> {
        let range = Range::parse(RangeRequest {
            key: "health".into(),
            limit: 1,
            ..RangeRequest::default()
        })
        .map_err(Error::from)?;
        if !self.member.serving.is_open() {
            return Err(Status::unavailable(
                "the member has no data yet: it is joining its cluster",
            ));
        }
        if consistency == Consistency::Linearizable {
            self.member.linearizable().await?;
        }
        let begun = Instant::now();
        let read = self.member.range(&range, &Caller::MEMBER).await;
        self.member
            .metrics
            .range_duration()
            .observe(begun.elapsed(), read.is_ok());
        read?;
        Ok(())
    }

    /// Who watches, in both APIs.
    fn measure_watchers(&self, metrics: &Metrics) {
        let member = &*self.member;
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let watches = member.watches().counts();
        metrics
            .debugging_mvcc_watch_stream_total
            .set(count(watches.streams));
        metrics
            .debugging_mvcc_watcher_total
            .set(count(watches.watchers));
        metrics
            .debugging_mvcc_slow_watcher_total
            .set(count(watches.unsynced + watches.victims));

        metrics
            .debugging_mvcc_pending_events_total
            .set(count(member.watches().pending_events()));

        let v2 = member.v2();
        metrics.debugging_store_watchers.set(count(v2.watchers()));
        let expires = &metrics.debugging_store_expires_total;
        let expired = v2.stats().of(Counter::ExpireCount);
        expires.inc_by(expired.saturating_sub(expires.get()));
    }
}

impl Probe for MemberProbe {
    fn has_leader(&self) -> bool {
        self.member.progress().leader().is_some()
    }

    fn is_learner(&self) -> bool {
        self.member.progress().role() == Role::Learner
    }

    fn alarms(&self) -> Vec<Alarm> {
        let alarms = self.member.alarms();
        let kinds = alarms.iter().map(|(alarm, _)| match alarm {
            alarms::Alarm::NoSpace => Alarm::NoSpace,
            alarms::Alarm::Corrupt => Alarm::Corrupt,
        });
        kinds.collect()
    }

    fn read(&self, consistency: Consistency) -> ProbeFuture<'_> {
        Box::pin(async move {
            self.try_read(consistency)
                .await
                .map_err(|status| ProbeError {
                    reason: status.message().to_owned(),
                })
        })
    }

    fn versions(&self) -> Versions {
        let membership = self.member.membership();
        let cluster = membership.version().map(str::to_owned);
        Versions {
            storage: cluster.as_ref().map(|_| CLUSTER_VERSION.to_owned()),
            cluster,
        }
    }

    fn measure(&self, metrics: &Metrics) {
        let member = &*self.member;
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);

        let progress = member.progress();
        let role = progress.role();
        metrics.server_has_leader.set(self.has_leader().into());
        metrics.server_is_leader.set(role.leads().into());
        metrics
            .server_is_learner
            .set((role == Role::Learner).into());
        let changes = &metrics.server_leader_changes_seen_total;
        changes.inc_by(progress.leader_changes().saturating_sub(changes.get()));
        metrics
            .server_proposals_committed_total
            .set(number(progress.committed().get()));
        metrics
            .server_proposals_applied_total
            .set(number(progress.applied().get()));

        let store = member.store();
        let backend = store.backend();
        metrics
            .mvcc_db_total_size_in_bytes
            .set(number(backend.size()));
        metrics
            .mvcc_db_total_size_in_use_in_bytes
            .set(number(backend.size_in_use()));
        metrics
            .mvcc_db_open_read_transactions
            .set(count(backend.open_reads()));
        metrics
            .debugging_mvcc_current_revision
            .set(store.current().to_wire());
        metrics.debugging_mvcc_compact_revision.set(
            store
                .compaction_point()
                .map_or(-1, CompactionPoint::to_wire),
        );
        metrics
            .debugging_auth_revision
            .set(number(member.auth.auth_store().revision().get()));
        metrics.debugging_mvcc_keys_total.set(count(store.keys()));
        metrics
            .server_quota_backend_bytes
            .set(member.limits().quota.bytes_max().map_or(0, number));

        if let Some(backup) = &member.backup {
            backup.measure(metrics, store.current().number());
        }
        self.measure_watchers(metrics);
        let alarms = member.alarms();
        for alarm in alarms::Alarm::ALL {
            let is_raised = alarms.is_raised_by(alarm, member.identity.member);
            metrics.alarm(alarm.name(), is_raised);
        }
        if member.membership().version().is_some() {
            metrics.cluster_version_decided();
        }
        metrics.log_lines_lost(fatal::log_lines_lost());
    }
}
