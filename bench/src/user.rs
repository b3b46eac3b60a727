//! On whose behalf this process calls: the same for all its connections, and said once.

use std::sync::OnceLock;

use bytes::Bytes;
use cairn_proto::etcdserverpb::{AuthenticateRequest, AuthenticateResponse};
use clap::Args;
use http::HeaderValue;
use prost::Message;

use crate::framing::frame;

/// Who calls.
#[derive(Args, Clone, Debug, Default)]
pub struct UserArgs {
    /// Log in as this user on each connection, and bring the token with each call.
    #[arg(long, global = true, value_name = "NAME:PASSWORD")]
    pub user: Option<String>,
}

static LOGIN: OnceLock<AuthenticateRequest> = OnceLock::new();

impl UserArgs {
    /// Makes all connections from now on log in. The first call counts.
    pub fn apply(&self) {
        let Some(user) = &self.user else { return };
        let (name, password) = user.split_once(':').unwrap_or((user, ""));
        LOGIN.get_or_init(|| AuthenticateRequest {
            name: name.to_owned(),
            password: password.to_owned(),
        });
    }
}

/// The login of this process, framed; none if it is nobody.
pub(crate) fn login() -> Option<Bytes> {
    LOGIN.get().map(frame)
}

/// The token in the answer to a login.
pub(crate) fn token(answer: &[Bytes]) -> Option<HeaderValue> {
    let answer = AuthenticateResponse::decode(answer.first()?.clone()).ok()?;
    HeaderValue::try_from(answer.token).ok()
}
