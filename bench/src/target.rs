//! What is put under load: one member or several of a cluster, on whose behalf, and whose cost
//! is looked at meanwhile.

use crate::endpoint::Endpoint;
use crate::server_process::ServerProcess;
use crate::user::User;

/// Where load goes.
///
/// Invariant: there is at least one endpoint.
#[derive(Clone, Debug)]
pub struct Target {
    first: Endpoint,
    others: Vec<Endpoint>,
    processes: Vec<ServerProcess>,
    user: Option<User>,
}

impl Target {
    /// One endpoint, of a process not known.
    #[must_use]
    pub fn one(endpoint: Endpoint) -> Self {
        Self {
            first: endpoint,
            others: Vec::new(),
            processes: Vec::new(),
            user: None,
        }
    }

    /// Several endpoints of one cluster; `None` if there is not one.
    #[must_use]
    pub fn new(endpoints: Vec<Endpoint>) -> Option<Self> {
        let mut endpoints = endpoints.into_iter();
        let first = endpoints.next()?;
        Some(Self {
            others: endpoints.collect(),
            ..Self::one(first)
        })
    }

    /// The same, with the processes whose cost is looked at.
    #[must_use]
    pub fn with_processes(self, processes: Vec<ServerProcess>) -> Self {
        Self { processes, ..self }
    }

    /// The same, on a user's behalf instead of on that of this process's own user, if any.
    #[must_use]
    pub fn with_user(self, user: User) -> Self {
        Self {
            user: Some(user),
            ..self
        }
    }

    /// The endpoint that single questions are put to.
    #[must_use]
    pub fn first(&self) -> Endpoint {
        self.first
    }

    /// All endpoints in turn, without end: connections are spread over them.
    pub fn in_turn(&self) -> impl Iterator<Item = Endpoint> + '_ {
        std::iter::once(&self.first)
            .chain(&self.others)
            .cycle()
            .copied()
    }

    /// The processes whose cost is looked at; none if they are not known.
    #[must_use]
    pub fn processes(&self) -> &[ServerProcess] {
        &self.processes
    }

    /// On whose behalf, if not this process's own user's.
    #[must_use]
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_come_in_turn() {
        let at = |port| format!("127.0.0.1:{port}").parse::<Endpoint>().unwrap();
        assert!(Target::new(Vec::new()).is_none());
        let target = Target::new(vec![at(1), at(2)]).unwrap();
        let turns: Vec<_> = target.in_turn().take(3).collect();
        assert_eq!(turns, [at(1), at(2), at(1)]);
        assert_eq!(target.first(), at(1));
    }
}
