//! What a user may do, merged from the user's roles.

use cairn_index::KeyRange;
use cairn_proto::authpb::{Permission, permission};

use crate::key_ranges::KeyRanges;
use crate::name::ROOT;

/// What is done with keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Looking at them, also by comparing, watching, and by being told what was there before.
    Read,
    /// Putting and deleting them.
    Write,
}

/// What a user may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Everything: the user has role `root`.
    All,
    /// What its roles' permissions say.
    Keys { read: KeyRanges, write: KeyRanges },
}

impl Rights {
    /// Merges the permissions of a user's roles; `permissions_of` knows a role's, if there is one.
    pub(crate) fn merge<'a>(
        roles: &[String],
        permissions_of: impl Fn(&str) -> &'a [Permission],
    ) -> Self {
        if roles.iter().any(|role| role == ROOT) {
            return Self::All;
        }
        let ranges = |access: Access| {
            let permissions = roles.iter().flat_map(|role| permissions_of(role));
            let granting = permissions.filter(move |permission| grants(permission, access));
            KeyRanges::merge(granting.map(range_of))
        };
        Self::Keys {
            read: ranges(Access::Read),
            write: ranges(Access::Write),
        }
    }

    pub(crate) fn permit(&self, range: &KeyRange, access: Access) -> bool {
        match (self, access) {
            (Self::All, _) => true,
            (Self::Keys { read, .. }, Access::Read) => read.covers(range),
            (Self::Keys { write, .. }, Access::Write) => write.covers(range),
        }
    }
}

/// The keys that a permission is about.
pub(crate) fn range_of(permission: &Permission) -> KeyRange {
    KeyRange::from_wire(permission.key.clone(), permission.range_end.clone())
}

/// A type that this version does not know grants nothing.
fn grants(permission: &Permission, access: Access) -> bool {
    match permission::Type::try_from(permission.perm_type) {
        Ok(permission::Type::Readwrite) => true,
        Ok(permission::Type::Read) => access == Access::Read,
        Ok(permission::Type::Write) => access == Access::Write,
        Err(_) => false,
    }
}
