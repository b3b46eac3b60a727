//! Benchmarks of leases: renewing them, and the memory that they take.

use anyhow::Result;

use crate::compare::quantity::Quantity;
use crate::compare::runner::{MANY, Results, Runner, SETTLE, bytes};
use crate::measurement::Measurement;
use crate::scenario::{Grants, Renewals};

/// Leases that are renewed: one for each client.
const RENEWED: u64 = 1000;
/// Seconds that leases live: longer than any benchmark.
const TTL_SECS: i64 = 24 * 3600;

impl Runner<'_> {
    pub(super) fn prepare_renewals(&mut self) -> Result<()> {
        self.grant(RENEWED).map(drop)
    }

    /// Renewals of all leases in turn, each client on one stream.
    pub(super) fn renewals(&mut self) -> Result<()> {
        let results = Results {
            rate: Quantity::RenewalRate,
            cpu: Quantity::RenewalCpu,
            latency: Some((Quantity::RenewalP50, Quantity::RenewalP99)),
        };
        let renewals = Renewals { leases: RENEWED };
        self.compete(MANY, self.side.cluster.all()?, &renewals, &results)
    }

    /// Grants many leases, and looks at the memory before and after.
    pub(super) fn prepare_leases(&mut self) -> Result<()> {
        let before = self.side.usage()?.resident_bytes;
        let granted = self.grant(self.scale.leases)?;
        self.side.add(Quantity::GrantRate, granted.per_second);
        std::thread::sleep(SETTLE);
        let after = self.side.usage()?.resident_bytes;
        self.side.add(Quantity::LeasesMemory, bytes(after));
        let added = bytes(after.saturating_sub(before));
        self.side.add(Quantity::LeasesAdded, added);
        Ok(())
    }

    /// Restarts the server, which then has the leases still.
    pub(super) fn restart_leases(&mut self) -> Result<()> {
        self.side.restart()?;
        std::thread::sleep(SETTLE);
        let resident = bytes(self.side.usage()?.resident_bytes);
        self.side.add(Quantity::LeasesRestarted, resident);
        Ok(())
    }

    fn grant(&self, leases: u64) -> Result<Measurement> {
        self.send(leases, self.side.cluster.all()?, &Grants { ttl: TTL_SECS })
    }
}
