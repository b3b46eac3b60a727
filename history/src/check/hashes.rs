//! Members at the same revision and compaction hold the same.

use std::collections::BTreeMap;

use crate::timeline::Concerned;
use crate::verdict::{Rule, Verdict};
use crate::{HashKv, History, OpId, Request, Response, Revision};

/// Compares all hashes.
pub(super) fn check(history: &History, verdict: &mut Verdict) {
    let mut first: BTreeMap<(Revision, Option<Revision>), (OpId, u32)> = BTreeMap::new();
    for (id, op) in history.ops.iter().enumerate() {
        let (Request::HashKv(requested), Some(answer)) = (&op.request, op.outcome.answer()) else {
            continue;
        };
        let Response::HashKv(HashKv {
            hash,
            hash_revision,
            compact_revision,
        }) = answer.body
        else {
            continue;
        };
        let Some(revision) = requested.or(hash_revision).or(answer.revision) else {
            continue;
        };
        let id = OpId(id);
        let (other, before) = *first
            .entry((revision, compact_revision))
            .or_insert((id, hash));
        if before != hash {
            let text = format!(
                "the hash up to revision {revision} is {before:08x} by {other} and {hash:08x} by {id}"
            );
            let concerned = Concerned::default().ops([other, id]);
            verdict.violation(history, Rule::EqualHash, text, &concerned);
        }
    }
}
