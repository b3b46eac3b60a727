//! On whose behalf calls are made: by default the same user for all connections of this process.

use std::str::FromStr;
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
    pub user: Option<User>,
}

static OWN: OnceLock<User> = OnceLock::new();

impl UserArgs {
    /// Makes all connections from now on log in. The first call counts.
    pub fn apply(&self) {
        if let Some(user) = &self.user {
            OWN.get_or_init(|| user.clone());
        }
    }
}

/// The user of this process; none if it is nobody.
pub(crate) fn own() -> Option<&'static User> {
    OWN.get()
}

/// A user with a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password, as it is typed.
    pub password: String,
}

impl User {
    /// The login, framed.
    pub(crate) fn login(&self) -> Bytes {
        frame(&AuthenticateRequest {
            name: self.name.clone(),
            password: self.password.clone(),
        })
    }
}

impl FromStr for User {
    type Err = UserError;

    fn from_str(text: &str) -> Result<Self, UserError> {
        match text.split_once(':') {
            Some((name, password)) if !name.is_empty() => Ok(Self {
                name: name.to_owned(),
                password: password.to_owned(),
            }),
            _ => Err(UserError),
        }
    }
}

/// A text that names no user with a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a name, a colon and a password")]
pub struct UserError;

/// The token in the answer to a login.
pub(crate) fn token(answer: &[Bytes]) -> Option<HeaderValue> {
    let answer = AuthenticateResponse::decode(answer.first()?.clone()).ok()?;
    HeaderValue::try_from(answer.token).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_may_hold_colons_and_be_empty() {
        let user = |name: &str, password: &str| User {
            name: name.to_owned(),
            password: password.to_owned(),
        };
        assert_eq!("a:b:c".parse(), Ok(user("a", "b:c")));
        assert_eq!("a:".parse(), Ok(user("a", "")));
        for text in ["", "a", ":b"] {
            assert_eq!(text.parse::<User>(), Err(UserError));
        }
    }
}
