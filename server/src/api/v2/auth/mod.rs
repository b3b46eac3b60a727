//! `/v2/auth`: users, roles and the switch, for root.

mod keeper;
mod records;

use axum::body::Body;
use axum::http::{Extensions, HeaderMap, Method, StatusCode};
use axum::response::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

use self::keeper::{AuthFailure, PERMISSIONS};
use self::records::{Refusal, Role, User, items};
use super::{Call, V2Parts, answer, json_body, keys};
use crate::api::http::not_found;
use crate::member::V2Error;
use crate::member::auth::{ClientCertificate, CommonName};

pub(crate) use self::keeper::AuthKeeper;

/// The name in a client's certificate, where that counts.
pub(super) fn common_name(_: &HeaderMap, extensions: &Extensions) -> Option<Arc<str>> {
    let certificate = extensions.get::<ClientCertificate>();
    let name = certificate.and_then(ClientCertificate::common_name);
    name.map(CommonName::as_str).map(Arc::from)
}

/// A user with what its roles may do.
#[derive(Serialize)]
struct UserWithRoles {
    user: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<Role>,
}

/// What an answer holds: nothing, or JSON.
enum Content {
    Nothing,
    Json(StatusCode, String),
}

type Answered = Result<Content, AuthFailure>;

/// Answers a request on `/v2/auth` and this below it.
pub(super) async fn answer(parts: &V2Parts, call: &Call, below: &[u8], body: Body) -> Response {
    let Ok(below) = std::str::from_utf8(below) else {
        return not_found().await;
    };
    let names: Vec<&str> = below.split('/').skip(1).collect();
    match names.as_slice() {
        ["enable"] => switch(parts, call).await,
        ["users" | "roles"] | ["users" | "roles", ""] => list(parts, call, below).await,
        ["users", name] | ["users", name, ""] => one(parts, call, What::User(name), body).await,
        ["roles", name] | ["roles", name, ""] => one(parts, call, What::Role(name), body).await,
        ["users" | "roles", ..] => answer::message(StatusCode::BAD_REQUEST, "Invalid path"),
        _ => not_found().await,
    }
}

