//! `member`: who is in the cluster.

use cairn_proto::etcdserverpb::{
    Member, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
    MemberRemoveResponse, MemberUpdateRequest, ResponseHeader,
};
use clap::{Arg, Command};

use super::get::is_serializable;
use crate::cli::{Flags, arguments, choice, group, leaf, switch, text};
use crate::failure::Failure;
use crate::golang::{Base, parse_u64};
use crate::session::Context;
use crate::show::{MemberAdded, MemberList, MembersChanged};

pub(crate) fn definition() -> Command {
    let peer_urls = || {
        text(
            "peer-urls",
            "Where members reach it, with commas between URLs",
        )
    };
    let learner = switch(
        "learner",
        "Add it as a learner, which gets data and has no vote",
    );
    let command =
        |name, about, what, flags: Vec<Arg>| arguments(leaf(name, about).args(flags), what);
    let consistency = choice(
        "consistency",
        "l",
        &["l", "s"],
        "l: linearizable; s: serializable",
    );
    group("member", "Membership: add, remove, update, list, promote").subcommands([
        command(
            "add",
            "Adds a member, and shows what to start it with",
            "<name>",
            vec![peer_urls(), learner],
        ),
        command("remove", "Removes a member", "<member-id>", vec![]),
        command(
            "update",
            "Changes a member's peer URLs",
            "<member-id>",
            vec![peer_urls()],
        ),
        command("list", "Lists all members", "", vec![consistency]),
        command("promote", "Makes a learner a voter", "<member-id>", vec![]),
    ])
}

pub(crate) async fn run(action: &str, context: &Context) -> Result<(), Failure> {
    match action {
        "add" => add(context).await,
        "list" => list(context).await,
        _ => change(action, context).await,
    }
}

async fn add(context: &Context) -> Result<(), Failure> {
    let words = context.flags.words();
    let name = match words.as_slice() {
        [] => return Err(Failure::arguments("member name not provided")),
        [name] => name.clone(),
        several => {
            let is_url = |word: &&String| word.to_lowercase().starts_with("http");
            let urls = several.iter().filter(is_url);
            let meant: Vec<String> = urls
                .map(|url| format!(", did you mean --peer-urls={url}"))
                .collect();
            let message = format!("too many arguments{}", meant.concat());
            return Err(Failure::arguments(message));
        }
    };
    let peer_urls = context.flags.text("peer-urls");
    let urls = peer_urls_of(&context.flags)?;
    let session = context.session().await?;
    check_urls(&urls)?;
    let request = MemberAddRequest {
        peer_urls: urls,
        is_learner: context.flags.is("learner"),
    };
    let response = session.call(request).await?;
    session.show(&MemberAdded {
        response,
        name,
        peer_urls,
    })
}

fn peer_urls_of(flags: &Flags) -> Result<Vec<String>, Failure> {
    let urls = flags.text("peer-urls");
    if urls.is_empty() {
        return Err(Failure::arguments("member peer urls not provided"));
    }
    Ok(urls.split(',').map(str::to_owned).collect())
}

/// A first look at URLs, before a server takes a second one.
fn check_urls(urls: &[String]) -> Result<(), Failure> {
    for url in urls {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let is_socket = ["unix", "unixs"].contains(&scheme);
        if !is_socket && !["http", "https"].contains(&scheme) {
            return Err(Failure::error(format!(
                "URL scheme must be http, https, unix, or unixs: {url}"
            )));
        }
        let (address, path) = rest
            .split_once('/')
            .map_or((rest, None), |(a, p)| (a, Some(p)));
        let has_port = address
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.ends_with(']'));
        if !is_socket && !has_port {
            return Err(Failure::error(format!(
                "URL address does not have the form \"host:port\": {url}"
            )));
        }
        if !is_socket && path.is_some() {
            return Err(Failure::error(format!(
                "URL must not contain a path: {url}"
            )));
        }
    }
    Ok(())
}

async fn list(context: &Context) -> Result<(), Failure> {
    let serializable = is_serializable(&context.flags.text("consistency"))?;
    let session = context.session().await?;
    let request = MemberListRequest {
        linearizable: !serializable,
    };
    let response = session.call(request).await?;
    session.show(&MemberList(response))
}

/// Removes, updates or promotes a member; the answers are alike.
async fn change(action: &str, context: &Context) -> Result<(), Failure> {
    let words = context.flags.words();
    let [id] = words.as_slice() else {
        return Err(Failure::arguments("member ID is not provided"));
    };
    let id = parse_u64(id, Base::Hex).map_err(|error| {
        Failure::arguments(format!("bad member ID arg ({error}), expecting ID in Hex"))
    })?;
    let (done, header, members): (_, Option<ResponseHeader>, Vec<Member>);
    let session;
    match action {
        "remove" => {
            session = context.session().await?;
            let response = session.call(MemberRemoveRequest { id }).await?;
            (done, header, members) = ("removed from", response.header, response.members);
        }
        "update" => {
            let peer_urls = peer_urls_of(&context.flags)?;
            session = context.session().await?;
            check_urls(&peer_urls)?;
            let response = session.call(MemberUpdateRequest { id, peer_urls }).await?;
            (done, header, members) = ("updated in", response.header, response.members);
        }
        _ => {
            session = context.session().await?;
            let response = session.call(MemberPromoteRequest { id }).await?;
            (done, header, members) = ("promoted in", response.header, response.members);
        }
    }
    let cluster = header.map_or(0, |header| header.cluster_id);
    session.show(&MembersChanged {
        words: format!("Member {id:16x} {done} cluster {cluster:16x}"),
        response: MemberRemoveResponse { header, members },
    })
}
