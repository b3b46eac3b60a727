//! The token that says who calls: fetched, kept, and fetched again.
//!
//! A simple token lives on the member that gave it out and on those that apply its log, and ends
//! when it is not used; a signed one carries its end. Both end when users change. So a token is
//! renewed shortly before the end that it carries, and whenever a server refuses it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use crate::transport::token_header;

/// How long before its end a token is renewed.
const MARGIN: Duration = Duration::from_secs(10);

/// A token as it goes with calls.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) header: Option<HeaderValue>,
    /// Counts tokens, so that a refusal of an old one does not end a new one.
    generation: u64,
    /// When it ends, in time since the Unix epoch, if it says so.
    ends: Option<Duration>,
    /// Whether there can be another when this has ended.
    pub(crate) is_renewable: bool,
}

impl Token {
    /// One that the client's program was given.
    pub(crate) fn given(text: &str) -> Self {
        Self {
            header: token_header(text),
            generation: 0,
            ends: None,
            is_renewable: false,
        }
    }
}

/// The token of a client.
#[derive(Debug, Default)]
pub(crate) struct TokenStore {
    current: Mutex<Option<Token>>,
    /// One login at a time.
    pub(crate) renewing: AsyncMutex<()>,
    count: Mutex<u64>,
}

impl TokenStore {
    /// The token, unless it is about to end.
    pub(crate) fn current(&self, unix_time: impl FnOnce() -> Duration) -> Option<Token> {
        let current = self.current.lock();
        let token = current.as_ref()?;
        let is_ending = token.ends.is_some_and(|ends| ends < unix_time() + MARGIN);
        (!is_ending).then(|| token.clone())
    }

    /// Keeps a token. An empty text is no token: auth is off.
    pub(crate) fn keep(&self, text: &str, unix_time: Duration) -> Token {
        let mut count = self.count.lock();
        *count += 1;
        let ends = end_of(text);
        let token = Token {
            header: (!text.is_empty()).then(|| token_header(text)).flatten(),
            generation: *count,
            // One that ends within the margin is used while it lasts, not renewed at each call.
            ends: ends.filter(|ends| *ends > unix_time + MARGIN),
            is_renewable: true,
        };
        *self.current.lock() = Some(token.clone());
        token
    }

    /// Forgets a token that a server refused.
    pub(crate) fn forget(&self, refused: &Token) {
        let mut current = self.current.lock();
        if current
            .as_ref()
            .is_some_and(|it| it.generation == refused.generation)
        {
            *current = None;
        }
    }
}

/// The end that a signed token (a JWT) carries.
fn end_of(token: &str) -> Option<Duration> {
    let claims = token.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims = std::str::from_utf8(&claims).ok()?;
    claims.match_indices(EXPIRY).find_map(|(at, name)| {
        let rest = claims.get(at + name.len()..)?.trim_start();
        let number = rest.strip_prefix(':')?.trim_start();
        let end = number.find(|it: char| !it.is_ascii_digit());
        let digits = number.get(..end.unwrap_or(number.len()))?;
        digits.parse().ok().map(Duration::from_secs)
    })
}

/// The claim that says when a token ends. It is looked for and not parsed: at the worst, a token is
/// fetched too early, or when a server refuses it.
const EXPIRY: &str = "\"exp\"";

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(ends: u64) -> String {
        let claims = URL_SAFE_NO_PAD.encode(format!("{{\"username\":\"a\",\"exp\":{ends}}}"));
        format!("e30.{claims}.c2ln")
    }

    #[test]
    fn a_token_that_says_when_it_ends_is_renewed_before() {
        let store = TokenStore::default();
        let now = Duration::from_secs(1_000);
        store.keep(&signed(1_300), now);
        assert!(store.current(|| now).is_some());
        assert!(store.current(|| Duration::from_secs(1_295)).is_none());
    }

    #[test]
    fn a_simple_token_has_no_end_that_it_knows() {
        let store = TokenStore::default();
        store.keep("abcdefghijklmnop.12", Duration::ZERO);
        assert!(store.current(|| Duration::MAX / 2).is_some());
    }

    #[test]
    fn a_late_refusal_of_an_old_token_leaves_the_new_one() {
        let store = TokenStore::default();
        let old = store.keep("old.1", Duration::ZERO);
        let _ = store.keep("new.2", Duration::ZERO);
        store.forget(&old);
        assert!(store.current(|| Duration::ZERO).is_some());
    }
}
