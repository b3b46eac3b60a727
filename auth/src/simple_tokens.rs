//! Simple tokens: random letters that a member remembers.
//!
//! A token is assigned through the log, so every member knows it; how long it lasts is each member's
//! own affair, by its own clock. What is not here: where the letters come from.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::request::TokenChange;

/// Tokens that a member remembers. With more, those that end soonest are forgotten.
pub const TOKENS_MAX: usize = 1 << 18;
/// Of too many tokens, one in so many is forgotten at a time.
const FORGOTTEN_SHARE: usize = 8;
/// Tokens are looked through for ended ones only when there are so many.
const SWEPT_MIN: usize = 1024;

/// A simple token: letters, a dot, and the index of the log entry that assigned it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SimpleToken(Arc<str>);

impl SimpleToken {
    /// The token that an entry at `index` assigns.
    #[must_use]
    pub fn new(letters: &str, index: u64) -> Self {
        Self(format!("{letters}.{index}").into())
    }

    /// As it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The index of the entry that would have assigned a token; none if the text is no simple token.
    #[must_use]
    pub fn index_of(token: &str) -> Option<u64> {
        let (_, index) = token.split_once('.')?;
        let digits = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| index.parse().ok()).flatten()
    }
}

/// A token is as good as a password: it is not shown.
impl fmt::Debug for SimpleToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimpleToken")
    }
}

/// The tokens that a member accepts. Times are since any moment, the same for all calls.
#[derive(Debug)]
pub struct SimpleTokens {
    ttl: Duration,
    tokens: HashMap<Arc<str>, Entry>,
    /// The number of tokens at which ended ones are looked for next.
    sweep_at: usize,
    tokens_max: usize,
}

#[derive(Debug)]
struct Entry {
    username: Arc<str>,
    /// When it ends, in milliseconds. Each use puts that off, under a shared reference.
    ends_ms: AtomicU64,
}

