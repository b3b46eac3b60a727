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

    /// Reads the row of user `name`, or says what is wrong with it.
    pub(crate) fn decode(name: &Name, row: &[u8]) -> Result<Self, String> {
        let authpb::User {
            name: repeated,
            password,
            roles,
            options,
        } = authpb::User::decode(row).map_err(|error| error.to_string())?;
        check_name(name, &repeated)?;
        if !roles.is_sorted_by(|a, b| a < b) {
            return Err("its roles are not in order".to_owned());
        }
        Ok(Self {
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

    /// Reads the row of role `name`, or says what is wrong with it.
    pub(crate) fn decode(name: &Name, row: &[u8]) -> Result<Self, String> {
        let authpb::Role {
            name: repeated,
            key_permission,
        } = authpb::Role::decode(row).map_err(|error| error.to_string())?;
        check_name(name, &repeated)?;
        if !key_permission.is_sorted_by_key(|it| &it.key) {
            return Err("its permissions are not in order".to_owned());
        }
        Ok(Self {
            permissions: key_permission,
        })
    }
}

fn check_name(key: &Name, repeated: &[u8]) -> Result<(), String> {
    if key.as_key() == repeated {
        Ok(())
    } else {
        Err("the row is another name's".to_owned())
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
        assert!(UserRecord::decode(&name("u"), &row) == Ok(user));
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
        assert_eq!(RoleRecord::decode(&name("r"), &row), Ok(role));
    }

    #[test]
    fn torn_rows_and_rows_of_other_names_are_refused() {
        let user = name("u");
        for row in [b"\x0a\x05u".as_slice(), b"", b"\x0a\x01v"] {
            assert!(UserRecord::decode(&user, row).is_err());
        }
        for row in [b"\x12\x05".as_slice(), b"", b"\x0a\x01v"] {
            assert!(RoleRecord::decode(&user, row).is_err());
        }
        let unsorted = b"\x0a\x01u\x1a\x01b\x1a\x01a";
        assert!(UserRecord::decode(&user, unsorted).is_err());
    }
}
