//! `endpoint`: what members say of themselves.

use std::time::Instant;

use cairn_proto::etcdserverpb::{
    AlarmMember, HashKvRequest, MemberListRequest, RangeRequest, StatusRequest,
};
use clap::{Arg, Command};
use tokio::task::JoinSet;

use super::alarm;
use crate::cli::{arguments, group, leaf, number, switch};
use crate::failure::Failure;
use crate::golang::duration;
use crate::session::{Context, Session, tell};
use crate::show::{Format, Hash, Hashes, Health, Healths, Status, Statuses};

pub(crate) fn definition() -> Command {
    let command = |name, about| arguments(leaf(name, about), "");
    let rev = number("rev", "The revision to hash up to; 0: the current");
    group("endpoint", "Endpoints: health, status, hashkv")
        .arg(cluster_switch().global(true))
        .subcommands([
            command("health", "Whether the members at --endpoints serve"),
            command(
                "status",
                "Database, leader and progress of the members at --endpoints",
            ),
            command("hashkv", "A hash of each member's keys and values").arg(rev),
        ])
}

/// `--cluster`.
pub(super) fn cluster_switch() -> Arg {
    switch(
        "cluster",
        "All members that the cluster has, and not only --endpoints",
    )
}

/// The endpoints to ask: those of the flag, or all that members advertise.
pub(super) async fn endpoints(session: &Session) -> Result<Vec<String>, Failure> {
    if !session.globals.cluster {
        return Ok(session.globals.endpoints.clone());
    }
    let request = MemberListRequest { linearizable: true };
    let response = session.call(request).await.map_err(|failure| {
        let reason = failure.message;
        Failure::error(format!(
            "failed to fetch endpoints from etcd cluster member list: {reason}"
        ))
    })?;
    let members = response.members.into_iter();
    Ok(members.flat_map(|member| member.client_urls).collect())
}

pub(crate) async fn run(question: &str, context: &Context) -> Result<(), Failure> {
    let session = context.session().await?;
    match question {
        "health" => healths(&session).await,
        "status" => statuses(&session).await,
        _ => hashes(&session, context.flags.number("rev")).await,
    }
}

async fn healths(session: &Session) -> Result<(), Failure> {
    let mut questions = JoinSet::new();
    for endpoint in endpoints(session).await? {
        let at_endpoint = session.at(&endpoint)?;
        questions.spawn(async move { health(&at_endpoint, endpoint).await });
    }
    // Whoever answers first comes first.
    let mut found = Vec::new();
    while let Some(health) = questions.join_next().await {
        found.push(health.map_err(Failure::error)?);
    }
    let healths = Healths(found);
    session.show(&healths)?;
    let Healths(found) = healths;
    let ill = found
        .iter()
        .filter_map(|it| Some((&it.endpoint, it.error.as_ref()?)));
    let is_simple = session.globals.format == Format::Simple;
    let mut is_well = true;
    for (endpoint, error) in ill {
        is_well = false;
        if is_simple {
            tell(format_args!(
                "{endpoint} is unhealthy: failed to commit proposal: {error}"
            ));
        }
    }
    if is_well {
        Ok(())
    } else {
        Err(Failure::error("unhealthy cluster"))
    }
}

/// Asks for a key, whatever it is: that needs a quorum.
async fn health(session: &Session, endpoint: String) -> Health {
    let start = Instant::now();
    let request = RangeRequest {
        key: "health".into(),
        ..RangeRequest::default()
    };
    let read = session.call(request).await;
    let took = duration(start.elapsed());
    let error = match read {
        // Whoever may not read was told so by a quorum.
        Err(failure) if !failure.message.ends_with("permission denied") => Some(failure.message),
        _ => match session.call(alarm::list()).await {
            Ok(response) if response.alarms.is_empty() => None,
            Ok(response) => {
                let names: Vec<String> = response.alarms.iter().map(alarm_word).collect();
                Some(format!("Active Alarm(s): {}", names.concat()))
            }
            Err(_) => Some("Unable to fetch the alarm list".to_owned()),
        },
    };
    Health {
        endpoint,
        took,
        error,
    }
}

fn alarm_word(alarm: &AlarmMember) -> String {
    use cairn_proto::etcdserverpb::AlarmType;
    match alarm.alarm() {
        AlarmType::Nospace => "NOSPACE ".to_owned(),
        AlarmType::Corrupt => "CORRUPT ".to_owned(),
        AlarmType::None => "UNKNOWN ".to_owned(),
    }
}

async fn statuses(session: &Session) -> Result<(), Failure> {
    let mut found = Vec::new();
    let mut failed = false;
    for endpoint in endpoints(session).await? {
        match session.at(&endpoint)?.call(StatusRequest {}).await {
            Ok(response) => found.push(Status { endpoint, response }),
            Err(Failure { message, .. }) => {
                failed = true;
                tell(format_args!(
                    "Failed to get the status of endpoint {endpoint} ({message})"
                ));
            }
        }
    }
    session.show(&Statuses(found))?;
    if failed { Err(Failure::told()) } else { Ok(()) }
}

async fn hashes(session: &Session, revision: i64) -> Result<(), Failure> {
    let mut found = Vec::new();
    let mut last_failure = None;
    for endpoint in endpoints(session).await? {
        match session
            .at(&endpoint)?
            .call(HashKvRequest { revision })
            .await
        {
            Ok(response) => found.push(Hash { endpoint, response }),
            Err(failure) => {
                let message = &failure.message;
                tell(format_args!(
                    "Failed to get the hash of endpoint {endpoint} ({message})"
                ));
                last_failure = Some(failure);
            }
        }
    }
    session.show(&Hashes(found))?;
    last_failure.map_or(Ok(()), Err)
}
