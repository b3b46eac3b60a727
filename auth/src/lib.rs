//! Users, roles and what they may do: the part of the replicated state that says no.
//!
//! [`AuthStore`] is changed by log entries alone, so every member holds the same one, stored under
//! etcd's names and bytes. It is made of persistent maps: a clone is an O(1) snapshot, which callers
//! read without a lock while the apply thread goes on. Each change but enabling makes a new
//! [`AuthRevision`], and a request that was let in under an older one is refused when it is applied.
//!
//! ```text
//!  log entry ──► AuthStore::apply ──► tables auth, authUsers, authRoles
//!                      │      └─────► TokenChange ──► SimpleTokens (each member's own, with a clock)
//!                      └─ clone ────► API: check_range, check_admin, password_of
//! ```
//!
//! What is not here: bcrypt, signatures and clocks. A password arrives as its hash, a token's time
//! as an argument, and who a request comes from is the server's to find out.

#![forbid(unsafe_code)]

mod auth_info;
mod change;
mod error;
mod key_ranges;
mod name;
mod record;
mod request;
mod rights;
mod simple_tokens;
mod store;
mod verified_passwords;

pub use auth_info::{AuthInfo, AuthRevision};
pub use error::AuthError;
pub use key_ranges::KeyRanges;
pub use name::{NAME_BYTES_MAX, Name, ROOT};
pub use request::{Applied, AuthRequest, AuthResponse, TokenChange};
pub use rights::Access;
pub use simple_tokens::{SimpleToken, SimpleTokens, TOKENS_MAX};
pub use store::{AuthChecksums, AuthStore, Password};
pub use verified_passwords::{VERIFIED_MAX, VerifiedPasswords};
