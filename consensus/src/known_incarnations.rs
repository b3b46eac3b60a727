//! What a member knows of the incarnations of others: what it has met, and what it was told of.
//!
//! A member that was met as an incarnation must have it in its lineage ever after. So must one that
//! another member has met and told us about: that closes the gap of a member which was cut off from it
//! at that time. Who is in doubt, since something was told that it has not shown yet, must show its
//! whole lineage before anything that it says counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::incarnation::{Incarnation, Lineage};
use crate::member_id::MemberId;

/// A directory is not the one that this member has met, or was told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was met as incarnation {met}, of which its directory knows nothing")]
pub struct Forgotten {
    /// The incarnation that was met, here or elsewhere.
    pub met: Incarnation,
}

/// What a call of another member must carry to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing: nobody has ever met an incarnation of it.
    Nothing,
    /// This incarnation.
    This(Incarnation),
    /// It must show its lineage first, whatever it is.
    Lineage,
}

/// The incarnations of others that a member knows of.
///
/// Invariants:
/// 1. What was met of a member, and what was told of it, only ever moves on: by what descends from it,
///    and by what the same member tells later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownIncarnations {
    /// The last incarnation met, of each member.
    pub(crate) met: BTreeMap<MemberId, Incarnation>,
    /// Of whom, by whom: the last incarnation that the latter has told.
    pub(crate) told: BTreeMap<(MemberId, MemberId), Incarnation>,
    /// The lineages that were shown to this process.
    shown: BTreeMap<MemberId, Arc<Lineage>>,
}

impl KnownIncarnations {
    /// What was met and told before this process.
    pub(crate) const fn new(
        met: BTreeMap<MemberId, Incarnation>,
        told: BTreeMap<(MemberId, MemberId), Incarnation>,
    ) -> Self {
        let shown = BTreeMap::new();
        Self { met, told, shown }
    }

    /// The incarnations that were met last.
    #[must_use]
    pub const fn met(&self) -> &BTreeMap<MemberId, Incarnation> {
        &self.met
    }

    /// All members of which anything is known.
    pub fn members(&self) -> impl Iterator<Item = MemberId> {
        let told = self.told.keys().flat_map(|(whose, by)| [*whose, *by]);
        self.met.keys().copied().chain(told)
    }

    /// What a call of `member` must carry.
    #[must_use]
    pub fn expected(&self, member: MemberId) -> Expected {
        let mut told = self.told_of(member).peekable();
        match self.met.get(&member) {
            None if told.peek().is_none() => Expected::Nothing,
            Some(met) if told.all(|it| it == *met || self.has_shown(member, it)) => {
                Expected::This(*met)
            }
            _ => Expected::Lineage,
        }
    }

    /// Whether this very lineage was shown last.
    #[must_use]
    pub fn knows(&self, member: MemberId, lineage: &Lineage) -> bool {
        let shown = self.shown.get(&member);
        shown.is_some_and(|shown| **shown == *lineage)
            && self.expected(member) == Expected::This(lineage.last())
    }

    /// Whether [`KnownIncarnations::hear`] would change anything.
    #[must_use]
    pub fn is_news(&self, by: MemberId, whose: MemberId, met: Incarnation) -> bool {
        let is_older = |told: &Incarnation| told.number > met.number || *told == met;
        let told = self.told.get(&(whose, by));
        let is_met = self.met.get(&whose) == Some(&met);
        !is_met && !self.has_shown(whose, met) && !told.is_some_and(is_older)
    }

    /// Keeps in mind what `by` has met.
    pub(crate) fn hear(&mut self, by: MemberId, whose: MemberId, met: Incarnation) {
        if self.is_news(by, whose, met) {
            self.told.insert((whose, by), met);
        }
    }

    /// Meets a member whose directory has been `lineage`.
    pub(crate) fn meet(&mut self, member: MemberId, lineage: &Lineage) -> Result<(), Forgotten> {
        let met = self.met.get(&member).copied();
        for met in met.into_iter().chain(self.told_of(member)) {
            if !lineage.descends_from(met) {
                return Err(Forgotten { met });
            }
        }
        self.met.insert(member, lineage.last());
        self.shown.insert(member, Arc::new(lineage.clone()));
        Ok(())
    }

