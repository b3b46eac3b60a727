//! A delete, parsed.

use cairn_index::KeyRange;
use cairn_proto::etcdserverpb::DeleteRangeRequest;

use super::RequestError;

/// Deletes every key of a range, in one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRange {
    /// The keys.
    pub range: KeyRange,
    /// Whether the answer carries what was deleted.
    pub prev_kv: bool,
}

impl DeleteRange {
    /// Parses a delete.
    ///
    /// # Errors
    ///
    /// [`RequestError::EmptyKey`].
    pub fn parse(request: DeleteRangeRequest) -> Result<Self, RequestError> {
        if request.key.is_empty() {
            return Err(RequestError::EmptyKey);
        }
        let range = KeyRange::from_wire(request.key, request.range_end);
        Ok(Self {
            range,
            prev_kv: request.prev_kv,
        })
    }
}
