//! `alarm`: what members complain of.

use cairn_proto::etcdserverpb::alarm_request::AlarmAction;
use cairn_proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmResponse};
use clap::Command;

use crate::cli::{arguments, group, leaf};
use crate::failure::Failure;
use crate::session::{Context, Session};
use crate::show::Alarms;

pub(crate) fn definition() -> Command {
    group("alarm", "Alarms: list, disarm").subcommands([
        arguments(leaf("disarm", "Ends all alarms"), ""),
        arguments(leaf("list", "Lists all alarms"), ""),
    ])
}

fn request(action: AlarmAction, alarm: AlarmMember) -> AlarmRequest {
    AlarmRequest {
        action: action.into(),
        member_id: alarm.member_id,
        alarm: alarm.alarm,
    }
}

/// All alarms.
pub(super) fn list() -> AlarmRequest {
    request(AlarmAction::Get, AlarmMember::default())
}

async fn disarm(session: &Session) -> Result<AlarmResponse, Failure> {
    let mut disarmed = AlarmResponse::default();
    for alarm in session.call(list()).await?.alarms {
        let response = session
            .call(request(AlarmAction::Deactivate, alarm))
            .await?;
        disarmed.alarms.extend(response.alarms);
    }
    Ok(disarmed)
}

pub(crate) async fn run(action: &str, context: &Context) -> Result<(), Failure> {
    if !context.flags.arguments().is_empty() {
        let message = format!("alarm {action} command accepts no arguments");
        return Err(Failure::arguments(message));
    }
    let session = context.session().await?;
    let response = match action {
        "disarm" => disarm(&session).await?,
        _ => session.call(list()).await?,
    };
    session.show(&Alarms(response))
}
