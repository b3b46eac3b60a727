//! The two forms of a configuration change, seen as one.

use std::borrow::Cow;

use crate::eraftpb::{ConfChange, ConfChangeSingle, ConfChangeType, ConfChangeV2};

/// A step that gives `node_id` the role that `change_type` names.
#[must_use]
pub fn new_conf_change_single(node_id: u64, change_type: ConfChangeType) -> ConfChangeSingle {
    ConfChangeSingle {
        change_type: change_type.into(),
        node_id,
    }
}

/// A configuration change of either form.
pub trait ConfChangeI {
    /// The change in its general form.
    fn into_v2(self) -> ConfChangeV2;

    /// The change in its general form, borrowed where it has that form.
    fn as_v2(&self) -> Cow<'_, ConfChangeV2>;

    /// The change in its simple form, if it has that form.
    fn as_v1(&self) -> Option<&ConfChange>;
}

impl ConfChangeI for ConfChange {
    fn into_v2(self) -> ConfChangeV2 {
        ConfChangeV2 {
            changes: vec![new_conf_change_single(self.node_id, self.change_type())],
            context: self.context,
            ..ConfChangeV2::default()
        }
    }

    fn as_v2(&self) -> Cow<'_, ConfChangeV2> {
        Cow::Owned(self.clone().into_v2())
    }

    fn as_v1(&self) -> Option<&ConfChange> {
        Some(self)
    }
}

impl ConfChangeI for ConfChangeV2 {
    fn into_v2(self) -> ConfChangeV2 {
        self
    }

    fn as_v2(&self) -> Cow<'_, ConfChangeV2> {
        Cow::Borrowed(self)
    }

    fn as_v1(&self) -> Option<&ConfChange> {
        None
    }
}
