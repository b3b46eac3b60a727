//! Users and roles as they are stored, in the namespace `/2` of the tree, and shown: etcd's JSON.
//!
//! A list that was never given is `null`, one that is empty `[]`; etcd tells them apart, and clients
//! see it.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

/// The role that may do everything.
pub(super) const ROOT: &str = "root";
/// The role of those who do not say who they are.
pub(super) const GUEST: &str = "guest";

/// A refusal, with its HTTP status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, text: impl std::fmt::Display) -> Self {
        let text = format!("auth: {text}");
        Self { status, text }
    }

    fn conflict(text: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::CONFLICT, text)
    }
}

type List = Option<Vec<String>>;

/// A user.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct User {
    #[serde(default)]
    pub(super) user: String,
    /// The password as it comes, or its hash.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) password: String,
    #[serde(default)]
    pub(super) roles: List,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub(super) grant: List,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub(super) revoke: List,
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Role {
    #[serde(default)]
    pub(super) role: String,
    #[serde(default)]
    pub(super) permissions: Permissions,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) grant: Option<Permissions>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revoke: Option<Permissions>,
}

/// What a role may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Permissions {
    #[serde(default)]
    pub(super) kv: ReadWrite,
}

/// Paths that may be read and written; one that ends in `*` is a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReadWrite {
    #[serde(default)]
    pub(super) read: List,
    #[serde(default)]
    pub(super) write: List,
}

/// What is to be done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

fn is_empty(list: &List) -> bool {
    items(list).is_empty()
}

/// The items of a list, given or not.
pub(super) fn items(list: &List) -> &[String] {
    list.as_deref().unwrap_or_default()
}

impl User {
    /// As it is when read: the user root has the role root.
    pub(super) fn with_root(mut self) -> Self {
        if self.user == ROOT && !items(&self.roles).iter().any(|role| role == ROOT) {
            self.roles.get_or_insert_default().push(ROOT.to_owned());
        }
        self
    }

    /// With what `change` grants and revokes, and `hash` as the password if it brings one.
    pub(super) fn changed(&self, change: &Self, hash: Option<String>) -> Result<Self, Refusal> {
        let name = &self.user;
        let mut roles: BTreeSet<&String> = items(&self.roles).iter().collect();
        for role in items(&change.grant) {
            if !roles.insert(role) {
                let text = format!("Granting duplicate role {role} for user {name}");
                return Err(Refusal::conflict(text));
            }
        }
        for role in items(&change.revoke) {
            if !roles.remove(role) {
                let text = format!("Revoking ungranted role {role} for user {name}");
                return Err(Refusal::conflict(text));
            }
        }
        Ok(Self {
            user: name.clone(),
            password: hash.unwrap_or_else(|| self.password.clone()),
            roles: Some(roles.into_iter().cloned().collect()),
            grant: None,
            revoke: None,
        })
    }
}

impl Role {
    /// The role that may do everything.
    pub(super) fn root() -> Self {
        Self {
            role: ROOT.to_owned(),
            ..Self::guest()
        }
    }

    /// The role of those who do not say who they are, until somebody changes it.
    pub(super) fn guest() -> Self {
        let all = || Some(vec!["/*".to_owned()]);
        let kv = ReadWrite {
            read: all(),
            write: all(),
        };
        Self {
            role: GUEST.to_owned(),
            permissions: Permissions { kv },
            grant: None,
            revoke: None,
        }
    }

    /// With what `change` grants and revokes.
    pub(super) fn changed(&self, change: &Self) -> Result<Self, Refusal> {
        let mut kv = self.permissions.kv.clone();
        if let Some(granted) = &change.grant {
            kv = ReadWrite {
                read: granted_to(&kv.read, &granted.kv.read, "read")?,
                write: granted_to(&kv.write, &granted.kv.write, "write")?,
            };
        }
        if let Some(revoked) = &change.revoke {
            kv = ReadWrite {
                read: revoked_from(&kv.read, &revoked.kv.read),
                write: revoked_from(&kv.write, &revoked.kv.write),
            };
        }
        Ok(Self {
            role: self.role.clone(),
            permissions: Permissions { kv },
            grant: None,
            revoke: None,
        })
    }

