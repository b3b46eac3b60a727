//! Who may do what: users, roles and the switch, in the namespace `/2` of the tree.
//!
//! They are apart from users and roles of the third API, as with etcd.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axum::http::header::AUTHORIZATION;
use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_v2::{Action, ErrorKind, NodePath, Request, Shown};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::records::{Access, GUEST, ROOT, Refusal, Role, User, items};
use crate::api::v2::Call;
use crate::member::{Member, V2Error, v2_now};

/// Where all this is in the tree.
pub(super) const PERMISSIONS: &str = "/2";
/// The switch, in there.
const SWITCH: &str = "/enabled";

/// Why something about users is not done.
#[derive(Debug)]
pub(super) enum AuthFailure {
    Refused(Refusal),
    Tree(V2Error),
    /// What is stored is not what it should be.
    Damaged(String),
}

impl From<Refusal> for AuthFailure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<V2Error> for AuthFailure {
    fn from(error: V2Error) -> Self {
        Self::Tree(error)
    }
}

impl AuthFailure {
    /// The kind of the tree's refusal, if it is one.
    pub(super) const fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Tree(V2Error::Refused(error)) => Some(error.kind),
            _ => None,
        }
    }
}

/// Users, roles and the switch.
pub(crate) struct AuthKeeper {
    member: Arc<Member>,
    /// Whether the directories are known to be there.
    ensured: AtomicBool,
    /// Where the switch is.
    switch: NodePath,
    /// A revision at which there was no switch; 0 if none is known.
    none_at: AtomicU64,
}

impl AuthKeeper {
    pub(in crate::api::v2) fn new(member: Arc<Member>) -> Self {
        Self {
            member,
            ensured: AtomicBool::new(false),
            // The root, were this no path, is always there: then the switch is read at each request.
            switch: node_path(SWITCH).unwrap_or(NodePath::ROOT),
            none_at: AtomicU64::new(0),
        }
    }

    /// Whether anyone is asked who they are.
    pub(super) fn is_enabled(&self) -> bool {
        // Asked with every request, and where nobody has ever switched it on the index knows enough.
        // Before the index is asked: what it knows then is of this revision, or a later one.
        let revision = self.member.store.current().number();
        if self.none_at.load(Ordering::Acquire) == revision {
            return false;
        }
        if !self.member.v2_exists(&self.switch) {
            self.none_at.store(revision, Ordering::Release);
            return false;
        }
        match self.stored::<bool>(SWITCH) {
            Ok(enabled) => enabled,
            Err(failure) if failure.kind() == Some(ErrorKind::KeyNotFound) => false,
            Err(failure) => {
                // To let everyone in would be worse.
                tracing::error!(?failure, "cannot read whether v2 authentication is on");
                true
            }
        }
    }

    /// Whether the caller has the role root, or nobody needs one.
    pub(in crate::api::v2) async fn is_root(&self, call: &Call) -> bool {
        if !self.is_enabled() {
            return true;
        }
        let Some(user) = self.caller(call).await else {
            return false;
        };
        items(&user.roles).iter().any(|role| role == ROOT)
    }

    /// Whether the caller may do with a key what the call's method says.
    pub(in crate::api::v2) async fn may_access_key(
        &self,
        call: &Call,
        key: &[u8],
        recursive: bool,
    ) -> bool {
        if !self.is_enabled() {
            return true;
        }
        let access = if call.method == Method::GET || call.method == Method::HEAD {
            Access::Read
        } else {
            Access::Write
        };
        let anonymous = !call.headers.contains_key(AUTHORIZATION);
        match self.caller(call).await {
            Some(user) => items(&user.roles).iter().any(|name| {
                let role = self.role(name);
                role.is_ok_and(|role| role.may_access(key, access, recursive))
            }),
            None if anonymous => {
                let guest = self.role(GUEST);
                guest.is_ok_and(|guest| guest.may_access(key, access, false))
            }
            None => false,
        }
    }

    /// The user that a call is made by, if it says so and that is true.
    async fn caller(&self, call: &Call) -> Option<User> {
        let Some(credentials) = call.headers.get(AUTHORIZATION) else {
            return self.user(call.common_name.as_deref()?).ok();
        };
        let (name, password) = basic(credentials.as_bytes())?;
        let user = self.user(&name).ok()?;
        let hash = Bytes::from(user.password.clone());
        let passwords = &self.member.auth.passwords;
        // The names of the third API's users are others.
        let known_as = format!("v2 {name}");
        let right = passwords.verify(&known_as, &Arc::new(password), hash).await;
        right.unwrap_or(false).then_some(user)
    }

    /// All users' names, sorted; none is not the same as an empty list.
    pub(super) fn users(&self) -> Result<Vec<String>, AuthFailure> {
        self.names("/users")
    }

    /// All roles' names, sorted, root's among them.
    pub(super) fn roles(&self) -> Result<Vec<String>, AuthFailure> {
        let mut names = self.names("/roles")?;
        names.push(ROOT.to_owned());
        names.sort_unstable();
        Ok(names)
    }

