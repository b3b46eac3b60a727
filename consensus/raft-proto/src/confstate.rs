//! When two configurations are the same.

use crate::eraftpb::ConfState;

/// Whether two configurations have the same members in the same roles, in whatever order.
#[must_use]
pub fn conf_state_eq(left: &ConfState, right: &ConfState) -> bool {
    let same = |left: &[u64], right: &[u64]| {
        left == right
            || left.iter().all(|id| right.contains(id)) && right.iter().all(|id| left.contains(id))
    };
    same(&left.voters, &right.voters)
        && same(&left.learners, &right.learners)
        && same(&left.voters_outgoing, &right.voters_outgoing)
        && same(&left.learners_next, &right.learners_next)
        && left.auto_leave == right.auto_leave
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_members_does_not_matter_but_their_roles_do() {
        let ab = ConfState::from(([1, 2], [3]));
        assert!(conf_state_eq(&ab, &ConfState::from(([2, 1], [3]))));
        assert!(!conf_state_eq(&ab, &ConfState::from(([2, 3], [1]))));
        assert!(!conf_state_eq(&ab, &ConfState::from(([1], [3]))));
    }
}
