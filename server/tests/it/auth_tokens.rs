//! Logins and the tokens that answer them.

use cairn_proto::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthUserAddRequest, AuthUserChangePasswordRequest,
};
use tonic::Code;

use crate::auth::{rules, watched};
use crate::auth_calls::*;
use crate::cluster_harness::Cluster;
use crate::harness::{Server, until};
use crate::requests::*;

#[tokio::test]
async fn a_token_is_taken_from_either_header_with_or_without_bearer_and_nothing_else_is_one() {
    let server = Server::start(&["--bcrypt-cost=4"]);
    let clients = server.clients().await;
    let tokens = rules(&clients).await;
    let reader = tokens[2].clone().unwrap();
    let mut kv = clients.kv.clone();
    let bearer = format!("Bearer {reader}");
    for (name, value) in [
        ("token", &reader),
        ("token", &bearer),
        ("authorization", &reader),
        ("authorization", &bearer),
    ] {
        let mut request = tonic::Request::new(range("k", ""));
        request.metadata_mut().insert(name, value.parse().unwrap());
        kv.range(request).await.unwrap();
    }
    let invalid = (Code::Unauthenticated, "etcdserver: invalid auth token");
    let index = reader.split_once('.').unwrap().1;
    let unknown = format!("abcdefghijklmnop.{index}");
    for token in ["", "x", "a.b.c", "abc.-1", &unknown, "bearer x.1"] {
        let answer = kv.range(with_token(range("k", ""), Some(token))).await;
        refused(answer, invalid, token);
        let answer = kv.put(with_token(put("k", ""), Some(token))).await;
        refused(answer, invalid, token);
        let reason = watch(&clients, watched("k", ""), Some(token)).await;
        let expected = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token";
        assert_eq!(reason, Err(expected.to_owned()), "{token}");
    }
}

#[tokio::test]
async fn a_login_needs_the_right_password_of_a_user_that_has_one() {
    let server = Server::start(&["--bcrypt-cost=4"]);
    let clients = server.clients().await;
    let mut admin = Admin::new(&clients);
    admin.add_user("u").await;
    let certified = AuthUserAddRequest {
        name: "certified".to_owned(),
        options: Some(cairn_proto::authpb::UserAddOptions { no_password: true }),
        ..AuthUserAddRequest::default()
    };
    admin.auth.user_add(certified).await.unwrap();
    let off = admin.try_log_in("u", "u").await.unwrap_err();
    let not_enabled = "etcdserver: authentication is not enabled";
    assert_eq!(error(&off), (Code::FailedPrecondition, not_enabled));
    admin.enable().await;
    let failed = "etcdserver: authentication failed, invalid user ID or password";
    let failed = (Code::InvalidArgument, failed);
    let no_password = "auth: authentication failed, password was given for no password user";
    for (name, password, expected) in [
        ("u", "v", failed),
        ("u", "", failed),
        ("nobody", "u", failed),
        ("", "", failed),
        ("certified", "", (Code::Unknown, no_password)),
        ("certified", "certified", (Code::Unknown, no_password)),
    ] {
        let refused = admin.try_log_in(name, password).await.unwrap_err();
        assert_eq!(error(&refused), expected, "{name:?} {password:?}");
    }
    assert_ne!(admin.log_in("u").await, admin.log_in("u").await);
}

#[tokio::test]
async fn tokens_end_with_the_password_and_survive_other_changes_of_the_rules() {
    let server = Server::start(&["--bcrypt-cost=4"]);
    let clients = server.clients().await;
    let tokens = rules(&clients).await;
    let (reader, root) = (tokens[2].clone(), tokens[5].clone());
    let mut admin = Admin::new(&clients);
    admin.token = root;
    let read = Call::new("/etcdserverpb.KV/Range", &range("k", ""));
    admin.add_role("unrelated").await;
    assert_eq!(
        read.verdict(&clients, reader.as_deref()).await,
        Verdict::Allowed
    );
    let change = admin.request(AuthUserChangePasswordRequest {
        name: "reader".to_owned(),
        password: "new".to_owned(),
        ..AuthUserChangePasswordRequest::default()
    });
    admin.auth.user_change_password(change).await.unwrap();
    assert_eq!(
        read.verdict(&clients, reader.as_deref()).await,
        Verdict::BadToken
    );
    assert!(admin.try_log_in("reader", "reader").await.is_err());
    let reader = admin.try_log_in("reader", "new").await.unwrap();
    assert_eq!(
        read.verdict(&clients, Some(&reader)).await,
        Verdict::Allowed
    );
    let disable = admin.request(AuthDisableRequest {});
    admin.auth.auth_disable(disable).await.unwrap();
    // Nobody looks at tokens now.
    assert_eq!(read.verdict(&clients, Some("x")).await, Verdict::Allowed);
    admin.auth.auth_enable(AuthEnableRequest {}).await.unwrap();
    assert_eq!(
        read.verdict(&clients, Some(&reader)).await,
        Verdict::BadToken
    );
}

/// A member lets a caller in under the rules that it knows. If others have replaced them meanwhile, the
/// call comes to nothing, and is made once more under the new ones.
#[tokio::test]
async fn no_call_fails_because_its_member_hears_late_of_new_rules() {
    let cluster = Cluster::start(3, &["--bcrypt-cost=4"]);
    let everyone = cluster.running();
    let leader = cluster.leader(&everyone).await;
    let at_leader = cluster.clients(leader).await;
    let mut admin = Admin::new(&at_leader);
    admin.add_user("u").await;
    admin.add_role("r").await;
    admin.grant_role("u", "r").await;
    admin.enable().await;
    let token = admin.log_in("u").await;
    let mut told = Vec::new();
    for number in everyone.into_iter().filter(|it| *it != leader) {
        let clients = cluster.clients(number).await;
        for round in 0..50 {
            let key = format!("{number}/{round}");
            admin.grant("r", 2, &key, "").await;
            let put = Call::new("/etcdserverpb.KV/Put", &put(&key, "v"));
            told.push(put.verdict(&clients, Some(&token)).await);
        }
    }
    told.dedup();
    assert_eq!(told, [Verdict::Allowed]);
}

#[tokio::test]
async fn keys_of_tokens_are_replaced_on_a_running_server() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.key");
    let replace = |content: &str| std::fs::write(&path, content).unwrap();
    let new_key = || {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519);
        pair.unwrap().serialize_pem()
    };
    replace(&new_key());
    let jwt = format!(
        "--auth-token=jwt,sign-method=EdDSA,priv-key={}",
        path.display()
    );
    let server = Server::start(&["--bcrypt-cost=4", &jwt]);
    let clients = server.clients().await;
    let mut admin = Admin::new(&clients);
    admin.enable().await;
    let read = Call::new("/etcdserverpb.KV/Range", &range("k", ""));
    let verdict = async |token: &str| read.verdict(&clients, Some(token)).await;
    let old = admin.token.clone().unwrap();
    assert_eq!(verdict(&old).await, Verdict::Allowed);
    replace(&new_key());
    until("the old key to be no more", async || {
        verdict(&old).await == Verdict::BadToken
    })
    .await;
    let new = admin.log_in("root").await;
    assert_eq!(verdict(&new).await, Verdict::Allowed);
    replace("no key");
    until("a look at the damaged file", async || {
        assert_eq!(verdict(&new).await, Verdict::Allowed);
        server.log().contains("keeping the keys for tokens")
    })
    .await;
    let newer = admin.log_in("root").await;
    assert_eq!(verdict(&newer).await, Verdict::Allowed);
}
