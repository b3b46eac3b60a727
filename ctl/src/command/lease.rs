//! `lease`: keys that end unless somebody renews them.

use cairn_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
};
use clap::{Arg, Command};

use crate::cli::{arguments, group, leaf, switch};
use crate::failure::{Exit, Failure};
use crate::golang::{Base, parse_i64};
use crate::session::Context;
use crate::show::{Done, Granted, LeaseList, TimeToLive};

pub(crate) fn definition() -> Command {
    let command =
        |name, about, what, flags: Vec<Arg>| arguments(leaf(name, about).args(flags), what);
    let keys = switch("keys", "Also show the keys that end with it");
    group("lease", "Leases: grant, revoke, timetolive, list").subcommands([
        command("grant", "Makes a lease", "<seconds>", vec![]),
        command("revoke", "Ends a lease and its keys", "<lease>", vec![]),
        command(
            "timetolive",
            "How long a lease still lives",
            "<lease>",
            vec![keys],
        ),
        command("list", "Lists all leases", "", vec![]),
    ])
}

fn bad_connection(failure: Failure) -> Failure {
    Failure {
        exit: Exit::BadConnection,
        ..failure
    }
}

/// A lease as arguments name it.
fn lease(argument: &str) -> Result<i64, Failure> {
    parse_i64(argument, Base::Hex).map_err(|error| {
        Failure::arguments(format!("bad lease ID arg ({error}), expecting ID in Hex"))
    })
}

pub(crate) async fn run(action: &str, context: &Context) -> Result<(), Failure> {
    let words = context.flags.words();
    match (action, words.as_slice()) {
        ("grant", [ttl]) => grant(context, ttl).await,
        ("grant", _) => Err(Failure::arguments("lease grant command needs TTL argument")),
        ("revoke", [argument]) => revoke(context, lease(argument)?).await,
        ("revoke", _) => Err(Failure::arguments("lease revoke command needs 1 argument")),
        ("timetolive", [argument]) => time_to_live(context, lease(argument)?).await,
        ("timetolive", _) => Err(Failure::arguments(
            "lease timetolive command needs lease ID as argument",
        )),
        _ => {
            let session = context.session().await?;
            let response = session.call(LeaseLeasesRequest {}).await;
            session.show(&LeaseList(response.map_err(bad_connection)?))
        }
    }
}

async fn grant(context: &Context, ttl: &str) -> Result<(), Failure> {
    let ttl = parse_i64(ttl, Base::Decimal)
        .map_err(|error| Failure::arguments(format!("bad TTL ({error})")))?;
    let session = context.session().await?;
    let granted = session.call(LeaseGrantRequest { ttl, id: 0 }).await;
    let granted = granted.map_err(|failure| about("grant", failure))?;
    session.show(&Granted(granted))
}

fn about(action: &str, failure: Failure) -> Failure {
    Failure {
        message: format!("failed to {action} lease ({})", failure.message),
        ..failure
    }
}

async fn revoke(context: &Context, id: i64) -> Result<(), Failure> {
    let session = context.session().await?;
    let revoked = session.call(LeaseRevokeRequest { id }).await;
    let header = revoked.map_err(|failure| about("revoke", failure))?.header;
    let words = format!("lease {id:016x} revoked");
    session.show(&Done { words, header })
}

async fn time_to_live(context: &Context, id: i64) -> Result<(), Failure> {
    let with_keys = context.flags.is("keys");
    let session = context.session().await?;
    let request = LeaseTimeToLiveRequest {
        id,
        keys: with_keys,
    };
    let response = session.call(request).await.map_err(bad_connection)?;
    session.show(&TimeToLive {
        response,
        with_keys,
    })
}
