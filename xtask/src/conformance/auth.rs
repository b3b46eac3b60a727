//! Users, roles and permissions. Each rule that turns authentication on turns it off again.

use anyhow::{Result, ensure};
use cairn_proto::authpb::{Permission, UserAddOptions, permission::Type};
use cairn_proto::etcdserverpb as pb;
use tonic::{Code, Request, Status};

use super::context::Context;
use super::expect::{DENIED, Refusal, refused, same};
use super::rule::rules;
use super::watching::Watching;

rules!("auth", false;
    V3_4 {
        authentication_needs_the_user_root,
        a_user_without_a_name_is_refused,
        a_user_cannot_be_added_twice,
        an_unknown_user_is_refused,
        a_role_cannot_be_added_twice,
        a_role_without_a_name_is_refused,
        an_unknown_role_is_refused,
        a_role_that_is_not_granted_cannot_be_revoked,
        a_permission_that_is_not_granted_cannot_be_revoked,
        a_deleted_role_is_gone_from_its_users,
        users_and_roles_are_listed_in_order,
        a_login_is_refused_while_authentication_is_off,
        a_login_with_a_wrong_password_is_refused,
        a_call_without_a_user_is_refused,
        a_call_with_a_bad_token_is_refused,
        a_user_may_what_its_roles_may,
        a_user_may_not_what_its_roles_may_not,
        a_permission_to_read_is_none_to_write,
        a_put_that_returns_the_past_needs_to_read,
        transactions_are_checked_in_both_branches,
        a_watch_that_is_denied_is_created_and_cancelled,
        root_may_everything,
        members_are_for_root_to_change,
    }
    V3_5 {
        the_state_of_authentication_is_told,
    }
    V3_6 {
        every_change_of_rules_raises_their_revision,
    }
    V3_7 {
        // Late releases of 3.5 and 3.6 follow it, 3.6.0 does not.
        a_permission_on_one_key_is_none_on_all_after_it,
        nested_transactions_are_checked,
        a_compaction_is_for_root,
        the_state_of_authentication_is_told_to_anybody,
        a_bearers_token_counts,
    }
);

fn failed(text: &'static str) -> Refusal {
    (Code::FailedPrecondition, text)
}

const PASSWORD: &str = "pw";

async fn add_user(c: &Context, name: &str) -> Result<(), Status> {
    let request = pb::AuthUserAddRequest {
        name: name.to_owned(),
        password: PASSWORD.to_owned(),
        options: Some(UserAddOptions { no_password: false }),
        ..pb::AuthUserAddRequest::default()
    };
    c.auth().user_add(request).await.map(drop)
}

async fn add_role(c: &Context, name: &str) -> Result<(), Status> {
    let request = pb::AuthRoleAddRequest {
        name: name.to_owned(),
    };
    c.auth().role_add(request).await.map(drop)
}

async fn grant_role(c: &Context, user: &str, role: &str) -> Result<(), Status> {
    let request = pb::AuthUserGrantRoleRequest {
        user: user.to_owned(),
        role: role.to_owned(),
    };
    c.auth().user_grant_role(request).await.map(drop)
}

async fn delete_user(c: &Context, name: &str) -> Result<(), Status> {
    let request = pb::AuthUserDeleteRequest {
        name: name.to_owned(),
    };
    c.auth().user_delete(request).await.map(drop)
}

async fn delete_role(c: &Context, role: &str) -> Result<(), Status> {
    let request = pb::AuthRoleDeleteRequest {
        role: role.to_owned(),
    };
    c.auth().role_delete(request).await.map(drop)
}

async fn permit(c: &Context, role: &str, permission: Permission) -> Result<(), Status> {
    let request = pb::AuthRoleGrantPermissionRequest {
        name: role.to_owned(),
        perm: Some(permission),
    };
    c.auth().role_grant_permission(request).await.map(drop)
}

async fn login(c: &Context, name: &str, password: &str) -> Result<String, Status> {
    let request = pb::AuthenticateRequest {
        name: name.to_owned(),
        password: password.to_owned(),
    };
    Ok(c.auth().authenticate(request).await?.into_inner().token)
}

/// `message`, with a token.
fn with<T>(token: &str, message: T) -> Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("token", token.parse()?);
    Ok(request)
}

async fn authentication_needs_the_user_root(c: Context) -> Result<()> {
    let answer = c.auth().auth_enable(pb::AuthEnableRequest {}).await;
    refused(
        "no root",
        answer,
        failed("etcdserver: root user does not exist"),
    )
}

async fn a_user_without_a_name_is_refused(c: Context) -> Result<()> {
    let refusal = (Code::InvalidArgument, "etcdserver: user name is empty");
    refused("no name", add_user(&c, "").await, refusal)
}

