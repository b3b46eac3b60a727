//! The JSON gateway and its WebSockets over TLS: who is let in, and as whom.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use crate::auth_calls::Admin;
use crate::certificates::Issued;
use crate::harness::PATIENCE;
use crate::tls::{BOTH, Files, ask, channel, client, secure};

#[tokio::test]
async fn json_over_tls_needs_a_certificate_and_under_auth_one_that_names_nobody() {
    let files = Files::new();
    let server = files.start(&[
        "--trusted-ca-file={}/ca.pem",
        "--client-cert-auth",
        "--bcrypt-cost=4",
    ]);
    let connect = async |own: Option<&Issued>| {
        let mut config = Arc::unwrap_or_clone(client(&files.authority.pem, own, BOTH));
        config.alpn_protocols = Vec::new();
        secure(server.address(), Arc::new(config)).await
    };
    let (root, nameless) = (files.user("root"), files.user(""));
    let put = async |own: &Issued, headers: &str| {
        let stream = connect(Some(own)).await.unwrap();
        let json = r#"{"key":"a2V5","value":"dg=="}"#;
        ask(stream, "POST /v3/kv/put", headers, json).await
    };
    let answer = put(&root, "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // A client without one finds out when it reads.
    if let Ok(stream) = connect(None).await {
        let refused = ask(stream, "POST /v3/kv/range", "", r#"{"key":"a2V5"}"#).await;
        assert_eq!(refused, "");
    }
    let request = "ws://member/v3/watch";
    let stream = connect(Some(&root)).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    let create = Message::text(r#"{"create_request":{"key":"a2V5","start_revision":1}}"#);
    socket.send(create).await.unwrap();
    for told in ["\"created\":true", "\"value\":\"dg==\""] {
        let heard = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
        let heard = heard.unwrap().unwrap().into_text().unwrap();
        assert!(heard.contains(told), "{heard}");
    }
    let over_grpc = channel(server.address(), &files.client_with(&root)).await;
    let mut admin = Admin::over(over_grpc.unwrap());
    admin.enable().await;
    // Who had a name would be taken for somebody else.
    let token = format!("Authorization: {}\r\n", admin.token.clone().unwrap());
    for headers in ["", &*token] {
        let refused = put(&root, headers).await;
        assert!(refused.contains("CommonName of client"), "{refused}");
    }
    let refused = put(&nameless, "").await;
    assert!(refused.contains("user name is empty"), "{refused}");
    let answer = put(&nameless, &token).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
