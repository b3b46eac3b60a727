//! `lease`: keys that end unless somebody renews them.

use std::time::{Duration, Instant};

use cairn_client::LeaseId;
use cairn_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveResponse, LeaseLeasesRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
};
use clap::{Arg, Command};

use crate::cli::{arguments, group, leaf, switch};
use crate::failure::{Exit, Failure};
use crate::golang::{Base, parse_i64};
use crate::session::{Context, Session, failure, put_out};
use crate::show::{Done, Format, Granted, KeptAlive, LeaseList, TimeToLive};

pub(crate) fn definition() -> Command {
    let command =
        |name, about, what, flags: Vec<Arg>| arguments(leaf(name, about).args(flags), what);
    let keys = switch("keys", "Also show the keys that end with it");
    let once = switch("once", "Renew it once");
    group(
        "lease",
        "Leases: grant, revoke, timetolive, list, keep-alive",
    )
    .subcommands([
        command("grant", "Makes a lease", "<seconds>", vec![]),
        command("revoke", "Ends a lease and its keys", "<lease>", vec![]),
        command(
            "timetolive",
            "How long a lease still lives",
            "<lease>",
            vec![keys],
        ),
        command("list", "Lists all leases", "", vec![]),
        command(
            "keep-alive",
            "Renews a lease until Ctrl-C",
            "<lease>",
            vec![once],
        ),
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
        ("keep-alive", [argument]) => keep_alive(context, lease(argument)?).await,
        ("keep-alive", _) => Err(Failure::arguments(
            "lease keep-alive command needs lease ID as argument",
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

/// How long to wait before a renewal that failed is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// What a server says of a lease that there is not.
const NOT_FOUND: &str = "etcdserver: requested lease not found";

async fn keep_alive(context: &Context, id: i64) -> Result<(), Failure> {
    let once = context.flags.is("once");
    let session = context.session().await?;
    let missing = || Failure::new(Exit::BadConnection, NOT_FOUND);
    let lease = LeaseId::new(id).ok_or_else(missing)?;
    // Until the first answer says more, the lease may be over at any moment.
    let mut lives_until = Instant::now();
    loop {
        let asked = Instant::now();
        match session.client.leases().keep_alive_once(lease).await {
            Ok(Some(ttl)) => {
                lives_until = asked + ttl;
                show_renewed(&session, id, ttl).await?;
                if once {
                    return Ok(());
                }
                // Two may fail before it is too late.
                tokio::time::sleep(ttl / 3).await;
            }
            Ok(None) if once => return Err(missing()),
            Ok(None) => return show_lost(&session, id),
            Err(error) if once => return Err(failure(Exit::BadConnection, &error)),
            Err(_) if Instant::now() < lives_until => tokio::time::sleep(AGAIN).await,
            Err(error) => return Err(failure(Exit::BadConnection, &error)),
        }
    }
}

async fn show_renewed(session: &Session, id: i64, ttl: Duration) -> Result<(), Failure> {
    let header = match session.globals.format {
        Format::Simple => None,
        // What the answer to a renewal begins with, as another answer has it.
        _ => {
            let request = LeaseTimeToLiveRequest { id, keys: false };
            session.call(request).await.map_err(bad_connection)?.header
        }
    };
    session.show(&KeptAlive(LeaseKeepAliveResponse {
        header,
        id,
        ttl: i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX),
    }))
}

fn show_lost(session: &Session, id: i64) -> Result<(), Failure> {
    if session.globals.format == Format::Simple {
        put_out(format!("lease {id:016x} expired or revoked.\n").as_bytes())?;
    }
    Ok(())
}
