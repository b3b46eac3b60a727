//! `/v2/stats`: numbers of this member.

use std::fmt::Write as _;
use std::time::SystemTime;

use axum::http::{Method, StatusCode};
use axum::response::Response;
use cairn_v2::{Counter, write_string};

use super::{V2Parts, answer, go_time};
use crate::member::FlowStats;

/// How often what was done with the tree, since this member started.
pub(super) fn store(parts: &V2Parts, method: &Method) -> Response {
    if let Some(refusal) = answer::refuse_unless("GET", method) {
        return refusal;
    }
    let v2 = parts.member.v2();
    let mut body = String::from("{");
    for (counter, name) in Counter::ALL {
        let _ = write!(body, "\"{name}\":{},", v2.stats().of(counter));
    }
    let _ = write!(body, "\"watchers\":{}}}", v2.watchers());
    answer::json(StatusCode::OK, body)
}

/// Who this member is, who leads, and what appends there were between members.
pub(super) fn own(parts: &V2Parts, method: &Method) -> Response {
    if let Some(refusal) = answer::refuse_unless("GET", method) {
        return refusal;
    }
    let member = &parts.member;
    let id = member.identity.member;
    let members = member.membership();
    let name = members.get(id).map_or("", |member| member.name.as_str());
    let progress = member.progress();
    let state = if progress.role().leads() {
        "StateLeader"
    } else {
        "StateFollower"
    };
    let leader = progress
        .leader()
        .map_or_else(String::new, |id| format!("{:x}", id.get()));
    let led_for = progress.leader_since().map(|since| since.elapsed());
    let leads_since = led_for
        .and_then(|led_for| SystemTime::now().checked_sub(led_for))
        .unwrap_or(parts.started);
    let uptime = leads_since.elapsed().unwrap_or_default();
    let mut body = String::from("{\"name\":");
    write_string(&mut body, name.as_bytes());
    let _ = write!(
        body,
        ",\"id\":\"{:x}\",\"state\":\"{state}\",\"startTime\":\"{}\",\"leaderInfo\":{{\"leader\":\"{leader}\",\
         \"uptime\":\"{}\",\"startTime\":\"{}\"}}",
        id.get(),
        go_time::time(parts.started),
        go_time::duration(uptime),
        go_time::time(leads_since),
    );
    let appends = member.activity.appends();
    write_flow(&mut body, "recv", appends.all_received());
    write_flow(&mut body, "send", appends.all_sent());
    body.push('}');
    answer::json(StatusCode::OK, body)
}

/// Rates are left out while there are none.
fn write_flow(body: &mut String, direction: &str, flow: FlowStats) {
    let _ = write!(body, ",\"{direction}AppendRequestCnt\":{}", flow.count);
    if flow.per_second > 0.0 {
        let _ = write!(
            body,
            ",\"{direction}PkgRate\":{},\"{direction}BandwidthRate\":{}",
            flow.per_second, flow.bytes_per_second
        );
    }
}

/// What the leader knows of its followers: who they are, and how its appends reach them.
pub(super) fn leader(parts: &V2Parts, method: &Method) -> Response {
    if let Some(refusal) = answer::refuse_unless("GET", method) {
        return refusal;
    }
    let member = &parts.member;
    if !member.progress().role().leads() {
        return answer::message(StatusCode::FORBIDDEN, "not current leader");
    }
    let me = member.identity.member;
    let mut body = format!("{{\"leader\":\"{:x}\",\"followers\":{{", me.get());
    let members = member.membership();
    let others = members.iter().filter(|other| other.id != me);
    let mut followers: Vec<_> = others
        .map(|other| (format!("{:x}", other.id.get()), other.id))
        .collect();
    followers.sort_unstable();
    for (place, (name, id)) in followers.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let stats = member.activity.appends().follower(*id);
        let _ = write!(
            body,
            "{comma}\"{name}\":{{\"latency\":{{\"current\":{},\"average\":{},\"standardDeviation\":{},\
             \"minimum\":{},\"maximum\":{}}},\"counts\":{{\"fail\":{},\"success\":{}}}}}",
            stats.current,
            stats.average,
            stats.standard_deviation(),
            stats.minimum,
            stats.maximum,
            stats.failures,
            stats.successes,
        );
    }
    body.push_str("}}");
    answer::json(StatusCode::OK, body)
}