/// What a request is about.
#[derive(Clone, Copy)]
enum What<'a> {
    User(&'a str),
    Role(&'a str),
}

async fn switch(parts: &V2Parts, call: &Call) -> Response {
    if let Some(refusal) = answer::refuse_unless("GET,PUT,DELETE", &call.method) {
        return refusal;
    }
    if call.method != Method::GET && !parts.auth.is_root(call).await {
        return answer::no_auth();
    }
    let answered = match call.method {
        Method::PUT => parts.auth.enable().await.map(|()| Content::Nothing),
        Method::DELETE => parts.auth.disable().await.map(|()| Content::Nothing),
        _ => {
            let enabled = parts.auth.is_enabled();
            let body = format!("{{\"enabled\":{enabled}}}\n");
            Ok(Content::Json(StatusCode::OK, body))
        }
    };
    finish(parts, answered)
}

async fn list(parts: &V2Parts, call: &Call, below: &str) -> Response {
    if let Some(refusal) = answer::refuse_unless("GET", &call.method) {
        return refusal;
    }
    if !parts.auth.is_root(call).await {
        return answer::no_auth();
    }
    let listed = if below.starts_with("/users") {
        users(&parts.auth)
    } else {
        roles(&parts.auth)
    };
    finish(parts, listed)
}

fn users(auth: &AuthKeeper) -> Answered {
    #[derive(Serialize)]
    struct Users {
        users: Option<Vec<UserWithRoles>>,
    }
    let mut users = Vec::new();
    for name in auth.users()? {
        let user = auth.user(&name)?;
        let roles = items(&user.roles)
            .iter()
            .filter_map(|role| auth.role(role).ok());
        users.push(UserWithRoles {
            roles: roles.collect(),
            user: user.user,
        });
    }
    let users = (!users.is_empty()).then_some(users);
    json(StatusCode::OK, &Users { users })
}

fn roles(auth: &AuthKeeper) -> Answered {
    #[derive(Serialize)]
    struct Roles {
        roles: Vec<Role>,
    }
    let roles: Result<_, _> = auth.roles()?.iter().map(|name| auth.role(name)).collect();
    json(StatusCode::OK, &Roles { roles: roles? })
}

async fn one(parts: &V2Parts, call: &Call, what: What<'_>, body: Body) -> Response {
    if let Some(refusal) = answer::refuse_unless("GET,PUT,DELETE", &call.method) {
        return refusal;
    }
    if !parts.auth.is_root(call).await {
        return answer::no_auth();
    }
    let auth = &parts.auth;
    let answered = match (&call.method, what) {
        (&Method::GET, What::User(name)) => show_user(auth, name),
        (&Method::GET, What::Role(name)) => {
            auth.role(name).and_then(|role| json(StatusCode::OK, &role))
        }
        (&Method::PUT, What::User(name)) => put_user(auth, name, body).await,
        (&Method::PUT, What::Role(name)) => put_role(auth, name, body).await,
        (_, What::User(name)) => auth.delete_user(name).await.map(|()| Content::Nothing),
        (_, What::Role(name)) => auth.delete_role(name).await.map(|()| Content::Nothing),
    };
    finish(parts, answered)
}

fn show_user(auth: &AuthKeeper, name: &str) -> Answered {
    let user = auth.user(name)?;
    let roles: Result<_, _> = items(&user.roles)
        .iter()
        .map(|role| auth.role(role))
        .collect();
    let shown = UserWithRoles {
        user: user.user,
        roles: roles?,
    };
    json(StatusCode::OK, &shown)
}

async fn put_user(auth: &AuthKeeper, name: &str, body: Body) -> Answered {
    let user: User = read(body).await?;
    if user.user != name {
        return Err(plain_refusal(
            "User JSON name does not match the name in the URL",
        ));
    }
    let changes = !items(&user.grant).is_empty() || !items(&user.revoke).is_empty();
    let has_roles = !items(&user.roles).is_empty();
    let (mut user, status) = match (changes, has_roles) {
        (true, true) => {
            return Err(plain_refusal(
                "User JSON contains both roles and grant/revoke",
            ));
        }
        (true, false) => (auth.update_user(user).await?, StatusCode::OK),
        // etcd says 200 here, for it tells creations apart only where it had to find out.
        (false, true) => (auth.create_user(user).await?, StatusCode::OK),
        (false, false) => {
            auth.refresh().await?;
            if auth.user(name).is_ok() {
                (auth.update_user(user).await?, StatusCode::OK)
            } else {
                (auth.create_user(user).await?, StatusCode::CREATED)
            }
        }
    };
    user.password.clear();
    json(status, &user)
}

async fn put_role(auth: &AuthKeeper, name: &str, body: Body) -> Answered {
    let role: Role = read(body).await?;
    if role.role != name {
        return Err(plain_refusal(
            "Role JSON name does not match the name in the URL",
        ));
    }
    let changes = [&role.grant, &role.revoke];
    let changes = changes.into_iter().flatten().any(|it| !it.is_empty());
    if !changes {
        auth.create_role(&role).await?;
        return json(StatusCode::CREATED, &role);
    }
    if !role.permissions.is_empty() {
        let text = "Role JSON contains both permissions and grant/revoke";
        return Err(plain_refusal(text));
    }
    json(StatusCode::OK, &auth.update_role(&role).await?)
}

async fn read<T: DeserializeOwned>(body: Body) -> Result<T, AuthFailure> {
    let read = json_body::read(body).await;
    read.map_err(|_| plain_refusal("Invalid JSON in request body."))
}

fn plain_refusal(text: &str) -> AuthFailure {
    AuthFailure::Refused(Refusal {
        status: StatusCode::BAD_REQUEST,
        text: text.to_owned(),
    })
}

fn json(status: StatusCode, value: &impl Serialize) -> Answered {
    match serde_json::to_string(value) {
        Ok(body) => Ok(Content::Json(status, body + "\n")),
        Err(error) => Err(AuthFailure::Damaged(error.to_string())),
    }
}

fn finish(parts: &V2Parts, answered: Answered) -> Response {
    let response = match answered {
        Ok(Content::Nothing) => answer::json(StatusCode::OK, Body::empty()),
        Ok(Content::Json(status, body)) => answer::json(status, body),
        Err(AuthFailure::Refused(refusal)) => answer::message(refusal.status, &refusal.text),
        Err(AuthFailure::Tree(V2Error::Refused(error))) => answer::tree_error(&error, PERMISSIONS),
        Err(AuthFailure::Tree(error)) => {
            let error = keys::shown(error);
            tracing::warn!(%error, "a request about v2 users failed");
            answer::internal_error()
        }
        Err(AuthFailure::Damaged(what)) => {
            tracing::error!(what, "what is stored of v2 users cannot be read");
            answer::internal_error()
        }
    };
    answer::of_cluster(parts, response)
}
