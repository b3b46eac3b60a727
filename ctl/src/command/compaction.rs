//! `compaction`: forgets the past.

use cairn_proto::etcdserverpb::CompactionRequest;
use clap::Command;

use crate::cli::{arguments, leaf, switch};
use crate::failure::Failure;
use crate::golang::{Base, parse_i64};
use crate::session::{Context, put_out};

pub(crate) fn definition() -> Command {
    let physical = switch(
        "physical",
        "Wait until what is forgotten is gone from the disk",
    );
    let compaction = leaf("compaction", "Forgets what keys were before a revision").arg(physical);
    arguments(compaction, "<revision>")
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let words = context.flags.words();
    let [revision] = words.as_slice() else {
        return Err(Failure::arguments("compaction command needs 1 argument"));
    };
    let revision = parse_i64(revision, Base::Decimal).map_err(Failure::error)?;
    let session = context.session().await?;
    let physical = context.flags.is("physical");
    session
        .call(CompactionRequest { revision, physical })
        .await?;
    put_out(format!("compacted revision {revision}\n").as_bytes())
}
