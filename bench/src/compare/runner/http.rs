//! Benchmarks of what speaks HTTP/1.1: the JSON gateway, its WebSockets, and the second API.

use anyhow::Result;

use crate::compare::quantity::Quantity;
use crate::compare::runner::{KEYS, READERS, Results, Runner, VALUE_LEN, Watched, keys};
use crate::key_space::Order;
use crate::scenario::{Transport, json_puts, json_reads, v2_gets, v2_sets};

/// Watchers by JSON.
pub(super) const WATCHED: Watched = Watched {
    transport: Transport::WebSocket,
    watchers: 1000,
    streams: 1000,
    rate: Quantity::JsonEventRate,
    per_cpu: Quantity::JsonEventsPerCpu,
    all: Quantity::JsonEventsAll,
};

impl Runner<'_> {
    pub(super) fn json_puts(&mut self) -> Result<()> {
        let results = Results {
            rate: Quantity::JsonPutRate,
            cpu: Quantity::JsonPutCpu,
            latency: Some((Quantity::JsonPutP50, Quantity::JsonPutP99)),
        };
        let puts = json_puts(keys(KEYS), Order::Random, VALUE_LEN);
        self.compete(READERS, self.side.cluster.all()?, &puts, &results)
    }

    pub(super) fn json_reads(&mut self) -> Result<()> {
        let results = Results {
            rate: Quantity::JsonReadRate,
            cpu: Quantity::JsonReadCpu,
            latency: Some((Quantity::JsonReadP50, Quantity::JsonReadP99)),
        };
        let reads = json_reads(keys(KEYS), Order::Random);
        self.compete(READERS, self.side.cluster.all()?, &reads, &results)
    }

    /// Sets every key that is read later.
    pub(super) fn prepare_v2(&mut self) -> Result<()> {
        let sets = v2_sets(keys(KEYS), Order::Sequential, VALUE_LEN);
        self.send(KEYS, self.side.cluster.all()?, &sets).map(drop)
    }

    /// Sets, then gets.
    pub(super) fn v2(&mut self) -> Result<()> {
        let results = Results {
            rate: Quantity::V2SetRate,
            cpu: Quantity::V2SetCpu,
            latency: Some((Quantity::V2SetP50, Quantity::V2SetP99)),
        };
        let sets = v2_sets(keys(KEYS), Order::Random, VALUE_LEN);
        self.compete(READERS, self.side.cluster.all()?, &sets, &results)?;
        let results = Results {
            rate: Quantity::V2GetRate,
            cpu: Quantity::V2GetCpu,
            latency: Some((Quantity::V2GetP50, Quantity::V2GetP99)),
        };
        let gets = v2_gets(keys(KEYS), Order::Random);
        self.compete(READERS, self.side.cluster.all()?, &gets, &results)
    }
}
