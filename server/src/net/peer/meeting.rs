//! Meeting other members: nothing that one says counts before it has shown what its directory has been.
//!
//! Whoever connects shows all incarnations of its directory, and is shown ours. A member whose directory
//! lacks one that this member has met has lost what it promised since: it is refused, and told so.
//! Both tell each other whom they have met, then and whenever they meet somebody: so a member that was
//! cut off from another knows what that one was. What is met or told is on disk before anything counts.
//! `docs/decisions/0012` says what follows from that.

use std::sync::Arc;

use arc_swap::ArcSwap;
use cairn_consensus::{
    Expected, Incarnation, Incarnations, IncarnationsError, KnownIncarnations, Lineage, MemberId,
};
use cairn_proto::cairnpb;
use cairn_replica::membership::Membership;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::caller::Refusal;
use crate::logging::{Chain, fatal};

/// What this member's directory has been, and what it has met.
#[derive(Clone)]
pub(crate) struct Meetings(Arc<Inner>);

struct Inner {
    own: Lineage,
    /// Held while the disk is written.
    incarnations: Mutex<Incarnations>,
    /// What the incarnations say, to look at while the disk is written.
    known: ArcSwap<KnownIncarnations>,
    /// Tells when somebody was met.
    news: watch::Sender<()>,
}

impl Meetings {
    /// Those that `incarnations` knows.
    #[must_use]
    pub(crate) fn new(incarnations: Incarnations) -> Self {
        Self(Arc::new(Inner {
            own: incarnations.own().clone(),
            known: ArcSwap::from_pointee(incarnations.known().clone()),
            incarnations: Mutex::new(incarnations),
            news: watch::Sender::new(()),
        }))
    }

    /// The present incarnation of this member.
    #[must_use]
    pub(crate) fn present(&self) -> Incarnation {
        self.0.own.last()
    }

    /// All that this member's directory has been.
    pub(super) fn own(&self) -> cairnpb::Lineage {
        cairnpb::Lineage {
            first: self.0.own.first(),
            ids: self.0.own.ids().to_vec(),
        }
    }

    /// Whom this member has met, for others.
    pub(super) fn met(&self) -> Vec<cairnpb::Met> {
        let known = self.0.known.load();
        let met = known.met().iter();
        let met = met.map(|(member, Incarnation { number, id })| cairnpb::Met {
            member: member.get(),
            number: *number,
            id: *id,
        });
        met.collect()
    }

    /// Tells when there is more to tell to others.
    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.0.news.subscribe()
    }

    /// Checks that a member is what was met last.
    pub(super) fn check(
        &self,
        member: MemberId,
        shown: Option<Incarnation>,
    ) -> Result<(), Refusal> {
        match (self.0.known.load().expected(member), shown) {
            // A member of a version that has no incarnations, and has always been.
            (Expected::Nothing, None) => Ok(()),
            (Expected::This(expected), Some(shown)) if expected == shown => Ok(()),
            (_, Some(_)) => Err(Refusal::Unmet),
            (_, None) => Err(Refusal::NoIncarnation),
        }
    }

    /// Meets a member that shows its lineage, or none.
    pub(super) async fn meet(
        &self,
        member: MemberId,
        shown: Option<cairnpb::Lineage>,
    ) -> Result<(), Refusal> {
        let Some(shown) = shown else {
            return self.check(member, None);
        };
        let lineage = Lineage::new(shown.first, shown.ids).map_err(|_| Refusal::NoIncarnation)?;
        if self.0.known.load().knows(member, &lineage) {
            return Ok(());
        }
        let shown = lineage.last();
        self.keep(move |incarnations| incarnations.meet(member, &lineage))
            .await
            .map(|()| self.0.news.send_replace(()))
            .map_err(|error| match error {
                IncarnationsError::Forgotten(forgotten) => {
                    tracing::error!(
                        %member, met = %forgotten.met, %shown,
                        "a member has forgotten what it promised: its directory is an older copy, was \
                         emptied, or is another one. It takes no part until it is removed and added \
                         anew (`etcdctl member remove`, `etcdctl member add`), with an empty directory"
                    );
                    Refusal::Forgotten
                }
                error => {
                    let error = Chain(&error);
                    tracing::error!(%member, %shown, %error, "cannot keep in mind what was met");
                    Refusal::NotKept
                }
            })
    }

    /// Hears whom `by` has met; whether anything was new. One that is put in doubt by it must show what
    /// its directory has been before anything more of it counts.
    pub(super) async fn hear(
        &self,
        by: MemberId,
        met: Vec<cairnpb::Met>,
        members: &Membership,
        us: MemberId,
    ) -> Result<bool, Refusal> {
        let known = self.0.known.load_full();
        let news = met.into_iter().filter_map(|met| {
            let whose = MemberId::from_wire(met.member).filter(|_| met.number > 0)?;
            let (number, id) = (met.number, met.id);
            let met = Incarnation { number, id };
            let concerns_us = whose != us && whose != by && !members.was_removed(whose);
            (concerns_us && known.is_news(by, whose, met)).then_some((whose, met))
        });
        let news: Vec<_> = news.collect();
        if news.is_empty() {
            return Ok(false);
        }
        self.keep(move |incarnations| incarnations.hear(by, news))
            .await
            .map(|()| true)
            .map_err(|error| {
                let error = Chain(&error);
                tracing::error!(%by, %error, "cannot keep in mind what a member has met");
                Refusal::NotKept
            })
    }

    /// Forgets who will never come back, and so needs no room.
    pub(super) fn forget_removed(&self, members: &Membership, runtime: &Handle) {
        let is_removed = |member| members.was_removed(member);
        if self.0.known.load().members().any(is_removed) {
            let (meetings, members) = (self.clone(), members.clone());
            runtime.spawn(async move {
                let may_come_back = move |member| !members.was_removed(member);
                let forgot = meetings.keep(|incarnations| incarnations.retain(may_come_back));
                // It only makes room: there is no way for it to run out of that.
                let _ = forgot.await;
            });
        }
    }

    /// Changes what is known, where waiting for the disk holds up no connection.
    async fn keep(
        &self,
        change: impl FnOnce(&mut Incarnations) -> Result<(), IncarnationsError> + Send + 'static,
    ) -> Result<(), IncarnationsError> {
        let meetings = self.clone();
        let kept = tokio::task::spawn_blocking(move || {
            let inner = &meetings.0;
            let mut incarnations = inner.incarnations.lock();
            match change(&mut incarnations) {
                // Nobody knows what is on disk now.
                Err(error @ IncarnationsError::Io { .. }) => fatal::stop("peers", &error),
                Err(error) => return Err(error),
                Ok(()) => {}
            }
            inner.known.store(Arc::new(incarnations.known().clone()));
            Ok(())
        });
        // The runtime is ending: what was to be met counts no more.
        kept.await.unwrap_or(Err(IncarnationsError::TooMany))
    }
}

