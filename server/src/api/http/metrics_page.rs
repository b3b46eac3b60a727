//! `/metrics`: every number, as Prometheus scrapes it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::HttpParts;
use super::reply::{error, reply};
use crate::metrics::CONTENT_TYPE;

pub(super) async fn metrics(State(parts): State<HttpParts>) -> Response {
    let scrape = parts.metrics.begin_scrape();
    parts.probe.measure(&parts.metrics);
    let answer = match parts.metrics.render() {
        Ok(text) => reply(StatusCode::OK, CONTENT_TYPE, text),
        Err(reason) => error(StatusCode::INTERNAL_SERVER_ERROR, &reason.to_string()),
    };
    scrape.answered(answer.status());
    answer
}