impl SimpleTokens {
    /// No tokens; each will last for `ttl` after its last use.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self::with_capacity(ttl, TOKENS_MAX)
    }

    fn with_capacity(ttl: Duration, tokens_max: usize) -> Self {
        Self {
            ttl,
            tokens: HashMap::new(),
            sweep_at: SWEPT_MIN,
            tokens_max,
        }
    }

    /// The user of a token, which this use prolongs; none if it is unknown or has ended.
    #[must_use]
    pub fn resolve(&self, token: &str, now: Duration) -> Option<Arc<str>> {
        let entry = self.tokens.get(token)?;
        if entry.ends_ms.load(Ordering::Relaxed) <= millis(now) {
            return None;
        }
        entry.ends_ms.store(self.end(now), Ordering::Relaxed);
        Some(Arc::clone(&entry.username))
    }

    /// Does what an applied entry says.
    pub fn change(&mut self, change: TokenChange, now: Duration) {
        match change {
            TokenChange::Assign { token, username } => {
                self.make_room(now);
                let ends_ms = AtomicU64::new(self.end(now));
                self.tokens.insert(token.0, Entry { username, ends_ms });
            }
            TokenChange::ForgetUser(user) => {
                self.tokens.retain(|_, entry| entry.username != user);
            }
            TokenChange::ForgetAll => self.tokens.clear(),
        }
    }

    /// How many tokens are remembered, ended ones among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether no token is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    fn end(&self, now: Duration) -> u64 {
        millis(now.saturating_add(self.ttl))
    }

    /// Looks through the tokens once they have doubled, which costs each assignment little.
    fn make_room(&mut self, now: Duration) {
        if self.tokens.len() < self.sweep_at {
            return;
        }
        let now = millis(now);
        self.tokens
            .retain(|_, entry| *entry.ends_ms.get_mut() > now);
        if self.tokens.len() >= self.tokens_max {
            let ends = |entry: &Entry| entry.ends_ms.load(Ordering::Relaxed);
            let mut all: Vec<u64> = self.tokens.values().map(ends).collect();
            let share = self.tokens_max.div_ceil(FORGOTTEN_SHARE).min(all.len());
            let (older, last, _) = all.select_nth_unstable(share.saturating_sub(1));
            let last = *last;
            // Of those that end in the same moment, as many as the share still takes.
            let mut left = share - older.iter().filter(|ends| **ends < last).count();
            self.tokens.retain(|_, entry| {
                let ends = *entry.ends_ms.get_mut();
                let is_last = ends == last && left > 0;
                left -= usize::from(is_last);
                ends > last || (ends == last && !is_last)
            });
        }
        let doubled = self.tokens.len().saturating_mul(2);
        self.sweep_at = doubled.clamp(SWEPT_MIN.min(self.tokens_max), self.tokens_max);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(300);

    fn assign(tokens: &mut SimpleTokens, letters: &str, index: u64, user: &str, now: Duration) {
        let token = SimpleToken::new(letters, index);
        let username = user.into();
        tokens.change(TokenChange::Assign { token, username }, now);
    }

    fn user(tokens: &SimpleTokens, token: &str, secs: u64) -> Option<String> {
        let user = tokens.resolve(token, Duration::from_secs(secs));
        user.map(|user| user.to_string())
    }

    #[test]
    fn a_token_ends_its_time_after_its_last_use() {
        let mut tokens = SimpleTokens::new(TTL);
        assign(&mut tokens, "abc", 7, "u", Duration::ZERO);
        assert_eq!(user(&tokens, "abc.7", 299), Some("u".to_owned()));
        assert_eq!(user(&tokens, "abc.7", 598), Some("u".to_owned()));
        assert_eq!(user(&tokens, "abc.7", 898), None);
        assert_eq!(user(&tokens, "abc.8", 1), None);
    }

    #[test]
    fn a_users_tokens_end_with_its_password_and_nobody_elses() {
        let mut tokens = SimpleTokens::new(TTL);
        for (letters, name) in [("a", "u"), ("b", "u"), ("c", "v")] {
            assign(&mut tokens, letters, 1, name, Duration::ZERO);
        }
        tokens.change(TokenChange::ForgetUser("u".into()), Duration::ZERO);
        assert_eq!(user(&tokens, "a.1", 1), None);
        assert_eq!(user(&tokens, "b.1", 1), None);
        assert_eq!(user(&tokens, "c.1", 1), Some("v".to_owned()));
        tokens.change(TokenChange::ForgetAll, Duration::ZERO);
        assert!(tokens.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
        let mut tokens = SimpleTokens::with_capacity(TTL, 64);
        tokens.sweep_at = 64;
        for index in 0..1000 {
            assign(&mut tokens, "t", index, "u", Duration::from_millis(index));
            assert!(tokens.len() <= 64, "{index}");
        }
        assert_eq!(user(&tokens, "t.999", 1), Some("u".to_owned()));
        assert_eq!(user(&tokens, "t.0", 1), None);
        // Also when all end in the same moment.
        for index in 1000..2000 {
            assign(&mut tokens, "t", index, "u", Duration::from_secs(1));
            assert!(tokens.len() <= 64, "{index}");
        }
        // And what has ended makes room by itself.
        assign(&mut tokens, "t", 3000, "u", Duration::from_secs(1000));
        while tokens.len() > 1 && tokens.len() < 64 {
            let index = 4000 + u64::try_from(tokens.len()).unwrap();
            assign(&mut tokens, "t", index, "u", Duration::from_secs(1000));
        }
        assert!(tokens.len() <= 64);
    }

    #[test]
    fn the_index_of_a_token_is_after_its_only_dot() {
        assert_eq!(SimpleToken::index_of("abc.12"), Some(12));
        for none in ["", "abc", "abc.", "a.b.1", "abc.x", "abc.+1", "abc.-1"] {
            assert_eq!(SimpleToken::index_of(none), None, "{none}");
        }
        assert_eq!(SimpleToken::index_of("a.99999999999999999999"), None);
        let token = SimpleToken::new("abc", 12);
        assert_eq!(token.as_str(), "abc.12");
        assert!(!format!("{token:?}").contains("abc"));
    }
}