/// Why this member must not go on: another one knows what it has forgotten.
#[derive(Debug, thiserror::Error)]
#[error(
    "member {by} has met this member, {member}, as a later incarnation of its data directory, of which \
     this directory knows nothing: it is an older copy, was emptied, or is another member's. What it \
     acknowledged and voted for since is lost, so it must not take part again. Remove the member \
     (`etcdctl member remove {member}`), empty its data directory, and add it anew (`etcdctl member add`)"
)]
pub(super) struct ForgottenHere {
    /// This member.
    pub(super) member: MemberId,
    /// Who knows.
    pub(super) by: MemberId,
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_consensus::disk::FaultDisk;

    fn member(number: u64) -> MemberId {
        MemberId::from_wire(number).unwrap()
    }

    fn meetings() -> Meetings {
        let disk = Arc::new(FaultDisk::new(1));
        Meetings::new(Incarnations::start(disk, 1).unwrap())
    }

    fn shown(ids: &[u64]) -> Option<cairnpb::Lineage> {
        let (first, ids) = (1, ids.to_vec());
        Some(cairnpb::Lineage { first, ids })
    }

    #[tokio::test]
    async fn calls_count_from_the_incarnation_that_was_met_last_and_from_no_other() {
        let meetings = meetings();
        let [first, second] = [(1, 7), (2, 8)].map(|(number, id)| Incarnation { number, id });
        let check = |shown| meetings.check(member(2), shown);
        assert_eq!(check(None), Ok(()), "a version without incarnations");
        assert_eq!(check(Some(first)), Err(Refusal::Unmet));
        meetings.meet(member(2), shown(&[7])).await.unwrap();
        assert_eq!(check(Some(first)), Ok(()));
        assert_eq!(check(None), Err(Refusal::NoIncarnation));
        meetings.meet(member(2), shown(&[7, 8])).await.unwrap();
        assert_eq!(check(Some(first)), Err(Refusal::Unmet), "it has restarted");
        assert_eq!(check(Some(second)), Ok(()));
        for forgot in [shown(&[7]), shown(&[7, 9]), shown(&[10])] {
            let met = meetings.meet(member(2), forgot).await;
            assert_eq!(met, Err(Refusal::Forgotten));
        }
        let met = meetings.meet(member(2), shown(&[])).await;
        assert_eq!(met, Err(Refusal::NoIncarnation));
        assert_eq!(meetings.meet(member(3), None).await, Ok(()));
        assert_eq!(check(Some(second)), Ok(()));
    }

    #[tokio::test]
    async fn who_is_put_in_doubt_by_what_another_tells_must_show_its_directory_again() {
        let (meetings, members) = (meetings(), Membership::default());
        let tell = async |met: &[(u64, u64, u64)]| {
            let met = met.iter();
            let met = met.map(|&(member, number, id)| cairnpb::Met { member, number, id });
            let heard = meetings.hear(member(3), met.collect(), &members, member(1));
            heard.await.unwrap()
        };
        meetings.meet(member(2), shown(&[7, 8])).await.unwrap();
        let present = Some(Incarnation { number: 2, id: 8 });
        assert!(!tell(&[(2, 1, 7), (2, 2, 8)]).await, "that is known");
        assert!(
            !tell(&[(1, 9, 9), (3, 9, 9), (2, 0, 9)]).await,
            "nothing of that counts"
        );
        assert_eq!(meetings.check(member(2), present), Ok(()));
        assert!(tell(&[(2, 2, 9)]).await);
        assert_eq!(meetings.check(member(2), present), Err(Refusal::Unmet));
        let met = meetings.meet(member(2), shown(&[7, 8])).await;
        assert_eq!(met, Err(Refusal::Forgotten));
        assert_eq!(meetings.met().len(), 1, "only what was met is passed on");
        // It was never met, and is told of: a version that shows nothing is none of it.
        assert!(tell(&[(4, 1, 5)]).await);
        assert_eq!(meetings.check(member(4), None), Err(Refusal::NoIncarnation));
        meetings.meet(member(4), shown(&[5, 6])).await.unwrap();
    }
}