async fn a_user_cannot_be_added_twice(c: Context) -> Result<()> {
    add_user(&c, "twice").await?;
    let again = add_user(&c, "twice").await;
    delete_user(&c, "twice").await?;
    refused(
        "again",
        again,
        failed("etcdserver: user name already exists"),
    )
}

async fn an_unknown_user_is_refused(c: Context) -> Result<()> {
    let refusal = failed("etcdserver: user name not found");
    refused("deleted", delete_user(&c, "nobody").await, refusal)?;
    refused("granted", grant_role(&c, "nobody", "none").await, refusal)
}

async fn a_role_cannot_be_added_twice(c: Context) -> Result<()> {
    add_role(&c, "twice").await?;
    let again = add_role(&c, "twice").await;
    delete_role(&c, "twice").await?;
    refused(
        "again",
        again,
        failed("etcdserver: role name already exists"),
    )
}

async fn a_role_without_a_name_is_refused(c: Context) -> Result<()> {
    let refusal = (Code::InvalidArgument, "etcdserver: role name is empty");
    refused("no name", add_role(&c, "").await, refusal)
}

async fn an_unknown_role_is_refused(c: Context) -> Result<()> {
    let refusal = failed("etcdserver: role name not found");
    refused("deleted", delete_role(&c, "none").await, refusal)?;
    add_user(&c, "one").await?;
    let granted = grant_role(&c, "one", "none").await;
    delete_user(&c, "one").await?;
    refused("granted", granted, refusal)
}

async fn a_role_that_is_not_granted_cannot_be_revoked(c: Context) -> Result<()> {
    add_user(&c, "one").await?;
    add_role(&c, "role").await?;
    let revoke = pb::AuthUserRevokeRoleRequest {
        name: "one".to_owned(),
        role: "role".to_owned(),
    };
    let revoked = c.auth().user_revoke_role(revoke).await;
    delete_user(&c, "one").await?;
    delete_role(&c, "role").await?;
    refused(
        "revoked",
        revoked,
        failed("etcdserver: role is not granted to the user"),
    )
}

async fn a_permission_that_is_not_granted_cannot_be_revoked(c: Context) -> Result<()> {
    add_role(&c, "role").await?;
    let revoke = pb::AuthRoleRevokePermissionRequest {
        role: "role".to_owned(),
        key: "none".into(),
        range_end: "".into(),
    };
    let revoked = c.auth().role_revoke_permission(revoke).await;
    delete_role(&c, "role").await?;
    refused(
        "revoked",
        revoked,
        failed("etcdserver: permission is not granted to the role"),
    )
}

async fn a_deleted_role_is_gone_from_its_users(c: Context) -> Result<()> {
    add_user(&c, "one").await?;
    add_role(&c, "role").await?;
    grant_role(&c, "one", "role").await?;
    delete_role(&c, "role").await?;
    let get = pb::AuthUserGetRequest {
        name: "one".to_owned(),
    };
    let roles = c.auth().user_get(get).await?.into_inner().roles;
    delete_user(&c, "one").await?;
    same("roles", &roles.len(), &0)
}

async fn users_and_roles_are_listed_in_order(c: Context) -> Result<()> {
    for name in ["b", "a"] {
        add_user(&c, name).await?;
        add_role(&c, name).await?;
    }
    let users = c
        .auth()
        .user_list(pb::AuthUserListRequest {})
        .await?
        .into_inner()
        .users;
    let roles = c
        .auth()
        .role_list(pb::AuthRoleListRequest {})
        .await?
        .into_inner()
        .roles;
    for name in ["b", "a"] {
        delete_user(&c, name).await?;
        delete_role(&c, name).await?;
    }
    same(
        "names",
        &(users.concat().as_str(), roles.concat().as_str()),
        &("ab", "ab"),
    )
}

async fn a_login_is_refused_while_authentication_is_off(c: Context) -> Result<()> {
    let refusal = failed("etcdserver: authentication is not enabled");
    refused("a login", login(&c, "nobody", PASSWORD).await, refusal)
}

async fn the_state_of_authentication_is_told(c: Context) -> Result<()> {
    let state = c
        .auth()
        .auth_status(pb::AuthStatusRequest {})
        .await?
        .into_inner();
    same("enabled", &state.enabled, &false)?;
    ensure!(state.auth_revision > 0);
    Ok(())
}

async fn every_change_of_rules_raises_their_revision(c: Context) -> Result<()> {
    let state = async || c.auth().auth_status(pb::AuthStatusRequest {}).await;
    let before = state().await?.into_inner().auth_revision;
    add_role(&c, "role").await?;
    let after = state().await?.into_inner().auth_revision;
    delete_role(&c, "role").await?;
    same("revision", &after, &(before + 1))
}

