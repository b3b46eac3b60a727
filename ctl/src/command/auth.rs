//! `auth`: whether users are checked.

use cairn_proto::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthStatusRequest,
    AuthUserGrantRoleRequest,
};
use clap::Command;

use crate::cli::{arguments, group, leaf};
use crate::failure::Failure;
use crate::session::{Context, Session, put_out};
use crate::show::AuthStatus;

/// What a server says while the role `root` is missing, or the user has it not.
const NO_ROOT_ROLE: &str = "etcdserver: root user does not have root role";

pub(crate) fn definition() -> Command {
    let command = |name, about| arguments(leaf(name, about), "");
    group("auth", "Checking of users: enable, disable, status").subcommands([
        command("enable", "Has users checked; there must be a user root"),
        command("disable", "Has nobody checked"),
        command("status", "Whether users are checked"),
    ])
}

pub(crate) async fn run(action: &str, context: &Context) -> Result<(), Failure> {
    if !context.flags.arguments().is_empty() {
        let message = format!("auth {action} command does not accept any arguments");
        return Err(Failure::arguments(message));
    }
    let session = context.session().await?;
    match action {
        "enable" => {
            enable(&session).await?;
            put_out(b"Authentication Enabled\n")
        }
        "disable" => {
            session.call(AuthDisableRequest {}).await?;
            put_out(b"Authentication Disabled\n")
        }
        _ => {
            let response = session.call(AuthStatusRequest {}).await?;
            session.show(&AuthStatus(response))
        }
    }
}

/// Gives the user `root` its role if that is all that is missing.
async fn enable(session: &Session) -> Result<(), Failure> {
    match session.call(AuthEnableRequest {}).await {
        Err(failure) if failure.message == NO_ROOT_ROLE => {}
        other => return other.map(drop),
    }
    let root = || "root".to_owned();
    session.call(AuthRoleAddRequest { name: root() }).await?;
    let grant = AuthUserGrantRoleRequest {
        user: root(),
        role: root(),
    };
    session.call(grant).await?;
    session.call(AuthEnableRequest {}).await.map(drop)
}
