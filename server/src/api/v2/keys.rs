//! `/v2/keys`: the tree itself.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use cairn_v2::{Action, Error, ErrorKind, Event, write_event};
use tonic::Status;

use super::form::{FORM_BYTES_MAX, Form, has_form};
use super::key_request::{KEYS, KeyRequest};
use super::wait_body::WaitBody;
use super::{Call, V2Parts, answer, read_body};
use crate::logging::Chain;
use crate::member::{V2Error, v2_now};

/// Most answers are shorter.
const ANSWER_BYTES: usize = 1024;
const METHODS: &str = "HEAD,GET,PUT,POST,DELETE";

pub(super) async fn answer(parts: &V2Parts, call: &Call, body: Body) -> Response {
    if let Some(refusal) = answer::refuse_unless(METHODS, &call.method) {
        return refusal;
    }
    let response = match carry_out(parts, call, body).await {
        Ok(response) => response,
        Err(error) => answer::tree_error(&error, KEYS),
    };
    answer::of_cluster(parts, response)
}

async fn carry_out(parts: &V2Parts, call: &Call, body: Body) -> Result<Response, Error> {
    let now = v2_now();
    let form = read_form(call, body).await?;
    let key = call.path.get("/v2/keys".len()..).unwrap_or_default();
    let (request, recursive) = KeyRequest::parse(&call.method, key, &form, now)?;
    if !parts.auth.may_access_key(call, key, recursive).await {
        return Err(ErrorKind::Unauthorized.about("Insufficient credentials", 0));
    }
    let member = &parts.member;
    match request {
        KeyRequest::Get {
            path,
            recursive,
            quorum,
        } => {
            if quorum {
                member
                    .linearizable()
                    .await
                    .map_err(|error| shown(error.into()))?;
            }
            let (node, index) = member.v2_get(&path, recursive).map_err(shown)?;
            let event = Event {
                action: Action::Get,
                node,
                prev: None,
                refresh: false,
                at: v2_now(),
            };
            Ok(told(parts, &event, index.number(), true))
        }
        KeyRequest::Wait { watch, from } => {
            let waiting = member.v2_wait(watch, from).await.map_err(shown)?;
            let index = waiting.index.number();
            let body = Body::new(WaitBody::new(waiting));
            let response = answer::json(StatusCode::OK, body);
            Ok(answer::at_index(member, response, index))
        }
        KeyRequest::Write { request, no_value } => {
            let done = member.v2_write(request).await.map_err(shown)?;
            let with_nodes = !no_value || !writes(done.event.action);
            Ok(told(parts, &done.event, done.index, with_nodes))
        }
    }
}

/// Whether the nodes can be left out of an answer.
const fn writes(action: Action) -> bool {
    matches!(
        action,
        Action::Set | Action::Create | Action::Update | Action::CompareAndSwap
    )
}

async fn read_form(call: &Call, body: Body) -> Result<Form, Error> {
    let invalid = |cause: String| ErrorKind::InvalidForm.about(cause, 0);
    let body = if has_form(&call.method, &call.headers) {
        let read = read_body(body, FORM_BYTES_MAX).await;
        read.map_err(|_| invalid("http: POST too large".to_owned()))?
    } else {
        bytes::Bytes::new()
    };
    let query = call.uri.query().unwrap_or_default();
    Form::parse(&body, query).map_err(|error| invalid(error.to_string()))
}

fn told(parts: &V2Parts, event: &Event, index: u64, nodes: bool) -> Response {
    let mut body = String::with_capacity(ANSWER_BYTES);
    write_event(&mut body, event, KEYS, nodes);
    let status = if event.is_created() {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    answer::at_index(&parts.member, answer::json(status, body), index)
}

/// An error as clients see it: what did not come from the tree is the log's.
pub(super) fn shown(error: V2Error) -> Error {
    match error {
        V2Error::Refused(error) => error,
        V2Error::Member(error) => {
            let text = Status::from(error).message().to_owned();
            tracing::warn!(error = text, "v2 response error");
            ErrorKind::RaftInternal.about(text, 0)
        }
        V2Error::Storage(error) => {
            let error = Chain(&error).to_string();
            tracing::warn!(error, "the v2 keys cannot be read");
            ErrorKind::RaftInternal.about(error, 0)
        }
    }
}
