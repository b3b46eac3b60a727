//! Names of users and roles.

use std::borrow::Borrow;
use std::sync::Arc;

use crate::error::AuthError;

/// The longest name in bytes: what the storage engine takes as a key.
pub const NAME_BYTES_MAX: usize = cairn_backend::KEY_BYTES_MAX;

/// The name of the user, and of the role, that may do everything.
pub const ROOT: &str = "root";

/// The name of a user or role.
///
/// Invariant: 1 to [`NAME_BYTES_MAX`] bytes, so that it is a key of its table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Reads a name; `empty` is what to call the error if there is none.
    ///
    /// # Errors
    ///
    /// `empty`, or [`AuthError::NameTooLong`].
    pub fn parse(name: &str, empty: AuthError) -> Result<Self, AuthError> {
        match name.len() {
            0 => Err(empty),
            bytes if bytes > NAME_BYTES_MAX => Err(AuthError::NameTooLong { bytes }),
            _ => Ok(Self(name.into())),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as the key of its row.
    pub(crate) fn as_key(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_byte_to_as_many_as_a_key_may_have() {
        let parse = |bytes| Name::parse(&"n".repeat(bytes), AuthError::RoleEmpty).map(|_| ());
        assert_eq!(parse(0), Err(AuthError::RoleEmpty));
        assert_eq!(parse(1), Ok(()));
        assert_eq!(parse(NAME_BYTES_MAX), Ok(()));
        let bytes = NAME_BYTES_MAX + 1;
        assert_eq!(parse(bytes), Err(AuthError::NameTooLong { bytes }));
    }
}
