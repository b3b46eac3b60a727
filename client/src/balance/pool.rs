//! The connections of a client: one to each endpoint, made in the background.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::sync::Notify;
use tokio::time::timeout_at;

use super::{Balancer, EndpointId, Pick};
use crate::clock::now;
use crate::connect::{ConnectOptions, Endpoint};
use crate::counters::Counting;
use crate::transport::Connection;

/// See the module.
pub(crate) struct Pool {
    options: ConnectOptions,
    state: Mutex<State>,
    /// Something was connected, lost or refused.
    changed: Notify,
    counting: Counting,
    /// Tasks must not keep the pool.
    own: Weak<Self>,
}

struct State {
    balancer: Balancer,
    slots: BTreeMap<EndpointId, Slot>,
    chance: SmallRng,
    /// Of the next endpoint.
    id_next: u64,
}

struct Slot {
    endpoint: Endpoint,
    connection: Option<Connection>,
    failure: Option<String>,
}

/// A connection for a call, and whose it is.
#[derive(Clone)]
pub(crate) struct Leased {
    pub(crate) id: EndpointId,
    pub(crate) connection: Connection,
}

impl Pool {
    pub(crate) fn new(options: ConnectOptions) -> Arc<Self> {
        let now = now();
        // Only balance and back-off depend on it; without the system's chance, on the clock.
        let seed = rand::random();
        let mut state = State {
            balancer: Balancer::new([], now),
            slots: BTreeMap::new(),
            chance: SmallRng::seed_from_u64(seed),
            id_next: 0,
        };
        for endpoint in &options.endpoints {
            state.add(endpoint.clone(), now);
        }
        let turn = state.chance.random();
        state.balancer.turn_to(turn);
        Arc::new_cyclic(|own| Self {
            options,
            state: Mutex::new(state),
            changed: Notify::new(),
            counting: Counting::default(),
            own: own.clone(),
        })
    }

