//! Rows of the tables of users and roles: etcd's `authpb`, byte for byte.
//!
//! The key of a row is the name, which the row repeats.

use bytes::Bytes;
use cairn_proto::authpb::{self, Permission, UserAddOptions};
use prost::Message;

use crate::name::Name;

/// What is stored of a user.
#[derive(Clone, PartialEq)]
pub(crate) struct UserRecord {
    /// bcrypt's hash; empty for a user without password.
    pub(crate) password: Bytes,
    /// Names of roles, ascending.
    pub(crate) roles: Vec<String>,
    /// How the user was added; absent in rows of old versions.
    pub(crate) options: Option<UserAddOptions>,
}

impl UserRecord {
    /// Whether the user proves who it is by a certificate alone.
    pub(crate) fn is_without_password(&self) -> bool {
        self.options.is_some_and(|options| options.no_password)
    }

    pub(crate) fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|granted| granted == role)
    }

    pub(crate) fn encode(&self, name: &Name) -> Bytes {
        let row = authpb::User {
            name: Bytes::copy_from_slice(name.as_key()),
            password: self.password.clone(),
            roles: self.roles.clone(),
            options: self.options,
        };
        row.encode_to_vec().into()
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let authpb::User {
            password,
            roles,
            options,
            ..
        } = authpb::User::decode(row).ok()?;
        Some(Self {
            password,
            roles,
            options,
        })
    }
}

/// What is stored of a role.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RoleRecord {
    /// Ascending by key; those of one key in the order in which they were granted.
    pub(crate) permissions: Vec<Permission>,
}

impl RoleRecord {
    pub(crate) fn encode(&self, name: &Name) -> Bytes {
        let row = authpb::Role {
            name: Bytes::copy_from_slice(name.as_key()),
            key_permission: self.permissions.clone(),
        };
        row.encode_to_vec().into()
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let authpb::Role { key_permission, .. } = authpb::Role::decode(row).ok()?;
        Some(Self {
            permissions: key_permission,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::AuthError;

    fn name(name: &str) -> Name {
        Name::parse(name, AuthError::UserEmpty).unwrap()
    }

    /// Field numbers and order as etcd's generated code writes them.
    #[test]
    fn rows_have_etcds_bytes() {
        let user = UserRecord {
            password: Bytes::from_static(b"h"),
            roles: vec!["r".to_owned()],
            options: Some(UserAddOptions::default()),
        };
        let row = user.encode(&name("u"));
        assert_eq!(row.as_ref(), b"\x0a\x01u\x12\x01h\x1a\x01r\x22\x00");
        assert!(UserRecord::decode(&row) == Some(user));
        let role = RoleRecord {
            permissions: vec![Permission {
                perm_type: 2,
                key: Bytes::from_static(b"k"),
                range_end: Bytes::from_static(b"\0"),
            }],
        };
        let row = role.encode(&name("r"));
        assert_eq!(
            row.as_ref(),
            b"\x0a\x01r\x12\x08\x08\x02\x12\x01k\x1a\x01\0"
        );
        assert_eq!(RoleRecord::decode(&row), Some(role));
    }

    #[test]
    fn torn_rows_are_none() {
        assert!(UserRecord::decode(b"\x0a\x05u").is_none());
        assert!(RoleRecord::decode(b"\x12\x05").is_none());
    }
}
