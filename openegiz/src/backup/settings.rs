//! Where backups go and with which key, from configuration, command line and environment.
//!
//! A key comes from a file or from the variable EGIZ_BACKUP_KEY, the storage's credentials from its well-known AWS_ variables;
//! neither is ever an argument of the command line, part of an address, or in the log.

use std::path::Path;

use anyhow::Context as _;
use egiz_backup::{Passphrase, Target};
use egiz_service::config::Loaded;

use super::schedule::Schedule;

/// The variable with the key itself.
const KEY_VARIABLE: &str = "EGIZ_BACKUP_KEY";

/// An address, with what the environment says of the storage.
///
/// # Errors
/// Where it is none that is known.
pub(super) fn target(given: &str) -> anyhow::Result<Target> {
    let settings = std::env::vars().filter(|(name, _)| name.starts_with("AWS_"));
    Ok(Target::parse(given, settings)?)
}

/// The key, where there is one.
///
/// # Errors
/// Where the file cannot be read, or the key is too short.
pub(super) fn passphrase(file: Option<&Path>) -> anyhow::Result<Option<Passphrase>> {
    let (name, text) = match (file, std::env::var_os(KEY_VARIABLE)) {
        (Some(path), _) => {
            let text = std::fs::read(path)
                .with_context(|| format!("the key file {} cannot be read", path.display()))?;
            (path.display().to_string(), text)
        }
        (None, Some(text)) => (KEY_VARIABLE.to_owned(), text.into_encoded_bytes()),
        (None, None) => return Ok(None),
    };
    Passphrase::new(&text).map(Some).with_context(|| format!("{name} cannot be used"))
}

/// Checks the section `backup` as a whole.
///
/// # Errors
/// Names the key at fault, its value and what is allowed.
pub(crate) fn check(loaded: &Loaded) -> anyhow::Result<()> {
    let backup = &loaded.config.backup;
    let Some(to) = &backup.to else { return Ok(()) };
    target(to)
        .map_err(|error| {
            let allowed = "a folder, file:///folder, or s3://bucket/prefix".to_owned();
            loaded.fault("backup.to", format!("{to:?}"), format!("cannot be used: {error:#}"), allowed)
        })
        .map_err(|fault| anyhow::anyhow!("{fault}"))?;
    if let Some(path) = &backup.key_file {
        passphrase(Some(path)).map_err(|error| {
            let allowed = "a file with 16 to 1024 bytes of text".to_owned();
            let shown = format!("{:?}", path.display().to_string());
            let fault = loaded.fault("backup.key_file", shown, format!("cannot be used: {error:#}"), allowed);
            anyhow::anyhow!("{fault}")
        })?;
    }
    Schedule::of(&loaded.config).map(|_| ())
}
