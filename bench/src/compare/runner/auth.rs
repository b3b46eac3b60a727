//! The benchmark of auth: what it costs a server to know who puts, and whether he may.

use anyhow::Result;

use crate::access::Access;
use crate::compare::quantity::Quantity;
use crate::compare::runner::{KEYS, MANY, Runner, keys, some_puts};

impl Runner<'_> {
    /// Makes the users; auth stays off.
    pub(super) fn prepare_auth(&mut self) -> Result<()> {
        Access::of(self.side.endpoint()?).set_up(&keys(KEYS))
    }

    /// Puts without auth, and then the same on behalf of a user who may put these keys by a role.
    pub(super) fn auth(&mut self) -> Result<()> {
        let access = Access::of(self.side.endpoint()?);
        let open = self.drive(MANY, self.side.cluster.all()?, &some_puts())?;
        access.enable()?;
        let target = self.side.cluster.all()?.with_user(access.user().clone());
        let under_auth = self.drive(MANY, target, &some_puts())?;
        access.disable()?;
        self.side.add(Quantity::OpenPutRate, open.per_second);
        self.add_cpu(&open, Quantity::OpenPutCpu);
        self.side.add(Quantity::AuthPutRate, under_auth.per_second);
        self.add_cpu(&under_auth, Quantity::AuthPutCpu);
        let share = under_auth.per_second / open.per_second;
        self.side.add(Quantity::AuthShare, share);
        Ok(())
    }
}
