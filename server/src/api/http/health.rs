//! `/health`, `/livez` and `/readyz`.
//!
//! `/health` is one verdict as JSON. `/livez` and `/readyz` run named checks, each of which is
//! a page of its own as well; NOSPACE fails only `/health`.

use std::borrow::Cow;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::{MethodRouter, any};

use super::HttpParts;
use super::probe::{Alarm, Consistency, ProbeError};
use super::reply::{error, page, plain, refuse_unless_get};

/// The parameters of a request, in order.
type Parameters = Vec<(String, String)>;

pub(super) async fn health(
    State(parts): State<HttpParts>,
    method: Method,
    query: Result<Query<Parameters>, QueryRejection>,
) -> Response {
    if let Some(refusal) = refuse_unless_get(&method) {
        return refusal;
    }
    let parameters = query.map(|query| query.0).unwrap_or_default();
    let is_serializable = parameters
        .iter()
        .find(|(name, _)| name == "serializable")
        .is_some_and(|(_, value)| value == "true");
    let consistency = if is_serializable {
        Consistency::Serializable
    } else {
        Consistency::Linearizable
    };
    match ill_health(&parts, &excluded(&parameters), consistency).await {
        None => {
            parts.metrics.server_health_success.inc();
            page("{\"health\":\"true\",\"reason\":\"\"}")
        }
        Some(reason) => {
            parts.metrics.server_health_failures.inc();
            tracing::warn!(reason = &*reason, "/health error");
            // A reason may quote an error, so it is escaped; a string always serializes.
            let reason = serde_json::Value::from(&*reason);
            let body = format!("{{\"health\":\"false\",\"reason\":{reason}}}");
            error(StatusCode::SERVICE_UNAVAILABLE, &body)
        }
    }
}

/// What is wrong first: alarms, then no leader, then a read.
async fn ill_health(
    parts: &HttpParts,
    excluded: &[&str],
    consistency: Consistency,
) -> Option<Cow<'static, str>> {
    let alarms = parts.probe.alarms();
    if let Some(alarm) = alarms
        .iter()
        .find(|alarm| !excluded.contains(&alarm.name()))
    {
        return Some(format!("ALARM {}", alarm.name()).into());
    }
    if consistency == Consistency::Linearizable && !parts.probe.has_leader() {
        return Some("RAFT NO LEADER".into());
    }
    let read = read(parts, consistency).await;
    read.err()
        .map(|reason| format!("RANGE ERROR:{reason}").into())
}

async fn read(parts: &HttpParts, consistency: Consistency) -> Result<(), ProbeError> {
    let read = parts.probe.read(consistency);
    match tokio::time::timeout(parts.request_timeout, read).await {
        Ok(result) => result,
        Err(_) => Err(ProbeError {
            reason: "etcdserver: request timed out".to_owned(),
        }),
    }
}

fn excluded(parameters: &Parameters) -> Vec<&str> {
    let named = parameters
        .iter()
        .filter(|(name, value)| name == "exclude" && !value.is_empty());
    named.map(|(_, value)| value.as_str()).collect()
}

/// One thing that can be right or wrong with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::DataCorruption => "data_corruption",
            Self::SerializableRead => "serializable_read",
            Self::LinearizableRead => "linearizable_read",
            Self::NonLearner => "non_learner",
        }
    }

    async fn run(self, parts: &HttpParts) -> Result<(), ProbeError> {
        let fail = |reason: &str| {
            Err(ProbeError {
                reason: reason.to_owned(),
            })
        };
        match self {
            Self::DataCorruption if parts.probe.alarms().contains(&Alarm::Corrupt) => {
                fail("alarm activated: CORRUPT")
            }
            Self::NonLearner if parts.probe.is_learner() => fail("not supported for learner"),
            Self::DataCorruption | Self::NonLearner => Ok(()),
            Self::SerializableRead => read(parts, Consistency::Serializable).await,
            Self::LinearizableRead => read(parts, Consistency::Linearizable).await,
        }
    }
}

/// A page of several checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckGroup {
    /// Is the process worth keeping?
    Livez,
    /// Should it get requests?
    Readyz,
}

impl CheckGroup {
    fn name(self) -> &'static str {
        match self {
            Self::Livez => "livez",
            Self::Readyz => "readyz",
        }
    }

    fn checks(self) -> &'static [Check] {
        match self {
            Self::Livez => &[Check::SerializableRead],
            Self::Readyz => &[
                Check::DataCorruption,
                Check::SerializableRead,
                Check::LinearizableRead,
                Check::NonLearner,
            ],
        }
    }

    /// The group's page and one for each check.
    pub(super) fn add_routes(self, router: Router<HttpParts>) -> Router<HttpParts> {
        let root = format!("/{}", self.name());
        let mut router = router.route(&root, self.page(self.checks(), Excludes::Honoured));
        for check in self.checks() {
            let path = format!("{root}/{}", check.name());
            router = router.route(
                &path,
                self.page(std::slice::from_ref(check), Excludes::Ignored),
            );
        }
        router
    }

    fn page(self, checks: &'static [Check], excludes: Excludes) -> MethodRouter<HttpParts> {
        any(
            move |State(parts): State<HttpParts>,
                  method: Method,
                  query: Result<Query<Parameters>, QueryRejection>| async move {
                if let Some(refusal) = refuse_unless_get(&method) {
                    return refusal;
                }
                let parameters = query.map(|query| query.0).unwrap_or_default();
                let skipped = match excludes {
                    Excludes::Honoured => excluded(&parameters),
                    Excludes::Ignored => Vec::new(),
                };
                let run = checks
                    .iter()
                    .filter(|check| !skipped.contains(&check.name()));
                let report = self.run(&parts, run).await;
                let is_verbose = parameters.iter().any(|(name, _)| name == "verbose");
                report.answer(self, is_verbose)
            },
        )
    }

    async fn run(self, parts: &HttpParts, checks: impl Iterator<Item = &Check>) -> Report {
        let mut report = Report {
            lines: String::new(),
            is_good: true,
        };
        for check in checks {
            let name = check.name();
            let result = check.run(parts).await;
            parts
                .metrics
                .health_check(self.name(), name, result.is_ok());
            match result {
                Ok(()) => report.lines.push_str(&format!("[+]{name} ok\n")),
                Err(reason) => {
                    report
                        .lines
                        .push_str(&format!("[-]{name} failed: {reason}\n"));
                    report.is_good = false;
                }
            }
        }
        report
    }
}

/// Whether a page heeds `?exclude=`: that of a single check does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Excludes {
    Honoured,
    Ignored,
}

/// What checks found, a line each.
struct Report {
    lines: String,
    is_good: bool,
}

impl Report {
    /// Reasons stand in every failure, in a success only when asked for.
    fn answer(self, group: CheckGroup, is_verbose: bool) -> Response {
        if !self.is_good {
            tracing::warn!(
                path = group.name(),
                reason = self.lines,
                "Health check error"
            );
            return error(StatusCode::SERVICE_UNAVAILABLE, &self.lines);
        }
        let lines = if is_verbose {
            self.lines
        } else {
            String::new()
        };
        plain(StatusCode::OK, format!("{lines}ok\n"))
    }
}
