//! `/v2/members`: who the members are, and changes of them.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use cairn_consensus::MemberId;
use cairn_replica::error::ApplyError;
use cairn_replica::membership::{self, MembershipError};
use serde::{Deserialize, Serialize};

use super::json_body::{self, BodyError};
use super::{Call, V2Parts, answer};
use crate::logging::Chain;
use crate::member::error::Error;
use crate::settings::Url;

/// A member as clients see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Member<'a> {
    id: String,
    name: &'a str,
    #[serde(rename = "peerURLs")]
    peer_urls: &'a [String],
    #[serde(rename = "clientURLs")]
    client_urls: &'a [String],
}

#[derive(Serialize)]
struct Members<'a> {
    members: Vec<Member<'a>>,
}

#[derive(Deserialize)]
struct MemberRequest {
    #[serde(rename = "peerURLs", default)]
    peer_urls: Option<Vec<String>>,
}

impl<'a> Member<'a> {
    fn of(member: &'a membership::Member) -> Self {
        Self {
            id: format!("{:x}", member.id.get()),
            name: &member.name,
            peer_urls: &member.peer_urls,
            client_urls: &member.client_urls,
        }
    }
}

/// Answers a request on the members, or on the one of this `name`.
pub(super) async fn answer(parts: &V2Parts, call: &Call, name: &[u8], body: Body) -> Response {
    if let Some(refusal) = answer::refuse_unless("GET,POST,DELETE,PUT", &call.method) {
        return refusal;
    }
    if call.method != Method::GET && !parts.auth.is_root(call).await {
        return answer::no_auth();
    }
    let name = String::from_utf8_lossy(name).into_owned();
    let response = match call.method {
        Method::GET => get(parts, &name),
        Method::POST => match requested_urls(call, body).await {
            Ok(urls) => add(parts, &urls).await,
            Err(refusal) => refusal,
        },
        _ => change(parts, call, &name, body).await,
    };
    answer::of_cluster(parts, response)
}

fn get(parts: &V2Parts, name: &str) -> Response {
    let members = parts.member.membership();
    match name {
        "" => {
            let members = members.iter().map(Member::of).collect();
            listed(StatusCode::OK, &Members { members })
        }
        "leader" => {
            let leader = parts.member.progress().leader();
            match leader.and_then(|leader| members.get(leader)) {
                Some(leader) => listed(StatusCode::OK, &Member::of(leader)),
                None => answer::message(StatusCode::SERVICE_UNAVAILABLE, "During election"),
            }
        }
        _ => answer::message(StatusCode::NOT_FOUND, "Not found"),
    }
}

async fn add(parts: &V2Parts, urls: &[String]) -> Response {
    match parts.member.add_member(urls, false).await {
        Ok((member, _)) => listed(StatusCode::CREATED, &Member::of(&member)),
        Err(error) => match refused_by_rules(&error) {
            Some(MembershipError::PeerUrlExists) => {
                answer::message(StatusCode::CONFLICT, "membership: peerURL exists")
            }
            Some(MembershipError::IdExists) => {
                answer::message(StatusCode::CONFLICT, "membership: ID exists")
            }
            _ => fault(&error),
        },
    }
}

async fn change(parts: &V2Parts, call: &Call, name: &str, body: Body) -> Response {
    if name.is_empty() {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return crate::api::http::plain_error(status, "Method Not Allowed");
    }
    let no_such = |id: &str| {
        let text = format!("No such member: {id}");
        answer::message(StatusCode::NOT_FOUND, &text)
    };
    let Ok(id) = u64::from_str_radix(name, 16) else {
        return no_such(name);
    };
    let shown = format!("{id:x}");
    let done = if call.method == Method::PUT {
        let urls = match requested_urls(call, body).await {
            Ok(urls) => urls,
            Err(refusal) => return refusal,
        };
        parts.member.update_member(id, &urls).await
    } else {
        parts.member.remove_member(id).await
    };
    let Err(error) = done else {
        return answer::empty(StatusCode::NO_CONTENT);
    };
    let was_removed =
        MemberId::from_wire(id).is_some_and(|id| parts.member.membership().was_removed(id));
    match refused_by_rules(&error) {
        Some(MembershipError::PeerUrlExists) => {
            answer::message(StatusCode::CONFLICT, "membership: peerURL exists")
        }
        Some(MembershipError::IdRemoved | MembershipError::IdNotFound)
            if was_removed && call.method == Method::DELETE =>
        {
            let text = format!("Member permanently removed: {shown}");
            answer::message(StatusCode::GONE, &text)
        }
        Some(MembershipError::IdNotFound) => no_such(&shown),
        _ => fault(&error),
    }
}

/// The addresses that a request brings.
async fn requested_urls(call: &Call, body: Body) -> Result<Vec<String>, Response> {
    let kind = call.headers.get(CONTENT_TYPE);
    let kind = kind.and_then(|it| it.to_str().ok()).unwrap_or_default();
    let kind = match kind.split_once(';') {
        Some((kind, _)) => kind.to_ascii_lowercase().trim().to_owned(),
        None => kind.to_owned(),
    };
    if kind != answer::JSON {
        let text = format!("Bad Content-Type {kind}, accept application/json");
        return Err(answer::message(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text));
    }
    let invalid = |text: &str| answer::message(StatusCode::BAD_REQUEST, text);
    let request: MemberRequest = match json_body::read(body).await {
        Ok(request) => request,
        Err(BodyError::Unreadable) => return Err(invalid("http: request body too large")),
        Err(BodyError::Cut) => return Err(invalid("unexpected end of JSON input")),
        Err(BodyError::Other(text)) => return Err(invalid(&text)),
    };
    let urls = request.peer_urls.unwrap_or_default();
    if urls.is_empty() {
        return Err(invalid("no valid URLs given"));
    }
    for url in &urls {
        if let Err(error) = Url::parse(url) {
            return Err(invalid(&error.to_string()));
        }
    }
    Ok(urls)
}

const fn refused_by_rules(error: &Error) -> Option<&MembershipError> {
    match error {
        Error::Apply(ApplyError::Membership(error)) => Some(error),
        _ => None,
    }
}

fn fault(error: &Error) -> Response {
    let error = Chain(error);
    tracing::warn!(%error, "a change of the members failed");
    answer::internal_error()
}

fn listed(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(mut body) => {
            body.push('\n');
            answer::json(status, body)
        }
        Err(_) => answer::internal_error(),
    }
}
