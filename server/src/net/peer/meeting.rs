//! Meeting other members: nothing that one says counts before it has shown what its directory has been.
//!
//! Whoever connects shows all incarnations of its directory, and is shown ours. A member whose directory
//! lacks one that this member has met has lost what it promised since: it is refused, and told so.
//! What is met is on disk before it counts. `docs/decisions/0012` says what follows from that.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use cairn_consensus::{Incarnation, Incarnations, IncarnationsError, Lineage, MemberId};
use cairn_proto::cairnpb;
use parking_lot::Mutex;

use super::caller::Refusal;
use crate::logging::fatal;

/// What this member's directory has been, and what it has met.
#[derive(Clone)]
pub(crate) struct Meetings(Arc<Inner>);

struct Inner {
    own: Lineage,
    /// Held while the disk is written.
    incarnations: Mutex<Incarnations>,
    met: ArcSwap<BTreeMap<MemberId, Incarnation>>,
}

impl Meetings {
    /// Those that `incarnations` knows.
    #[must_use]
    pub(crate) fn new(incarnations: Incarnations) -> Self {
        Self(Arc::new(Inner {
            own: incarnations.own().clone(),
            met: ArcSwap::from_pointee(incarnations.met().clone()),
            incarnations: Mutex::new(incarnations),
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

    /// Checks that a member is what was met last.
    pub(super) fn check(
        &self,
        member: MemberId,
        shown: Option<Incarnation>,
    ) -> Result<(), Refusal> {
        match (self.0.met.load().get(&member), shown) {
            // A member of a version that has no incarnations, and has always been.
            (None, None) => Ok(()),
            (Some(met), Some(shown)) if *met == shown => Ok(()),
            (_, Some(_)) => Err(Refusal::Unmet),
            (Some(_), None) => Err(Refusal::NoIncarnation),
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
        if self.check(member, Some(lineage.last())).is_ok() {
            return Ok(());
        }
        let meetings = self.clone();
        // It waits for the disk, which the connections of others must not.
        let met = tokio::task::spawn_blocking(move || meetings.keep(member, &lineage)).await;
        met.unwrap_or(Err(Refusal::NotKept))
    }

    fn keep(&self, member: MemberId, lineage: &Lineage) -> Result<(), Refusal> {
        let mut incarnations = self.0.incarnations.lock();
        let shown = lineage.last();
        let refusal = match incarnations.meet(member, lineage) {
            Ok(()) => {
                self.0.met.store(Arc::new(incarnations.met().clone()));
                return Ok(());
            }
            Err(IncarnationsError::Forgotten(forgotten)) => {
                tracing::error!(
                    %member, met = %forgotten.met, %shown,
                    "a member has forgotten what it promised: its directory is an older copy, was \
                     emptied, or is another one. It takes no part until it is removed and added anew"
                );
                Refusal::Forgotten
            }
            Err(error @ IncarnationsError::TooMany) => {
                tracing::error!(%member, %shown, %error, "cannot keep in mind what was met");
                Refusal::NotKept
            }
            // Nobody knows what is on disk now.
            Err(error) => fatal::stop("peers", &error),
        };
        Err(refusal)
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
}
