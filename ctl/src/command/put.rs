//! `put`: writes a key.

use std::io::Read as _;

use cairn_proto::etcdserverpb::PutRequest;
use clap::Command;

use crate::cli::{Flags, arguments, leaf, switch, text};
use crate::failure::Failure;
use crate::golang::{Base, parse_i64};
use crate::session::Context;

pub(crate) fn definition() -> Command {
    let put = leaf("put", "Writes a key").args([
        text("lease", "The lease that the key ends with, in hexadecimal").default_value("0"),
        switch("prev-kv", "Also show the pair as it was before"),
        switch(
            "ignore-value",
            "Keep the value, for instance to change the lease",
        ),
        switch("ignore-lease", "Keep the lease"),
    ]);
    arguments(put, "<key> <value>").after_help(
        "Without <value>, standard input is the value. What begins with a dash follows `--`.\n\n\
         Examples:\n  put greeting hello\n  put app/config < config.yaml\n  put offset -- -1",
    )
}

/// What is said if there is no value.
pub(super) const NEEDS: &str = "put command needs 1 argument and input from stdin or 2 arguments";

/// The request that arguments and flags ask for; without a value among them it comes from the
/// function.
pub(super) fn request(
    flags: &Flags,
    value: impl FnOnce() -> Result<Vec<u8>, Failure>,
) -> Result<PutRequest, Failure> {
    let mut arguments = flags.byte_strings().into_iter();
    let key = arguments.next().ok_or_else(|| Failure::arguments(NEEDS))?;
    let ignore_value = flags.is("ignore-value");
    let value = match arguments.next() {
        Some(_) if ignore_value => {
            return Err(Failure::arguments(
                "put command needs only 1 argument when 'ignore-value' is set",
            ));
        }
        Some(value) => value,
        None if ignore_value => Vec::new(),
        None => value()?,
    };
    let lease = parse_i64(&flags.text("lease"), Base::Hex).map_err(|error| {
        Failure::arguments(format!("bad lease ID ({error}), expecting ID in Hex"))
    })?;
    Ok(PutRequest {
        key: key.into(),
        value: value.into(),
        lease,
        prev_kv: flags.is("prev-kv"),
        ignore_value,
        ignore_lease: flags.is("ignore-lease"),
    })
}

fn standard_input() -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut value);
    if read.is_err() || value.is_empty() {
        return Err(Failure::arguments(NEEDS));
    }
    Ok(value)
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let request = request(&context.flags, standard_input)?;
    let session = context.session().await?;
    let response = session.call(request).await?;
    session.show(&response)
}
