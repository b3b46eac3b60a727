//! What is asked of the continuous backup.

use std::path::PathBuf;
use std::time::Duration;

use super::assembly::span;
use super::error::SettingsError;
use super::flag_table::GivenFlags;

/// Memory that a backup needs at least: some of the largest requests.
const BUFFER_BYTES_MIN: u64 = 16 << 20;

/// A continuous backup.
#[derive(Clone, Debug)]
pub(crate) struct BackupSettings {
    /// Where it goes.
    pub url: String,
    /// Where a store that speaks S3 is, if it is not Amazon's.
    pub endpoint: Option<String>,
    /// The longest time that entries wait.
    pub interval: Duration,
    /// Time between two whole databases.
    pub base_interval: Duration,
    /// How far back it goes; none: to its beginning.
    pub retention: Option<Duration>,
    /// The file with the key that it is encrypted with.
    pub key_file: Option<PathBuf>,
    /// Memory for what waits.
    pub buffer_bytes: usize,
}

/// None if no backup is asked for.
pub(super) fn backup_settings(given: &GivenFlags) -> Result<Option<BackupSettings>, SettingsError> {
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let interval = span("backup-interval", given.backup_interval)?;
    let base_interval = span("backup-base-interval", given.backup_base_interval)?;
    let retention = span("backup-retention", given.backup_retention)?;
    let Some(url) = text(&given.backup_url) else {
        return Ok(None);
    };
    if interval.is_zero() || base_interval.is_zero() {
        return Err(SettingsError::unfit(
            "--backup-interval and --backup-base-interval must not be 0",
        ));
    }
    if given.backup_buffer_bytes < BUFFER_BYTES_MIN {
        return Err(SettingsError::unfit(format!(
            "--backup-buffer-bytes must be at least {BUFFER_BYTES_MIN}"
        )));
    }
    Ok(Some(BackupSettings {
        url,
        endpoint: text(&given.backup_endpoint),
        interval,
        base_interval,
        retention: Some(retention).filter(|time| !time.is_zero()),
        key_file: text(&given.backup_key_file).map(PathBuf::from),
        buffer_bytes: usize::try_from(given.backup_buffer_bytes).unwrap_or(usize::MAX),
    }))
}