    fn names(&self, directory: &str) -> Result<Vec<String>, AuthFailure> {
        let found = match self.get(directory) {
            Ok(found) => found,
            Err(failure) if failure.kind() == Some(ErrorKind::KeyNotFound) => {
                return Ok(Vec::new());
            }
            Err(failure) => return Err(failure),
        };
        let names = found.nodes.iter().filter_map(|node| {
            let path = node.path.as_bytes();
            path.rsplit(|&byte| byte == b'/')
                .next()
                .map(|name| String::from_utf8_lossy(name).into_owned())
        });
        Ok(names.collect())
    }

    /// A user as this member has it.
    pub(super) fn user(&self, name: &str) -> Result<User, AuthFailure> {
        let user: Result<User, _> = self.stored(&format!("/users/{name}"));
        match user {
            Ok(user) => Ok(user.with_root()),
            Err(failure) if failure.kind() == Some(ErrorKind::KeyNotFound) => {
                let text = format!("User {name} does not exist.");
                Err(Refusal::new(StatusCode::NOT_FOUND, text).into())
            }
            Err(failure) => Err(failure),
        }
    }

    /// A role as this member has it.
    pub(super) fn role(&self, name: &str) -> Result<Role, AuthFailure> {
        if name == ROOT {
            return Ok(Role::root());
        }
        match self.stored(&format!("/roles/{name}")) {
            Err(failure) if failure.kind() == Some(ErrorKind::KeyNotFound) => {
                let text = format!("Role {name} does not exist.");
                Err(Refusal::new(StatusCode::NOT_FOUND, text).into())
            }
            found => found,
        }
    }

    /// Waits until this member has all that was acknowledged.
    pub(super) async fn refresh(&self) -> Result<(), AuthFailure> {
        let confirmed = self.member.linearizable().await;
        confirmed.map_err(|error| V2Error::from(error).into())
    }

