//! The web client: installs its packages and runs its scripts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, bail};

use crate::process::{command, output, root, run};
use crate::tools::locate;

fn folder() -> PathBuf {
    root().join("egizvision")
}

/// `npm` in the web client's folder.
///
/// # Errors
/// Where Node is missing or too old.
pub(crate) fn npm() -> anyhow::Result<Command> {
    const NODE_MAJOR_MIN: u32 = 20;
    let version = output(command("node").arg("--version"));
    let major: Option<u32> =
        version.as_deref().and_then(|text| text.trim_start_matches('v').split('.').next()?.parse().ok());
    match major {
        Some(major) if major < NODE_MAJOR_MIN => {
            bail!(
                "Node {NODE_MAJOR_MIN} or later is needed for the web client; this is {}",
                version.unwrap_or_default()
            )
        }
        Some(_) if locate("npm").is_some() => {}
        _ => bail!("Node {NODE_MAJOR_MIN} or later with npm is needed for the web client and was not found"),
    }
    let mut npm = command("npm");
    npm.current_dir(folder()).env("npm_config_update_notifier", "false").env("npm_config_fund", "false");
    Ok(npm)
}

/// Installs the packages that the lock file names, unless that was done for this lock file.
///
/// # Errors
/// Where npm fails.
pub(crate) fn install() -> anyhow::Result<()> {
    let lock =
        std::fs::read(folder().join("package-lock.json")).context("the web client has no lock file")?;
    let installed_for = folder().join("node_modules/.installed-for-lock");
    if std::fs::read(&installed_for).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    run(npm()?.args(["ci", "--no-audit", "--loglevel=error"]))?;
    std::fs::write(installed_for, lock)?;
    Ok(())
}

/// Builds the web client into `egizvision/dist`, unless nothing changed since the last time.
///
/// # Errors
/// Where npm fails.
pub(crate) fn build() -> anyhow::Result<()> {
    install()?;
    let built = folder().join("dist/index.html");
    let sources = ["src", "public", "index.html", "package-lock.json", "vite.config.ts"];
    let newest = sources.iter().filter_map(|source| newest_change(&folder().join(source))).max();
    if let (Ok(built), Some(newest)) = (built.metadata().and_then(|meta| meta.modified()), newest)
        && built > newest
    {
        return Ok(());
    }
    run(npm()?.args(["run", "--silent", "build"]))
}

/// When anything below `path` last changed.
fn newest_change(path: &Path) -> Option<SystemTime> {
    let meta = path.metadata().ok()?;
    if !meta.is_dir() {
        return meta.modified().ok();
    }
    let entries = path.read_dir().ok()?;
    entries.filter_map(|entry| newest_change(&entry.ok()?.path())).max()
}
