//! `/v2/machines`: where clients reach the members.

use axum::http::{Method, StatusCode};
use axum::response::Response;

use super::{V2Parts, answer};
use crate::api::http::typed;

pub(super) fn answer(parts: &V2Parts, method: &Method) -> Response {
    if let Some(refusal) = answer::refuse_unless("GET,HEAD", method) {
        return refusal;
    }
    let members = parts.member.membership();
    let urls = members.iter().flat_map(|member| &member.client_urls);
    let mut urls: Vec<&str> = urls.map(String::as_str).collect();
    urls.sort_unstable();
    typed(StatusCode::OK, "text/plain; charset=utf-8", urls.join(", "))
}
