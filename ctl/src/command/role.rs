//! `role`: what users may do.

use cairn_proto::authpb::Permission;
use cairn_proto::authpb::permission::Type;
use cairn_proto::etcdserverpb::{
    AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGetRequest, AuthRoleGrantPermissionRequest,
    AuthRoleListRequest, AuthRoleRevokePermissionRequest,
};
use clap::{Arg, Command};

use crate::cli::{Flags, arguments, group, leaf, switch};
use crate::failure::Failure;
use crate::key_range::{OPEN_END, prefix_end};
use crate::session::Context;
use crate::show::{Done, RoleList, RoleShown};

pub(crate) fn definition() -> Command {
    let command =
        |name, about, what, flags: Vec<Arg>| arguments(leaf(name, about).args(flags), what);
    let range = || {
        vec![
            switch("prefix", "All keys that begin so"),
            switch("from-key", "All keys from this one on"),
        ]
    };
    group(
        "role",
        "Roles: add, delete, get, list, grant-permission, revoke-permission",
    )
    .subcommands([
        command("add", "Adds a role", "<name>", vec![]),
        command("delete", "Deletes a role", "<name>", vec![]),
        command("get", "Shows what a role allows", "<name>", vec![]),
        command("list", "Lists all roles", "", vec![]),
        command(
            "grant-permission",
            "Lets a role read, write or readwrite a key or a range",
            "<role> <read|write|readwrite> <key> [endkey]",
            range(),
        ),
        command(
            "revoke-permission",
            "Takes a permission from a role",
            "<role> <key> [endkey]",
            range(),
        ),
    ])
}

pub(crate) async fn run(action: &str, context: &Context) -> Result<(), Failure> {
    let words = context.flags.words();
    let needs_name = || {
        let message = format!("role {action} command requires role name as its argument");
        Failure::arguments(message)
    };
    match (action, words.as_slice()) {
        ("add" | "delete" | "get", [role]) => one(action, context, role).await,
        ("add" | "delete" | "get", _) => Err(needs_name()),
        ("list", []) => {
            let session = context.session().await?;
            let response = session.call(AuthRoleListRequest {}).await?;
            session.show(&RoleList(response))
        }
        ("list", _) => Err(Failure::arguments(
            "role list command requires no arguments",
        )),
        ("grant-permission", [role, kind, _, ..]) => grant(context, role, kind).await,
        ("grant-permission", _) => Err(Failure::arguments(
            "role grant command requires role name, permission type, and key [endkey] as its argument",
        )),
        (_, [role, _, ..]) => revoke(context, role).await,
        _ => Err(Failure::arguments(
            "role revoke-permission command requires role name and key [endkey] as its argument",
        )),
    }
}

async fn one(action: &str, context: &Context, role: &str) -> Result<(), Failure> {
    let session = context.session().await?;
    let name = role.to_owned();
    let (words, header) = match action {
        "get" => {
            let response = session.call(AuthRoleGetRequest { role: name }).await?;
            return session.show(&RoleShown { role, response });
        }
        "add" => {
            let response = session.call(AuthRoleAddRequest { name }).await?;
            (format!("Role {role} created"), response.header)
        }
        _ => {
            let response = session.call(AuthRoleDeleteRequest { role: name }).await?;
            (format!("Role {role} deleted"), response.header)
        }
    };
    session.show(&Done { words, header })
}

/// Key and end of a permission, from the arguments from a place on.
fn range(flags: &Flags, from: usize) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    const EXCLUSIVE: &str = "--from-key and --prefix flags are mutually exclusive";
    let mut arguments = flags.byte_strings().into_iter().skip(from);
    let key = arguments.next().unwrap_or_default();
    let end = arguments.next();
    let (prefix, from_key) = (flags.is("prefix"), flags.is("from-key"));
    if key.is_empty() {
        if prefix && from_key {
            return Err(Failure::arguments(EXCLUSIVE));
        }
        // No key is empty: the first one that can be, and all if a flag says so.
        let end = if prefix || from_key {
            OPEN_END.to_vec()
        } else {
            Vec::new()
        };
        return Ok((vec![0], end));
    }
    let unexpected =
        |flag: &str| Failure::arguments(format!("unexpected endkey argument with {flag} flag"));
    let end = match end {
        Some(_) if prefix => return Err(unexpected("--prefix")),
        Some(_) if from_key => return Err(unexpected("--from-key")),
        Some(end) => end,
        None if prefix && from_key => return Err(Failure::arguments(EXCLUSIVE)),
        None if prefix => prefix_end(&key),
        None if from_key => OPEN_END.to_vec(),
        None => Vec::new(),
    };
    Ok((key, end))
}

async fn grant(context: &Context, role: &str, kind: &str) -> Result<(), Failure> {
    let perm_type = Type::from_str_name(&kind.to_uppercase())
        .ok_or_else(|| Failure::arguments(format!("invalid permission type: {kind}")))?;
    let (key, range_end) = range(&context.flags, 2)?;
    let session = context.session().await?;
    let request = AuthRoleGrantPermissionRequest {
        name: role.to_owned(),
        perm: Some(Permission {
            perm_type: perm_type.into(),
            key: key.into(),
            range_end: range_end.into(),
        }),
    };
    let header = session.call(request).await?.header;
    let words = format!("Role {role} updated");
    session.show(&Done { words, header })
}

async fn revoke(context: &Context, role: &str) -> Result<(), Failure> {
    let (key, range_end) = range(&context.flags, 1)?;
    let session = context.session().await?;
    let named = context.flags.words().get(1).cloned().unwrap_or_default();
    let end = String::from_utf8_lossy(&range_end).into_owned();
    let words = match end.as_str() {
        "" => format!("Permission of key {named} is revoked from role {role}"),
        "\0" => format!("Permission of range [{named}, <open ended> is revoked from role {role}"),
        end => format!("Permission of range [{named}, {end}) is revoked from role {role}"),
    };
    let request = AuthRoleRevokePermissionRequest {
        role: role.to_owned(),
        key: key.into(),
        range_end: range_end.into(),
    };
    let header = session.call(request).await?.header;
    session.show(&Done { words, header })
}