    /// Forgets members that will never come back, and what they told.
    pub(crate) fn retain(&mut self, may_come_back: impl Fn(MemberId) -> bool) {
        self.met.retain(|member, _| may_come_back(*member));
        self.told
            .retain(|(whose, by), _| may_come_back(*whose) && may_come_back(*by));
        self.shown.retain(|member, _| may_come_back(*member));
    }

    fn told_of(&self, member: MemberId) -> impl Iterator<Item = Incarnation> {
        let told = self.told.iter();
        told.filter(move |((whose, _), _)| *whose == member)
            .map(|(_, told)| *told)
    }

    fn has_shown(&self, member: MemberId, earlier: Incarnation) -> bool {
        let shown = self.shown.get(&member);
        shown.is_some_and(|lineage| lineage.descends_from(earlier))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u64) -> MemberId {
        MemberId::from_wire(number).unwrap()
    }

    /// What forgot is refused by whoever was told of what it forgot, whether it was met since or not.
    #[test]
    fn what_was_told_must_be_in_the_lineage_as_what_was_met() {
        let [ours, teller] = [member(3), member(1)];
        let copied = Lineage::begin(1);
        let went_on = copied.clone().start(2).unwrap();
        let put_back = copied.clone().start(3).unwrap();
        let mut known = KnownIncarnations::default();
        known.meet(ours, &copied).unwrap();
        known.hear(teller, ours, went_on.last());
        assert_eq!(known.expected(ours), Expected::Lineage, "it is in doubt");
        let met = went_on.last();
        assert_eq!(known.meet(ours, &put_back), Err(Forgotten { met }));
        assert_eq!(known.meet(ours, &copied), Err(Forgotten { met }));
        known.meet(ours, &went_on).unwrap();
        assert_eq!(known.expected(ours), Expected::This(met));
        // And if it is told after what forgot was let in, that one is in doubt from then on.
        let mut late = KnownIncarnations::default();
        late.meet(ours, &put_back).unwrap();
        assert_eq!(late.expected(ours), Expected::This(put_back.last()));
        late.hear(teller, ours, met);
        assert_eq!(late.expected(ours), Expected::Lineage);
        assert_eq!(late.meet(ours, &put_back), Err(Forgotten { met }));
    }

    #[test]
    fn an_ancestor_that_is_told_late_is_no_news() {
        let [ours, teller] = [member(3), member(1)];
        let lineage = Lineage::new(1, vec![1, 2, 3]).unwrap();
        let earlier = Incarnation { number: 2, id: 2 };
        let mut known = KnownIncarnations::default();
        known.meet(ours, &lineage).unwrap();
        assert!(!known.is_news(teller, ours, earlier));
        assert!(known.is_news(teller, ours, Incarnation { number: 2, id: 9 }));
        known.hear(teller, ours, earlier);
        assert_eq!(known.expected(ours), Expected::This(lineage.last()));
        // After a restart nothing was shown yet: it must be, once.
        let mut restarted = KnownIncarnations::new(known.met.clone(), known.told.clone());
        assert!(!restarted.is_news(teller, ours, lineage.last()));
        restarted.hear(teller, ours, earlier);
        assert_eq!(restarted.expected(ours), Expected::Lineage);
        restarted.meet(ours, &lineage).unwrap();
        assert!(restarted.knows(ours, &lineage));
    }

    #[test]
    fn a_teller_moves_on_and_never_back() {
        let [whose, by] = [member(3), member(1)];
        let mut known = KnownIncarnations::default();
        let [first, second] = [(1, 7), (2, 8)].map(|(number, id)| Incarnation { number, id });
        assert_eq!(known.expected(whose), Expected::Nothing);
        known.hear(by, whose, second);
        known.hear(by, whose, first);
        assert_eq!(known.told.get(&(whose, by)), Some(&second));
        assert_eq!(known.expected(whose), Expected::Lineage);
        known.retain(|member| member != by);
        assert_eq!(known, KnownIncarnations::default());
    }
}