    /// Makes a user.
    pub(super) async fn create_user(&self, user: User) -> Result<User, AuthFailure> {
        let mut user = user.with_root();
        let name = user.user.clone();
        if user.password.is_empty() {
            let text = format!("Cannot create user {name} with an empty password");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, text).into());
        }
        let password = std::mem::take(&mut user.password);
        user.password = self.hash(password).await?;
        match self.write(&format!("/users/{name}"), &user, false).await {
            Err(failure) if failure.kind() == Some(ErrorKind::NodeExists) => {
                let text = format!("User {name} already exists.");
                Err(Refusal::new(StatusCode::CONFLICT, text).into())
            }
            done => done.map(|()| user),
        }
    }

    /// Changes a user.
    pub(super) async fn update_user(&self, mut change: User) -> Result<User, AuthFailure> {
        self.refresh().await?;
        let old = self.user(&change.user)?;
        let hash = if change.password.is_empty() {
            None
        } else {
            let password = std::mem::take(&mut change.password);
            Some(self.hash(password).await?)
        };
        let new = old.changed(&change, hash)?;
        if new == old {
            let text = "User not updated. Use grant/revoke/password to update the user.";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, text).into());
        }
        let path = format!("/users/{}", new.user);
        self.write(&path, &new, true).await?;
        Ok(new)
    }

    /// Deletes a user.
    pub(super) async fn delete_user(&self, name: &str) -> Result<(), AuthFailure> {
        if self.is_enabled() && name == ROOT {
            let text = "Cannot delete root user while auth is enabled.";
            return Err(Refusal::new(StatusCode::FORBIDDEN, text).into());
        }
        match self.delete(&format!("/users/{name}")).await {
            Err(failure) if failure.kind() == Some(ErrorKind::KeyNotFound) => {
                let text = format!("User {name} does not exist");
                Err(Refusal::new(StatusCode::NOT_FOUND, text).into())
            }
            done => done,
        }
    }

    /// Makes a role.
    pub(super) async fn create_role(&self, role: &Role) -> Result<(), AuthFailure> {
        let name = &role.role;
        refuse_root(name)?;
        match self.write(&format!("/roles/{name}"), role, false).await {
            Err(failure) if failure.kind() == Some(ErrorKind::NodeExists) => {
                let text = format!("Role {name} already exists.");
                Err(Refusal::new(StatusCode::CONFLICT, text).into())
            }
            done => done,
        }
    }

    /// Changes a role.
    pub(super) async fn update_role(&self, change: &Role) -> Result<Role, AuthFailure> {
        refuse_root(&change.role)?;
        self.refresh().await?;
        let old = self.role(&change.role)?;
        let new = old.changed(change)?;
        if new == old {
            let text = "Role not updated. Use grant/revoke to update the role.";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, text).into());
        }
        let path = format!("/roles/{}", new.role);
        self.write(&path, &new, true).await?;
        Ok(new)
    }

    /// Deletes a role.
    pub(super) async fn delete_role(&self, name: &str) -> Result<(), AuthFailure> {
        refuse_root(name)?;
        match self.delete(&format!("/roles/{name}")).await {
            Err(failure) if failure.kind() == Some(ErrorKind::KeyNotFound) => {
                let text = format!("Role {name} doesn't exist.");
                Err(Refusal::new(StatusCode::NOT_FOUND, text).into())
            }
            done => done,
        }
    }

    /// From now on people are asked who they are.
    pub(super) async fn enable(&self) -> Result<(), AuthFailure> {
        if self.is_enabled() {
            return Err(Refusal::new(StatusCode::CONFLICT, "already enabled").into());
        }
        self.refresh().await?;
        if self.user(ROOT).is_err() {
            let text = "No root user available, please create one";
            return Err(Refusal::new(StatusCode::CONFLICT, text).into());
        }
        if self.role(GUEST).is_err() {
            self.create_role(&Role::guest()).await?;
        }
        self.write("/enabled", &true, true).await
    }

    /// From now on nobody is asked.
    pub(super) async fn disable(&self) -> Result<(), AuthFailure> {
        if !self.is_enabled() {
            return Err(Refusal::new(StatusCode::CONFLICT, "already disabled").into());
        }
        self.write("/enabled", &false, true).await
    }

    async fn hash(&self, password: String) -> Result<String, AuthFailure> {
        let hashed = self
            .member
            .auth
            .passwords
            .hash(Zeroizing::new(password))
            .await;
        hashed.map_err(|error| V2Error::from(error).into())
    }

    fn stored<T: DeserializeOwned>(&self, path: &str) -> Result<T, AuthFailure> {
        let node = self.get(path)?;
        let value = node.value.unwrap_or_default();
        let read = serde_json::from_slice(&value);
        read.map_err(|error| AuthFailure::Damaged(format!("{path}: {error}")))
    }

    fn get(&self, path: &str) -> Result<Shown, AuthFailure> {
        let (node, _) = self.member.v2_get_uncounted(&node_path(path)?, false)?;
        Ok(node)
    }

    async fn write(
        &self,
        path: &str,
        value: &impl Serialize,
        exists: bool,
    ) -> Result<(), AuthFailure> {
        self.ensure_directories().await?;
        let value = serde_json::to_vec(value);
        let value = value.map_err(|error| AuthFailure::Damaged(error.to_string()))?;
        let request = Request {
            val: value.into(),
            prev_exist: Some(exists),
            ..put(path)?
        };
        self.send(request).await
    }

    async fn delete(&self, path: &str) -> Result<(), AuthFailure> {
        self.ensure_directories().await?;
        let request = Request {
            method: "DELETE".to_owned(),
            prev_exist: Some(true),
            ..put(path)?
        };
        self.send(request).await
    }

    async fn ensure_directories(&self) -> Result<(), AuthFailure> {
        if self.ensured.load(Ordering::Acquire) {
            return Ok(());
        }
        for (path, dir, val) in [
            ("", true, ""),
            ("/users", true, ""),
            ("/roles", true, ""),
            ("/enabled", false, "false"),
        ] {
            let request = Request {
                dir,
                val: Bytes::from_static(val.as_bytes()),
                prev_exist: Some(false),
                ..put(path)?
            };
            match self.send(request).await {
                Err(failure) if failure.kind() == Some(ErrorKind::NodeExists) => {}
                done => done?,
            }
        }
        self.ensured.store(true, Ordering::Release);
        Ok(())
    }

    async fn send(&self, request: Request) -> Result<(), AuthFailure> {
        let done = self.member.v2_write(request).await?;
        debug_assert!(done.event.action != Action::Get, "a write");
        Ok(())
    }
}

fn put(path: &str) -> Result<Request, AuthFailure> {
    Ok(Request {
        method: "PUT".to_owned(),
        path: node_path(path)?.as_bytes().clone(),
        time: v2_now().nanos(),
        ..Request::default()
    })
}

fn node_path(path: &str) -> Result<NodePath, AuthFailure> {
    let full = format!("{PERMISSIONS}{path}");
    let parsed = NodePath::parse(full.as_bytes());
    let inside = NodePath::parse(PERMISSIONS.as_bytes());
    match (parsed, inside) {
        (Ok(path), Ok(inside)) if path == inside || path.is_below(&inside) => Ok(path),
        _ => Err(Refusal::new(StatusCode::BAD_REQUEST, "invalid name").into()),
    }
}

fn refuse_root(name: &str) -> Result<(), Refusal> {
    if name == ROOT {
        let text = format!("Cannot modify role {name}: is root role.");
        return Err(Refusal::new(StatusCode::FORBIDDEN, text));
    }
    Ok(())
}

/// Name and password of the basic scheme.
fn basic(credentials: &[u8]) -> Option<(String, Zeroizing<String>)> {
    let (scheme, encoded) = credentials.split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded).ok()?);
    let text = std::str::from_utf8(&decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), Zeroizing::new(password.to_owned())))
}
