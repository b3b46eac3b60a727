//! `del`: deletes a key or a range of keys.

use std::time::Duration;

use cairn_proto::etcdserverpb::DeleteRangeRequest;
use clap::Command;

use super::get::{TOO_MANY, key_and_end};
use crate::cli::{Flags, arguments, leaf, switch};
use crate::failure::Failure;
use crate::golang::quote;
use crate::session::{Context, tell};

/// How long whoever deletes a range can think better of it.
const WARNING_TIME: Duration = Duration::from_secs(2);

pub(crate) fn definition() -> Command {
    let del = leaf("del", "Deletes a key or a range of keys").args([
        switch("prefix", "All keys that begin so"),
        switch("prev-kv", "Also show what was deleted"),
        switch("from-key", "All keys from this one on"),
        switch("range", "Delete up to [range_end] without a pause to think"),
    ]);
    arguments(del, "<key> [range_end]")
}

/// The request that arguments and flags ask for.
pub(super) async fn request(flags: &Flags) -> Result<DeleteRangeRequest, Failure> {
    let mut arguments = flags.byte_strings().into_iter();
    let (Some(key), end, None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err(Failure::arguments(
            "del command needs one argument as key and an optional argument as range_end",
        ));
    };
    let (prefix, from_key) = (flags.is("prefix"), flags.is("from-key"));
    if prefix && from_key {
        return Err(Failure::arguments(
            "`--prefix` and `--from-key` cannot be set at the same time, choose one",
        ));
    }
    if let Some(end) = &end {
        if prefix || from_key {
            return Err(Failure::arguments(TOO_MANY));
        }
        if !flags.is("range") {
            let (key, end) = (quote(&key), quote(end));
            tell(format_args!(
                "Warning: Keys between {key} and {end} will be deleted. Please interrupt the \
                 command within next 2 seconds to cancel. You can provide `--range` flag to avoid \
                 the delay."
            ));
            tokio::time::sleep(WARNING_TIME).await;
        }
    }
    let (key, range_end) = key_and_end(flags, key, end);
    Ok(DeleteRangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        prev_kv: flags.is("prev-kv"),
    })
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let request = request(&context.flags).await?;
    let session = context.session().await?;
    let response = session.call(request).await?;
    session.show(&response)
}
