//! What a user may do, merged from the user's roles.

use cairn_proto::authpb::{Permission, permission};

use crate::key_ranges::KeyRanges;
use crate::key_span::KeySpan;
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
        let spans = |access: Access| {
            let permissions = roles.iter().flat_map(|role| permissions_of(role));
            let granting = permissions.filter(move |permission| grants(permission, access));
            KeyRanges::merge(granting.map(|it| KeySpan::from_wire(&it.key, &it.range_end)))
        };
        Self::Keys {
            read: spans(Access::Read),
            write: spans(Access::Write),
        }
    }

    pub(crate) fn permit(&self, span: KeySpan<'_>, access: Access) -> bool {
        match (self, access) {
            (Self::All, _) => true,
            (Self::Keys { read, .. }, Access::Read) => read.covers(span),
            (Self::Keys { write, .. }, Access::Write) => write.covers(span),
        }
    }
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
