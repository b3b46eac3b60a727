//! Bodies that are JSON, read as Go reads them.

use axum::body::Body;
use serde::de::DeserializeOwned;

use super::read_body;

/// The longest body that is read.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Why a body is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It could not be read, or is too long.
    Unreadable,
    /// It ends in the middle.
    Cut,
    /// It is something else.
    Other(String),
}

/// Reads the first JSON value of a body; what follows it is not looked at.
///
/// # Errors
///
/// [`BodyError`].
pub(super) async fn read<T: DeserializeOwned>(body: Body) -> Result<T, BodyError> {
    let read = read_body(body, BODY_BYTES_MAX).await;
    let bytes = read.map_err(|_| BodyError::Unreadable)?;
    let mut reader = serde_json::Deserializer::from_slice(&bytes);
    T::deserialize(&mut reader).map_err(|error| {
        if error.is_eof() {
            BodyError::Cut
        } else {
            BodyError::Other(error.to_string())
        }
    })
}
