//! `user`: who may call.

use cairn_proto::authpb::UserAddOptions;
use cairn_proto::etcdserverpb::{
    AuthRoleGetRequest, AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest,
    AuthUserGetRequest, AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserRevokeRoleRequest,
    ResponseHeader,
};
use clap::{Arg, Command};

use crate::cli::{Flags, arguments, group, leaf, switch, text};
use crate::failure::Failure;
use crate::prompt;
use crate::session::{Context, Session, put_out};
use crate::show::{Done, RoleShown, UserList, UserShown};

pub(crate) fn definition() -> Command {
    let command =
        |name, about, what, flags: Vec<Arg>| arguments(leaf(name, about).args(flags), what);
    let interactive = || {
        let help = "Ask for the password; =false: take it from standard input";
        switch("interactive", help).default_value("true")
    };
    let password = text("new-user-password", "The password");
    let no_password = switch(
        "no-password",
        "Without a password: known by certificate alone",
    );
    let detail = switch("detail", "Also show what its roles allow");
    group(
        "user",
        "Users: add, delete, get, list, passwd, grant-role, revoke-role",
    )
    .subcommands([
        command(
            "add",
            "Adds a user",
            "<name>[:<password>]",
            vec![interactive(), password, no_password],
        ),
        command("delete", "Deletes a user", "<name>", vec![]),
        command("get", "Shows a user's roles", "<name>", vec![detail]),
        command("list", "Lists all users", "", vec![]),
        command(
            "passwd",
            "Changes a user's password",
            "<name>",
            vec![interactive()],
        ),
        command("grant-role", "Gives a user a role", "<user> <role>", vec![]),
        command(
            "revoke-role",
            "Takes a role from a user",
            "<user> <role>",
            vec![],
        ),
    ])
}

pub(crate) async fn run(action: &str, context: &Context) -> Result<(), Failure> {
    let words = context.flags.words();
    let needs = |message: &str| Failure::arguments(message);
    match (action, words.as_slice()) {
        ("add", [user]) => add(context, user).await,
        ("add", _) => Err(needs("user add command requires user name as its argument")),
        ("delete", [user]) => delete(context, user).await,
        ("delete", _) => Err(needs(
            "user delete command requires user name as its argument",
        )),
        ("get", [user]) => get(context, user).await,
        ("get", _) => Err(needs("user get command requires user name as its argument")),
        ("list", []) => {
            let session = context.session().await?;
            let response = session.call(AuthUserListRequest {}).await?;
            session.show(&UserList(response))
        }
        ("list", _) => Err(needs("user list command requires no arguments")),
        ("passwd", [user]) => change_password(context, user).await,
        ("passwd", _) => Err(needs(
            "user passwd command requires user name as its argument",
        )),
        ("grant-role", [user, role]) => grant(context, user, role).await,
        ("grant-role", _) => Err(needs(
            "user grant command requires user name and role name as its argument",
        )),
        (_, [user, role]) => revoke(context, user, role).await,
        _ => Err(needs(
            "user revoke-role requires user name and role name as its argument",
        )),
    }
}

fn done(session: &Session, words: String, header: Option<ResponseHeader>) -> Result<(), Failure> {
    session.show(&Done { words, header })
}

/// The user's name without a password that came with it, and the password.
fn name_and_password(flags: &Flags, argument: &str) -> Result<(String, String), Failure> {
    let given = flags.text("new-user-password");
    if flags.is("no-password") || !given.is_empty() {
        let password = if flags.is("no-password") {
            String::new()
        } else {
            given
        };
        return Ok((argument.to_owned(), password));
    }
    match argument.split_once(':') {
        Some(("", _)) => Err(Failure::arguments("empty user name is not allowed")),
        Some((user, password)) => Ok((user.to_owned(), password.to_owned())),
        None => Ok((argument.to_owned(), new_password(flags, argument)?)),
    }
}

fn new_password(flags: &Flags, user: &str) -> Result<String, Failure> {
    if flags.is("interactive") {
        return prompt::new_password(user);
    }
    Ok(prompt::word()?)
}

async fn add(context: &Context, argument: &str) -> Result<(), Failure> {
    let (name, password) = name_and_password(&context.flags, argument)?;
    let session = context.session().await?;
    let request = AuthUserAddRequest {
        name: name.clone(),
        password,
        options: Some(UserAddOptions {
            no_password: context.flags.is("no-password"),
        }),
        ..AuthUserAddRequest::default()
    };
    let header = session.call(request).await?.header;
    done(&session, format!("User {name} created"), header)
}

async fn delete(context: &Context, user: &str) -> Result<(), Failure> {
    let session = context.session().await?;
    let request = AuthUserDeleteRequest {
        name: user.to_owned(),
    };
    let header = session.call(request).await?.header;
    done(&session, format!("User {user} deleted"), header)
}

async fn get(context: &Context, user: &str) -> Result<(), Failure> {
    let session = context.session().await?;
    let request = AuthUserGetRequest {
        name: user.to_owned(),
    };
    let response = session.call(request).await?;
    if !context.flags.is("detail") {
        return session.show(&UserShown { user, response });
    }
    put_out(format!("User: {user}\n").as_bytes())?;
    for role in response.roles {
        put_out(b"\n")?;
        let request = AuthRoleGetRequest { role: role.clone() };
        let response = session.call(request).await?;
        session.show(&RoleShown {
            role: &role,
            response,
        })?;
    }
    Ok(())
}

async fn change_password(context: &Context, user: &str) -> Result<(), Failure> {
    let password = new_password(&context.flags, user)?;
    let session = context.session().await?;
    let request = AuthUserChangePasswordRequest {
        name: user.to_owned(),
        password,
        ..AuthUserChangePasswordRequest::default()
    };
    let header = session.call(request).await?.header;
    done(&session, "Password updated".to_owned(), header)
}

async fn grant(context: &Context, user: &str, role: &str) -> Result<(), Failure> {
    let session = context.session().await?;
    let request = AuthUserGrantRoleRequest {
        user: user.to_owned(),
        role: role.to_owned(),
    };
    let header = session.call(request).await?.header;
    done(
        &session,
        format!("Role {role} is granted to user {user}"),
        header,
    )
}

async fn revoke(context: &Context, user: &str, role: &str) -> Result<(), Failure> {
    let session = context.session().await?;
    let request = AuthUserRevokeRoleRequest {
        name: user.to_owned(),
        role: role.to_owned(),
    };
    let header = session.call(request).await?.header;
    done(
        &session,
        format!("Role {role} is revoked from user {user}"),
        header,
    )
}