/// A server whose authentication is on: root, and a user who may read and write keys that begin with
/// `mine`, and read the key `readable`.
struct Guarded<'a> {
    c: &'a Context,
    root: String,
    user: String,
}

impl<'a> Guarded<'a> {
    async fn on(c: &'a Context) -> Result<Self> {
        for name in ["root", "user"] {
            add_user(c, name).await?;
            add_role(c, name).await?;
            grant_role(c, name, name).await?;
        }
        let permission = |kind: Type, key: &str, end: &str| Permission {
            perm_type: kind.into(),
            key: c.key(key).into(),
            range_end: if end.is_empty() {
                "".into()
            } else {
                c.key(end).into()
            },
        };
        permit(c, "user", permission(Type::Readwrite, "mine", "minf")).await?;
        permit(c, "user", permission(Type::Read, "readable", "")).await?;
        permit(c, "user", permission(Type::Write, "writable", "")).await?;
        c.auth().auth_enable(pb::AuthEnableRequest {}).await?;
        Ok(Self {
            root: login(c, "root", PASSWORD).await?,
            user: login(c, "user", PASSWORD).await?,
            c,
        })
    }

    /// As it was before.
    async fn off(self) -> Result<()> {
        let off = with(&self.root, pb::AuthDisableRequest {})?;
        self.c.auth().auth_disable(off).await?;
        for name in ["root", "user"] {
            delete_user(self.c, name).await?;
            delete_role(self.c, name).await?;
        }
        Ok(())
    }

    async fn put(&self, token: &str, name: &str) -> Result<Result<(), Status>> {
        let put = pb::PutRequest {
            key: self.c.key(name).into(),
            ..pb::PutRequest::default()
        };
        self.send(token, put).await
    }

    async fn send(&self, token: &str, put: pb::PutRequest) -> Result<Result<(), Status>> {
        Ok(self.c.kv().put(with(token, put)?).await.map(drop))
    }

    async fn get(&self, token: &str, range: pb::RangeRequest) -> Result<Result<(), Status>> {
        Ok(self.c.kv().range(with(token, range)?).await.map(drop))
    }

    async fn txn(&self, txn: pb::TxnRequest) -> Result<Result<(), Status>> {
        Ok(self.c.kv().txn(with(&self.user, txn)?).await.map(drop))
    }
}

async fn a_login_with_a_wrong_password_is_refused(c: Context) -> Result<()> {
    let guarded = Guarded::on(&c).await?;
    let wrong = login(&c, "user", "wrong").await;
    guarded.off().await?;
    let text = "etcdserver: authentication failed, invalid user ID or password";
    refused("wrong", wrong, (Code::InvalidArgument, text))
}

async fn a_call_without_a_user_is_refused(c: Context) -> Result<()> {
    let guarded = Guarded::on(&c).await?;
    let answer = c.ask_range(c.one("mine")).await;
    guarded.off().await?;
    refused(
        "nobody",
        answer,
        (Code::InvalidArgument, "etcdserver: user name is empty"),
    )
}

async fn a_call_with_a_bad_token_is_refused(c: Context) -> Result<()> {
    let guarded = Guarded::on(&c).await?;
    let answer = guarded.get("nonsense", c.one("mine")).await;
    guarded.off().await?;
    refused(
        "nonsense",
        answer?,
        (Code::Unauthenticated, "etcdserver: invalid auth token"),
    )
}

async fn a_user_may_what_its_roles_may(c: Context) -> Result<()> {
    let guarded = Guarded::on(&c).await?;
    let put = guarded.put(&guarded.user, "mine/1").await;
    let read = guarded.get(&guarded.user, c.one("readable")).await;
    guarded.off().await?;
    put??;
    Ok(read??)
}

async fn a_user_may_not_what_its_roles_may_not(c: Context) -> Result<()> {
    let guarded = Guarded::on(&c).await?;
    let put = guarded.put(&guarded.user, "other").await;
    let read = guarded.get(&guarded.user, c.all()).await;
    guarded.off().await?;
    refused("a put", put?, DENIED)?;
    refused("a range", read?, DENIED)
}

async fn a_permission_to_read_is_none_to_write(c: Context) -> Result<()> {
    let guarded = Guarded::on(&c).await?;
    let put = guarded.put(&guarded.user, "readable").await;
    guarded.off().await?;
    refused("a put", put?, DENIED)
}