    /// Whether the role may do this with the key, or with it and all below it.
    pub(super) fn may_access(&self, key: &[u8], access: Access, recursive: bool) -> bool {
        let kv = &self.permissions.kv;
        let patterns = match access {
            Access::Read => &kv.read,
            Access::Write => &kv.write,
        };
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix.as_bytes()),
            None => !recursive && key == pattern.as_bytes(),
        };
        self.role == ROOT || items(patterns).iter().any(matches)
    }
}

impl Permissions {
    pub(super) fn is_empty(&self) -> bool {
        is_empty(&self.kv.read) && is_empty(&self.kv.write)
    }
}

fn granted_to(before: &List, granted: &List, what: &str) -> Result<List, Refusal> {
    let mut all: BTreeSet<&String> = items(before).iter().collect();
    for path in items(granted) {
        if !all.insert(path) {
            let text = format!("Granting duplicate {what} permission {path}");
            return Err(Refusal::conflict(text));
        }
    }
    Ok(Some(all.into_iter().cloned().collect()))
}

fn revoked_from(before: &List, revoked: &List) -> List {
    let mut all: BTreeSet<&String> = items(before).iter().collect();
    for path in items(revoked) {
        all.remove(path);
    }
    Some(all.into_iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(read: &[&str], write: &[&str]) -> Role {
        let list = |paths: &[&str]| Some(paths.iter().map(|it| (*it).to_owned()).collect());
        let kv = ReadWrite {
            read: list(read),
            write: list(write),
        };
        Role {
            role: "r".to_owned(),
            permissions: Permissions { kv },
            ..Role::default()
        }
    }

    #[test]
    fn a_path_that_ends_in_a_star_is_a_prefix_and_recursion_needs_one() {
        let role = role(&["/a/*", "/b"], &["/a/x"]);
        for (key, access, recursive, may) in [
            ("/a/x", Access::Read, false, true),
            ("/a/", Access::Read, true, true),
            ("/a", Access::Read, false, false),
            ("/b", Access::Read, false, true),
            ("/b", Access::Read, true, false),
            ("/b/c", Access::Read, false, false),
            ("/a/x", Access::Write, false, true),
            ("/a/y", Access::Write, false, false),
        ] {
            let found = role.may_access(key.as_bytes(), access, recursive);
            assert_eq!(found, may, "{key} {access:?} {recursive}");
        }
        assert!(Role::root().may_access(b"/x", Access::Write, true));
    }

    #[test]
    fn grants_are_new_and_revocations_of_roles_are_of_what_there_is() {
        let user = User {
            user: "u".to_owned(),
            ..User::default()
        };
        let grant = |roles: &[&str]| User {
            grant: Some(roles.iter().map(|it| (*it).to_owned()).collect()),
            ..user.clone()
        };
        let Ok(granted) = user.changed(&grant(&["r"]), None) else {
            panic!("a new role is granted");
        };
        assert_eq!(granted.roles, Some(vec!["r".to_owned()]));
        let twice = granted.changed(&grant(&["r"]), None).err().unwrap();
        assert_eq!(twice.text, "auth: Granting duplicate role r for user u");
        let revoke = User {
            revoke: Some(vec!["zz".to_owned()]),
            ..user.clone()
        };
        let absent = granted.changed(&revoke, None).err().unwrap();
        assert_eq!(absent.text, "auth: Revoking ungranted role zz for user u");
    }

    #[test]
    fn lists_that_were_not_given_are_null() {
        let user: User = serde_json::from_str("{\"user\":\"u\"}").unwrap();
        assert_eq!(
            serde_json::to_string(&user).unwrap(),
            "{\"user\":\"u\",\"roles\":null}"
        );
        let role: Role = serde_json::from_str("{\"role\":\"r\"}").unwrap();
        assert_eq!(
            serde_json::to_string(&role).unwrap(),
            "{\"role\":\"r\",\"permissions\":{\"kv\":{\"read\":null,\"write\":null}}}"
        );
    }
}
