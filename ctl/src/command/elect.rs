//! `elect`: runs in an election, or watches one.

use std::time::Duration;

use bytes::Bytes;
use cairn_proto::etcdserverpb::RangeRequest;
use clap::Command;
use tokio_stream::StreamExt as _;

use crate::cli::{arguments, leaf, switch};
use crate::failure::{Exit, Failure};
use crate::session::{Context, Session, failure, interrupted};

/// How long a candidate that is dead counts as one that lives.
const TTL: Duration = Duration::from_secs(60);

pub(crate) fn definition() -> Command {
    let listen = switch("listen", "Only tell who leads").short('l');
    let elect = leaf(
        "elect",
        "Runs in an election until Ctrl-C, or tells who leads",
    )
    .arg(listen);
    arguments(elect, "<name> [proposal]")
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let mut arguments = context.flags.byte_strings().into_iter();
    let (Some(name), proposal, None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err(Failure::arguments(
            "elect takes one election name argument and an optional proposal argument",
        ));
    };
    let listens = context.flags.is("listen");
    let session = context.session().await?;
    match proposal {
        None if !listens => Err(Failure::arguments("no proposal argument but -l not set")),
        None => observe(&session, name).await,
        Some(_) if listens => Err(Failure::arguments("proposal given but -l is set")),
        Some(proposal) => campaign(&session, name, proposal).await,
    }
}

async fn show(session: &Session, key: Bytes) -> Result<(), Failure> {
    let request = RangeRequest {
        key,
        ..RangeRequest::default()
    };
    session.show(&session.call(request).await?)
}

async fn observe(session: &Session, name: Vec<u8>) -> Result<(), Failure> {
    let mut words = session.client.election(name).observe();
    loop {
        tokio::select! {
            word = words.next() => match word {
                Some(word) => show(session, word.map_err(|error| failure(Exit::Error, &error))?.key).await?,
                None => return Err(Failure::error("elect: observer lost")),
            },
            () = interrupted() => return Ok(()),
        }
    }
}

async fn campaign(session: &Session, name: Vec<u8>, proposal: Vec<u8>) -> Result<(), Failure> {
    let told = |error| failure(Exit::Error, &error);
    let life = session.client.session(TTL).await.map_err(told)?;
    let leadership = tokio::select! {
        won = life.campaign(name, proposal) => won.map_err(told)?,
        () = interrupted() => return Err(Failure::error("context canceled")),
    };
    show(session, leadership.key().clone()).await?;
    tokio::select! {
        () = leadership.lost() => Err(Failure::error("elect: session expired")),
        () = interrupted() => leadership.resign().await.map_err(told),
    }
}
