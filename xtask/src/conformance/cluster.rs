//! Members: who they are, and which changes are refused.

use anyhow::{Result, ensure};
use cairn_proto::etcdserverpb as pb;
use tonic::Code;

use super::context::Context;
use super::expect::{Refusal, refused, same};
use super::rule::rules;

rules!("cluster", false;
    V3_4 {
        the_members_are_listed_with_names_and_urls,
        the_member_that_answers_is_one_of_those_listed,
        headers_of_the_cluster_carry_no_revision,
        a_member_whose_urls_are_known_cannot_be_added,
        a_member_without_urls_cannot_be_added,
        a_member_with_malformed_urls_cannot_be_added,
        a_stranger_cannot_be_removed,
        a_stranger_cannot_be_updated,
        a_stranger_cannot_be_promoted,
        a_voter_cannot_be_promoted,
        a_learner_is_listed_as_one_until_it_is_removed,
        a_removed_identifier_stays_removed,
    }
    V3_5 {
        a_linearizable_list_answers,
    }
    V3_6 {
        a_second_learner_is_one_too_many,
    }
);

const NOT_FOUND: Refusal = (Code::NotFound, "etcdserver: member not found");
const BAD_URLS: Refusal = (
    Code::InvalidArgument,
    "etcdserver: given member URLs are invalid",
);

async fn list(c: &Context) -> Result<pb::MemberListResponse> {
    let request = pb::MemberListRequest {
        linearizable: false,
    };
    Ok(c.cluster().member_list(request).await?.into_inner())
}

async fn add(c: &Context, url: &str, is_learner: bool) -> Result<pb::Member, tonic::Status> {
    let peer_urls = if url.is_empty() {
        vec![]
    } else {
        vec![url.to_owned()]
    };
    let request = pb::MemberAddRequest {
        peer_urls,
        is_learner,
    };
    let added = c.cluster().member_add(request).await?.into_inner();
    Ok(added.member.unwrap_or_default())
}

async fn remove(c: &Context, id: u64) -> Result<(), tonic::Status> {
    c.cluster()
        .member_remove(pb::MemberRemoveRequest { id })
        .await
        .map(drop)
}

async fn the_members_are_listed_with_names_and_urls(c: Context) -> Result<()> {
    let members = list(&c).await?.members;
    ensure!(!members.is_empty());
    ensure!(
        members.iter().all(|it| !it.name.is_empty()
            && !it.peer_urls.is_empty()
            && !it.client_urls.is_empty())
    );
    Ok(())
}

async fn the_member_that_answers_is_one_of_those_listed(c: Context) -> Result<()> {
    let answer = list(&c).await?;
    let id = answer.header.unwrap_or_default().member_id;
    ensure!(answer.members.iter().any(|member| member.id == id));
    Ok(())
}

async fn headers_of_the_cluster_carry_no_revision(c: Context) -> Result<()> {
    let header = list(&c).await?.header.unwrap_or_default();
    same("revision", &header.revision, &0)
}

async fn a_member_whose_urls_are_known_cannot_be_added(c: Context) -> Result<()> {
    let members = list(&c).await?.members;
    let url = members
        .first()
        .and_then(|it| it.peer_urls.first())
        .cloned()
        .unwrap_or_default();
    let refusal = (
        Code::FailedPrecondition,
        "etcdserver: Peer URLs already exists",
    );
    refused("the same", add(&c, &url, true).await, refusal)
}

async fn a_member_without_urls_cannot_be_added(c: Context) -> Result<()> {
    refused("none", add(&c, "", true).await, BAD_URLS)
}

async fn a_member_with_malformed_urls_cannot_be_added(c: Context) -> Result<()> {
    refused("no URL", add(&c, "nonsense", true).await, BAD_URLS)
}

async fn a_stranger_cannot_be_removed(c: Context) -> Result<()> {
    refused("77", remove(&c, 77).await, NOT_FOUND)
}

async fn a_stranger_cannot_be_updated(c: Context) -> Result<()> {
    let request = pb::MemberUpdateRequest {
        id: 77,
        peer_urls: vec!["http://127.0.0.1:1".to_owned()],
    };
    refused("77", c.cluster().member_update(request).await, NOT_FOUND)
}

async fn a_stranger_cannot_be_promoted(c: Context) -> Result<()> {
    let request = pb::MemberPromoteRequest { id: 77 };
    refused("77", c.cluster().member_promote(request).await, NOT_FOUND)
}

async fn a_voter_cannot_be_promoted(c: Context) -> Result<()> {
    let id = c.status().await?.leader;
    let request = pb::MemberPromoteRequest { id };
    let refusal = (
        Code::FailedPrecondition,
        "etcdserver: can only promote a learner member",
    );
    refused(
        "the leader",
        c.cluster().member_promote(request).await,
        refusal,
    )
}

async fn a_learner_is_listed_as_one_until_it_is_removed(c: Context) -> Result<()> {
    let added = add(&c, "http://127.0.0.1:1", true).await?;
    let listed = list(&c).await?.members;
    let promote = pb::MemberPromoteRequest { id: added.id };
    let promoted = c.cluster().member_promote(promote).await;
    remove(&c, added.id).await?;
    let found = listed.iter().find(|member| member.id == added.id);
    ensure!(
        found.is_some_and(|member| member.is_learner && member.name.is_empty()),
        "{listed:?}"
    );
    let refusal = (
        Code::FailedPrecondition,
        "etcdserver: can only promote a learner member which is in sync with leader",
    );
    refused("one that is not there", promoted, refusal)
}

async fn a_removed_identifier_stays_removed(c: Context) -> Result<()> {
    let added = add(&c, "http://127.0.0.1:2", true).await?;
    remove(&c, added.id).await?;
    refused("again", remove(&c, added.id).await, NOT_FOUND)
}

async fn a_linearizable_list_answers(c: Context) -> Result<()> {
    let request = pb::MemberListRequest { linearizable: true };
    c.cluster().member_list(request).await?;
    Ok(())
}

async fn a_second_learner_is_one_too_many(c: Context) -> Result<()> {
    let first = add(&c, "http://127.0.0.1:3", true).await?;
    let second = add(&c, "http://127.0.0.1:4", true).await;
    remove(&c, first.id).await?;
    let refusal = (
        Code::FailedPrecondition,
        "etcdserver: too many learner members in cluster",
    );
    refused("two", second, refusal)
}
