//! `move-leader`: hands leadership over.

use cairn_proto::etcdserverpb::{MoveLeaderRequest, StatusRequest};
use clap::Command;

use crate::cli::{arguments, leaf};
use crate::failure::Failure;
use crate::golang::{Base, parse_u64};
use crate::session::Context;
use crate::show::LeaderMoved;

pub(crate) fn definition() -> Command {
    let about = "Makes another member the leader; the leader must be among --endpoints";
    arguments(leaf("move-leader", about), "<member-id>")
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let words = context.flags.words();
    let [to] = words.as_slice() else {
        return Err(Failure::arguments("move-leader command needs 1 argument"));
    };
    let to = parse_u64(to, Base::Hex).map_err(Failure::arguments)?;
    let session = context.session().await?;
    for endpoint in &session.globals.endpoints {
        let at_endpoint = session.at(endpoint)?;
        let status = at_endpoint.call(StatusRequest {}).await?;
        let member = status.header.map_or(0, |header| header.member_id);
        if member == status.leader {
            let request = MoveLeaderRequest { target_id: to };
            let response = at_endpoint.call(request).await?;
            return session.show(&LeaderMoved {
                from: member,
                to,
                response,
            });
        }
    }
    let endpoints = session.globals.endpoints.join(" ");
    Err(Failure::arguments(format!(
        "no leader endpoint given at [{endpoints}]"
    )))
}
