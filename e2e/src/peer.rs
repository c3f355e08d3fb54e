//! A server of another make as a child process: started, killed, stopped, never left behind.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Longest wait for one to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server's process, if it runs. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Peer {
    name: &'static str,
    child: Option<Child>,
}

impl Peer {
    /// One that is not started.
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, child: None }
    }

    /// Starts it; what it says is added to a file.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub(crate) fn start(&mut self, command: &mut Command, log: &Path) -> anyhow::Result<()> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        self.child = Some(child.with_context(|| format!("{} cannot be started", self.name))?);
        Ok(())
    }

    /// The operating system's number for the process; 0 while it is stopped.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Ends it as a power cut would.
    ///
    /// # Errors
    /// Where the process cannot be waited for.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Asks it to stop, which is when it writes what it holds, and waits.
    ///
    /// # Errors
    /// Where it does not stop.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
        anyhow::ensure!(status.success(), "{} was not there to stop", self.name);
        let begun = Instant::now();
        while child.try_wait()?.is_none() {
            anyhow::ensure!(begun.elapsed() < PATIENCE, "{} does not stop", self.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}

/// Where a server's program is.
///
/// # Errors
/// Where it is not.
pub(crate) fn installed(program: &str) -> anyhow::Result<PathBuf> {
    let folders = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];
    let found = folders.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.is_file());
    found.with_context(|| format!("{program} is not installed; `cargo xtask test` sees to it"))
}
