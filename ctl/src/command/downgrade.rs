//! `downgrade`: makes a cluster ready for an older version.

use cairn_proto::etcdserverpb::DowngradeRequest;
use cairn_proto::etcdserverpb::downgrade_request::DowngradeAction;
use clap::Command;

use crate::cli::{arguments, group, leaf};
use crate::failure::Failure;
use crate::session::Context;
use crate::show::Downgraded;

pub(crate) fn definition() -> Command {
    let command = |name, about, what| arguments(leaf(name, about), what);
    group("downgrade", "Downgrades: validate, enable, cancel").subcommands([
        command(
            "validate",
            "Says whether the cluster could go back to a version",
            "<version>",
        ),
        command("enable", "Begins to go back to a version", "<version>"),
        command("cancel", "Goes back no further", ""),
    ])
}

fn target(context: &Context) -> Result<String, Failure> {
    let mut words = context.flags.words().into_iter();
    match (words.next(), words.next()) {
        (None, _) => Err(Failure::arguments("TARGET_VERSION not provided")),
        (Some(_), Some(_)) => Err(Failure::arguments("too many arguments")),
        (Some(version), None) if version.is_empty() => {
            Err(Failure::arguments("target version not provided"))
        }
        (Some(version), None) => Ok(version),
    }
}

pub(crate) async fn run(action: &str, context: &Context) -> Result<(), Failure> {
    let (action, word, version) = match action {
        "validate" => (DowngradeAction::Validate, "validate", target(context)?),
        "enable" => (DowngradeAction::Enable, "enable", target(context)?),
        _ => (DowngradeAction::Cancel, "cancel", String::new()),
    };
    let session = context.session().await?;
    let request = DowngradeRequest {
        action: action.into(),
        version,
    };
    let response = session.call(request).await?;
    session.show(&Downgraded {
        action: word,
        response,
    })
}
