//! A real Mosquitto as a child process, with a folder and a port of its own.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::peer::{Peer, installed};
use crate::program::free_ports;

/// A running Mosquitto. Dropping it kills it.
#[derive(Debug)]
pub struct Mosquitto {
    peer: Peer,
    folder: TempDir,
    /// Its port on loopback.
    pub port: u16,
}

/// Longest wait for it to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// As many messages under way and waiting as there are, all kept when it is stopped, and nobody asked for a name.
const OPEN: &str = "allow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\npersistence true\n";

impl Mosquitto {
    /// Starts one that lets everybody do everything.
    ///
    /// # Errors
    /// Where it is not installed or does not listen.
    pub async fn start() -> anyhow::Result<Self> {
        Self::with_settings(|_| OPEN.to_owned()).await
    }

    /// Starts one with these settings; they are given its folder and must not name a listener. It logs everything, if they
    /// do not say otherwise.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub async fn with_settings(settings: impl FnOnce(&Path) -> String) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let [port] = free_ports()?;
        let (path, location) = (folder.path().join("mosquitto.conf"), folder.path().display());
        let settings = settings(folder.path());
        let log = if settings.contains("log_type") { "" } else { "log_type all\n" };
        let text = format!(
            "user root\nlistener {port} 127.0.0.1\npersistence_location {location}/\n{log}{settings}"
        );
        std::fs::write(path, text)?;
        let mut mosquitto = Self { peer: Peer::new("Mosquitto"), folder, port };
        mosquitto.restart().await?;
        Ok(mosquitto)
    }

    /// The operating system's number for the process; 0 while it is stopped.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.peer.id()
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("mosquitto.log")).unwrap_or_default()
    }

    /// Starts it again on the same folder and port, and waits until it listens.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        let mut command = Command::new(installed("mosquitto")?);
        command.arg("-c").arg(self.folder.path().join("mosquitto.conf"));
        self.peer.start(&mut command, &self.folder.path().join("mosquitto.log"))?;
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            anyhow::ensure!(begun.elapsed() < PATIENCE, "Mosquitto does not listen:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Ends it as a power cut would.
    ///
    /// # Errors
    /// Where the process cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.peer.kill()
    }

    /// Asks it to stop, which is when it writes what it holds, and waits.
    ///
    /// # Errors
    /// Where it does not stop.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.peer.stop().await
    }
}
