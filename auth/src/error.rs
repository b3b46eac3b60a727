//! Why a request is refused. What clients are told is the server's to say.

use crate::name::NAME_BYTES_MAX;

/// A refusal, the same on every member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AuthError {
    /// Authentication cannot be enabled without a user `root`.
    #[error("there is no user root")]
    RootUserNotExist,
    /// Authentication cannot be enabled while user `root` has no role `root`.
    #[error("user root does not have role root")]
    RootRoleNotExist,
    /// A user of that name exists.
    #[error("the user exists already")]
    UserAlreadyExist,
    /// A user without a name; also a request of nobody where there must be a user.
    #[error("no user is given")]
    UserEmpty,
    /// No user of that name exists.
    #[error("the user does not exist")]
    UserNotFound,
    /// A role of that name exists.
    #[error("the role exists already")]
    RoleAlreadyExist,
    /// No role of that name exists.
    #[error("the role does not exist")]
    RoleNotFound,
    /// A role without a name.
    #[error("no role is given")]
    RoleEmpty,
    /// A name of a user or role that the store cannot take as a key.
    #[error("a name has {bytes} bytes, {NAME_BYTES_MAX} are allowed")]
    NameTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A request to grant a permission names none.
    #[error("no permission is given")]
    PermissionNotGiven,
    /// Wrong user or password; which of them is not told.
    #[error("the user or the password is wrong")]
    AuthFailed,
    /// A password where the user is to have none, or a hash that is none.
    #[error("a password for a user without password")]
    NoPasswordUser,
    /// The user may not do that.
    #[error("permission denied")]
    PermissionDenied,
    /// The user does not have the role that is to be taken away.
    #[error("the role is not granted to the user")]
    RoleNotGranted,
    /// The role does not have the permission that is to be taken away.
    #[error("the permission is not granted to the role")]
    PermissionNotGranted,
    /// A login while authentication is off.
    #[error("authentication is not enabled")]
    AuthNotEnabled,
    /// The rules changed after the request was let in.
    #[error("the rules have changed since the request was let in")]
    AuthOldRevision,
    /// A token that is none, or is no longer one.
    #[error("the token is not valid")]
    InvalidAuthToken,
    /// A change that would lock everybody out, or a permission on no key.
    #[error("the change is not allowed")]
    InvalidAuthMgmt,
}