    /// A connection for a call, to `only` if given, and else not to `avoided` if that can be.
    ///
    /// # Errors
    ///
    /// Why there is none by the deadline; of `only`, why it could not be connected to.
    pub(crate) async fn acquire(
        &self,
        only: Option<EndpointId>,
        avoided: &[EndpointId],
        deadline: tokio::time::Instant,
    ) -> Result<Leased, String> {
        if let Ok(leased) = self.try_acquire(only, avoided)? {
            return Ok(leased);
        }
        let mut has_waited = false;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let until = match self.try_acquire(only, avoided)? {
                Ok(leased) => return Ok(leased),
                Err(Pick::WaitUntil(until)) if only.is_none() || !has_waited => until.into(),
                Err(Pick::WaitUntil(_)) => return Err(self.latest_failure(only)),
                Err(_) => deadline,
            };
            has_waited = true;
            let over = timeout_at(until.min(deadline), changed).await.is_err();
            if over && until >= deadline {
                return Err(self.latest_failure(only));
            }
        }
    }

    fn try_acquire(
        &self,
        only: Option<EndpointId>,
        avoided: &[EndpointId],
    ) -> Result<Result<Leased, Pick>, String> {
        let now = now();
        let mut state = self.state.lock();
        for id in state.balancer.start_due(now) {
            if let (Some(pool), Some(slot)) = (self.own.upgrade(), state.slots.get(&id)) {
                let endpoint = slot.endpoint.clone();
                tokio::spawn(async move { pool.connect(id, endpoint).await });
            }
        }
        loop {
            let pick = match only {
                None => state.balancer.pick(now, avoided),
                Some(id) => {
                    let pick = state.balancer.pick_only(id);
                    pick.ok_or_else(|| "the endpoint is no longer in the list".to_owned())?
                }
            };
            let Pick::Call(id) = pick else {
                return Ok(Err(pick));
            };
            let slot = state.slots.get(&id);
            match slot.and_then(|slot| slot.connection.clone()) {
                Some(connection) if connection.is_alive() => {
                    return Ok(Ok(Leased { id, connection }));
                }
                // Lost a moment ago; its task is about to say so.
                _ => state.balancer.lost(id, now),
            }
        }
    }

    /// Makes the connection to an endpoint and stays until it is lost.
    async fn connect(self: Arc<Self>, id: EndpointId, endpoint: Endpoint) {
        let opened = Connection::open(&endpoint, &self.options).await;
        let alive = {
            let mut state = self.state.lock();
            let chance = state.chance.random();
            match opened {
                Ok(connection) => {
                    tracing::debug!(%endpoint, "connected");
                    self.counting.connections.add();
                    state.balancer.connected(id);
                    let alive = connection.liveness();
                    state.with_slot(id, |slot| {
                        slot.connection = Some(connection);
                        slot.failure = None;
                    });
                    Some(alive)
                }
                Err(error) => {
                    tracing::debug!(%endpoint, %error, "could not connect");
                    state.balancer.refused(id, now(), chance);
                    let reason = format!("{endpoint}: {error}");
                    state.with_slot(id, |slot| slot.failure = Some(reason));
                    None
                }
            }
        };
        self.changed.notify_waiters();
        let Some(alive) = alive else { return };
        let own = self.own.clone();
        drop(self);
        alive.lost().await;
        let Some(pool) = own.upgrade() else { return };
        tracing::debug!(%endpoint, "connection lost");
        pool.counting.connections_lost.add();
        {
            let mut state = pool.state.lock();
            state.balancer.lost(id, now());
            state.with_slot(id, |slot| {
                slot.connection = None;
                slot.failure = Some(format!("{endpoint}: the connection was lost"));
            });
        }
        pool.changed.notify_waiters();
    }

    /// An endpoint gave an answer that another might not give.
    pub(crate) fn disgrace(&self, id: EndpointId) {
        self.state.lock().balancer.disgrace(id, now());
    }

    /// What the pool was made with.
    pub(crate) fn options(&self) -> &ConnectOptions {
        &self.options
    }

    pub(crate) fn counting(&self) -> &Counting {
        &self.counting
    }

    /// The endpoints, beginning with one by chance.
    #[cfg(feature = "websocket")]
    pub(crate) fn shuffled(&self) -> Vec<(EndpointId, Endpoint)> {
        let mut state = self.state.lock();
        let slots = state.slots.iter();
        let mut found: Vec<_> = slots
            .map(|(id, slot)| (*id, slot.endpoint.clone()))
            .collect();
        if !found.is_empty() {
            let turn = state.chance.random_range(0..found.len());
            found.rotate_left(turn);
        }
        found
    }

    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        let state = self.state.lock();
        state
            .slots
            .values()
            .map(|slot| slot.endpoint.clone())
            .collect()
    }

    pub(crate) fn endpoint_count(&self) -> usize {
        self.state.lock().slots.len()
    }

    /// The endpoint as it is in the list.
    pub(crate) fn id_of(&self, endpoint: &Endpoint) -> Option<EndpointId> {
        let state = self.state.lock();
        let found = state
            .slots
            .iter()
            .find(|(_, slot)| slot.endpoint == *endpoint);
        found.map(|(id, _)| *id)
    }

    /// Replaces the list; connections to endpoints that stay are kept.
    pub(crate) fn set_endpoints(&self, endpoints: &[Endpoint]) {
        {
            let mut state = self.state.lock();
            let gone: Vec<EndpointId> = state
                .slots
                .iter()
                .filter(|(_, slot)| !endpoints.contains(&slot.endpoint))
                .map(|(id, _)| *id)
                .collect();
            for id in gone {
                state.slots.remove(&id);
                state.balancer.remove(id);
            }
            for endpoint in endpoints {
                if !state.slots.values().any(|slot| slot.endpoint == *endpoint) {
                    state.add(endpoint.clone(), now());
                }
            }
        }
        self.changed.notify_waiters();
    }

    fn latest_failure(&self, only: Option<EndpointId>) -> String {
        let state = self.state.lock();
        let asked = |id: &EndpointId| only.is_none_or(|only| only == *id);
        let failures: Vec<&str> = state
            .slots
            .iter()
            .filter(|(id, _)| asked(id))
            .filter_map(|(_, slot)| slot.failure.as_deref())
            .collect();
        if failures.is_empty() {
            return "no connection was made in time".to_owned();
        }
        failures.join("; ")
    }
}

impl State {
    fn add(&mut self, endpoint: Endpoint, now: Instant) -> EndpointId {
        let id = EndpointId(self.id_next);
        self.id_next += 1;
        let slot = Slot {
            endpoint,
            connection: None,
            failure: None,
        };
        self.slots.insert(id, slot);
        self.balancer.add(id, now);
        id
    }

    fn with_slot(&mut self, id: EndpointId, change: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.slots.get_mut(&id) {
            change(slot);
        }
    }
}