async fn a_permission_on_one_key_is_none_on_all_after_it(c: Context) -> Result<()> {
    let guarded = Guarded::on(&c).await?;
    let from = pb::RangeRequest {
        range_end: vec![0].into(),
        ..c.one("readable")
    };
    let read = guarded.get(&guarded.user, from).await;
    let watch = pb::WatchCreateRequest {
        key: c.key("readable").into(),
        range_end: vec![0].into(),
        ..pb::WatchCreateRequest::default()
    };
    let token = Some(("token", guarded.user.as_str()));
    let watched = match Watching::create_with(&c, watch, token).await {
        Ok(mut watching) => watching.next().await,
        Err(error) => Err(error),
    };
    guarded.off().await?;
    refused("a range", read?, DENIED)?;
    let watched = watched?;
    ensure!(
        watched.canceled && watched.cancel_reason.contains("permission denied"),
        "{watched:?}"
    );
    Ok(())
}

async fn a_put_that_returns_the_past_needs_to_read(c: Context) -> Result<()> {
    let guarded = Guarded::on(&c).await?;
    let key = || c.key("writable");
    let blind = pb::PutRequest {
        key: key().into(),
        ..Default::default()
    };
    let seeing = pb::PutRequest {
        key: key().into(),
        prev_kv: true,
        ..Default::default()
    };
    let (blind, seeing) = (
        guarded.send(&guarded.user, blind).await,
        guarded.send(&guarded.user, seeing).await,
    );
    guarded.off().await?;
    blind??;
    refused("with prev_kv", seeing?, DENIED)
}

fn put_op(c: &Context, name: &str) -> pb::RequestOp {
    let put = pb::PutRequest {
        key: c.key(name).into(),
        ..pb::PutRequest::default()
    };
    pb::RequestOp {
        request: Some(pb::request_op::Request::RequestPut(put)),
    }
}

async fn transactions_are_checked_in_both_branches(c: Context) -> Result<()> {
    let guarded = Guarded::on(&c).await?;
    let txn = pb::TxnRequest {
        success: vec![put_op(&c, "mine/1")],
        failure: vec![put_op(&c, "other")],
        ..pb::TxnRequest::default()
    };
    let answer = guarded.txn(txn).await;
    guarded.off().await?;
    refused("a branch not taken", answer?, DENIED)
}

async fn nested_transactions_are_checked(c: Context) -> Result<()> {
    let guarded = Guarded::on(&c).await?;
    let inner = pb::TxnRequest {
        success: vec![put_op(&c, "other")],
        ..Default::default()
    };
    let request = pb::request_op::Request::RequestTxn(inner);
    let success = vec![pb::RequestOp {
        request: Some(request),
    }];
    let answer = guarded
        .txn(pb::TxnRequest {
            success,
            ..Default::default()
        })
        .await;
    guarded.off().await?;
    refused("inside", answer?, DENIED)
}

async fn a_watch_that_is_denied_is_created_and_cancelled(c: Context) -> Result<()> {
    let guarded = Guarded::on(&c).await?;
    let watch = pb::WatchCreateRequest {
        key: c.key("other").into(),
        ..Default::default()
    };
    let token = Some(("token", guarded.user.as_str()));
    let told = match Watching::create_with(&c, watch, token).await {
        Ok(mut watching) => watching.next().await,
        Err(error) => Err(error),
    };
    guarded.off().await?;
    let told = told?;
    let text = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    let found = (told.created, told.canceled, told.cancel_reason.as_str());
    same("refusal", &found, &(true, true, text))
}

async fn root_may_everything(c: Context) -> Result<()> {
    let guarded = Guarded::on(&c).await?;
    let put = guarded.put(&guarded.root, "other").await;
    guarded.off().await?;
    Ok(put??)
}

async fn members_are_for_root_to_change(c: Context) -> Result<()> {
    let guarded = Guarded::on(&c).await?;
    let request = with(&guarded.user, pb::MemberRemoveRequest { id: 77 })?;
    let answer = c.cluster().member_remove(request).await;
    guarded.off().await?;
    refused("a user", answer, DENIED)
}

async fn a_compaction_is_for_root(c: Context) -> Result<()> {
    let guarded = Guarded::on(&c).await?;
    let request = with(
        &guarded.user,
        pb::CompactionRequest {
            revision: 1,
            physical: false,
        },
    )?;
    let answer = c.kv().compact(request).await;
    guarded.off().await?;
    refused("a user", answer, DENIED)
}

async fn the_state_of_authentication_is_told_to_anybody(c: Context) -> Result<()> {
    let guarded = Guarded::on(&c).await?;
    let state = c.auth().auth_status(pb::AuthStatusRequest {}).await;
    guarded.off().await?;
    same("enabled", &state?.into_inner().enabled, &true)
}

async fn a_bearers_token_counts(c: Context) -> Result<()> {
    let guarded = Guarded::on(&c).await?;
    let mut request = Request::new(c.one("readable"));
    let bearer = format!("Bearer {}", guarded.user);
    request
        .metadata_mut()
        .insert("authorization", bearer.parse()?);
    let answer = c.kv().range(request).await;
    guarded.off().await?;
    answer.map(drop).map_err(Into::into)
}
