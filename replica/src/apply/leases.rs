//! Applying what concerns leases.

use std::sync::Arc;

use bytes::Bytes;
use cairn_consensus::Term;
use cairn_index::KeyRange;
use cairn_lease::{LeaseId, Leases, Renewal, Ttl};
use cairn_mvcc::{Change, WriteBatch};
use cairn_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest, LeaseRevokeResponse, ResponseHeader,
};
use parking_lot::Mutex;

use super::{Failure, FatalError, Outcome};
use crate::error::ApplyError;
use crate::lease_request::LeaseRequest;

/// The leases, as the applier changes them and others look at them and keep their time. Whoever
/// locks them does so for one step, and waits for nothing meanwhile.
pub type SharedLeases = Arc<Mutex<Leases>>;

/// What became of leases in a batch of entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseChanges {
    /// The times to live that were granted.
    pub granted: Vec<Ttl>,
    /// How many leases ended.
    pub revoked: u64,
    /// How many of these had expired.
    pub expired: u64,
    /// Whether an expiry or a checkpoint came through, which renewals may be waiting for.
    pub settled: bool,
}

/// Where a request stands in the log.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) renewal: Renewal,
    pub(super) term: Term,
}

/// Applies a request; `changes` gets what it changed in the store.
pub(super) fn apply(
    request: LeaseRequest,
    place: Place,
    leases: &mut Leases,
    batch: &mut WriteBatch<'_>,
    changes: &mut Vec<Change>,
    told: &mut LeaseChanges,
) -> Result<Outcome, Failure> {
    match request {
        LeaseRequest::Grant(request) => grant(request, place, leases, batch, told),
        LeaseRequest::Revoke(LeaseRevokeRequest { id }) => {
            let id = LeaseId::from_wire(id);
            let keys = id.and_then(|id| leases.revoke(id, batch.backend()));
            let keys = keys.ok_or(ApplyError::LeaseNotFound)?;
            delete(&keys, batch, changes);
            told.revoked += 1;
            let header = header(batch);
            Ok(Outcome::LeaseRevoke(LeaseRevokeResponse { header }))
        }
        LeaseRequest::Checkpoint { term, leases: all } => {
            told.settled = true;
            check_term(term, place)?;
            for checkpoint in all {
                leases.checkpoint(checkpoint, batch.backend());
            }
            Ok(Outcome::Done)
        }
        LeaseRequest::Renew { term, lease } => {
            told.settled = true;
            check_term(term, place)?;
            leases.renewed(lease, place.renewal, batch.backend());
            Ok(Outcome::Done)
        }
        LeaseRequest::Expire(expiry) => {
            told.settled = true;
            check_term(expiry.term, place)?;
            for lease in expiry.leases {
                if let Some(keys) = leases.expire(lease, batch.backend()) {
                    delete(&keys, batch, changes);
                    told.revoked += 1;
                    told.expired += 1;
                }
            }
            Ok(Outcome::Done)
        }
    }
}

/// Lets leases know of changes of keys.
pub(super) fn follow(leases: &Mutex<Leases>, changes: &[Change]) -> Result<(), FatalError> {
    let followed = leases.lock().follow(changes);
    followed.map_err(|error| FatalError::Read(error.into()))
}

/// The keys attached to a lease.
pub(super) fn keys(leases: &Mutex<Leases>, lease: LeaseId) -> Vec<Bytes> {
    let leases = leases.lock();
    let keys = leases.keys(lease);
    keys.map(|key| Bytes::copy_from_slice(key)).collect()
}

fn grant(
    request: LeaseGrantRequest,
    place: Place,
    leases: &mut Leases,
    batch: &mut WriteBatch<'_>,
    told: &mut LeaseChanges,
) -> Result<Outcome, Failure> {
    let id = LeaseId::from_wire(request.id).ok_or(ApplyError::LeaseNotFound)?;
    let ttl = Ttl::from_wire(request.ttl).map_err(|_| ApplyError::LeaseTtlTooLarge)?;
    let granted = leases.grant(id, ttl, place.renewal, batch.backend());
    granted.map_err(|_| ApplyError::LeaseExists)?;
    told.granted.push(ttl);
    Ok(Outcome::LeaseGrant(LeaseGrantResponse {
        header: header(batch),
        id: id.to_wire(),
        ttl: ttl.to_wire(),
        error: String::new(),
    }))
}

/// What was decided in a term that has ended since does not hold.
fn check_term(decided: cairn_lease::Term, place: Place) -> Result<(), ApplyError> {
    if decided.0 == place.term.get() {
        Ok(())
    } else {
        Err(ApplyError::TermEnded)
    }
}

/// Deletes the keys of one lease, in one revision.
fn delete(keys: &[Arc<[u8]>], batch: &mut WriteBatch<'_>, changes: &mut Vec<Change>) {
    let mut txn = batch.txn();
    for key in keys {
        txn.delete_range(&KeyRange::One(Bytes::copy_from_slice(key)));
    }
    changes.extend(txn.end().changes);
}

fn header(batch: &WriteBatch<'_>) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        revision: batch.current().to_wire(),
        ..ResponseHeader::default()
    })
}
