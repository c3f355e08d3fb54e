//! A real InfluxDB 1.6 and a real VictoriaMetrics as child processes, each with a folder and a port of its own.
//!
//! Both come from Debian; `cargo xtask test` installs them.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::peer::{Peer, installed};
use crate::program::free_ports;

/// Longest wait for a server to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that takes InfluxDB's lines. Dropping it kills it.
#[derive(Debug)]
pub struct LineServer {
    peer: Peer,
    folder: TempDir,
    kind: Kind,
    /// Its port on loopback.
    pub port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Influxdb { auth: bool, rpc_port: u16 },
    VictoriaMetrics,
}

impl LineServer {
    /// Starts an InfluxDB that lets everybody in.
    ///
    /// # Errors
    /// Where it is not installed or does not answer.
    pub async fn influxdb() -> anyhow::Result<Self> {
        Self::start_influxdb(false).await
    }

    /// Starts an InfluxDB that asks for a user; the first may be made without.
    ///
    /// # Errors
    /// As for [`Self::influxdb`].
    pub async fn influxdb_with_users() -> anyhow::Result<Self> {
        Self::start_influxdb(true).await
    }

    async fn start_influxdb(auth: bool) -> anyhow::Result<Self> {
        let [port, rpc_port] = free_ports()?;
        Self::start(Kind::Influxdb { auth, rpc_port }, port).await
    }

    /// Starts a VictoriaMetrics.
    ///
    /// # Errors
    /// Where it is not installed or does not answer.
    pub async fn victoria_metrics() -> anyhow::Result<Self> {
        let [port] = free_ports()?;
        Self::start(Kind::VictoriaMetrics, port).await
    }

    async fn start(kind: Kind, port: u16) -> anyhow::Result<Self> {
        let mut server = Self { peer: Peer::new("the server"), folder: tempfile::tempdir()?, kind, port };
        server.restart().await?;
        Ok(server)
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The operating system's number for the process; 0 while it is stopped.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.peer.id()
    }

    /// A URL of it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Starts it again on the same folder and port, and waits until it answers.
    ///
    /// # Errors
    /// As for [`Self::influxdb`].
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        let path = self.folder.path().join("server.log");
        let mut command = match self.kind {
            Kind::Influxdb { auth, rpc_port } => {
                let config = self.folder.path().join("influxdb.conf");
                std::fs::write(&config, self.influxdb_config(auth, rpc_port))?;
                let mut command = Command::new(installed("influxd")?);
                command.arg("-config").arg(config).env("HOME", self.folder.path());
                command
            }
            Kind::VictoriaMetrics => {
                let mut command = Command::new(installed("victoria-metrics")?);
                command
                    .arg(format!("-httpListenAddr=127.0.0.1:{}", self.port))
                    .arg(format!("-storageDataPath={}", self.folder.path().join("data").display()))
                    .args(["-retentionPeriod=100y", "-memory.allowedBytes=256MB"]);
                command
            }
        };
        self.peer.start(&mut command, &path)?;
        let url = match self.kind {
            Kind::Influxdb { .. } => self.url("/ping"),
            Kind::VictoriaMetrics => self.url("/health"),
        };
        let begun = Instant::now();
        while !reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success()) {
            let log = || std::fs::read_to_string(&path).unwrap_or_default();
            anyhow::ensure!(begun.elapsed() < PATIENCE, "the server does not answer:\n{}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn influxdb_config(&self, auth: bool, rpc_port: u16) -> String {
        let folder = self.folder.path().display();
        format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{rpc_port}\"\n\
             [meta]\ndir = \"{folder}/meta\"\n\
             [data]\ndir = \"{folder}/data\"\nwal-dir = \"{folder}/wal\"\nquery-log-enabled = false\n\
             cache-snapshot-write-cold-duration = \"10s\"\ncompact-full-write-cold-duration = \"20s\"\n\
             [http]\nbind-address = \"127.0.0.1:{}\"\nauth-enabled = {auth}\nlog-enabled = false\n\
             [monitor]\nstore-enabled = false\n",
            self.port
        )
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

    /// Asks an InfluxDB in InfluxQL; the first result.
    ///
    /// # Errors
    /// Where it does not answer, or with an error.
    pub async fn query(&self, database: &str, statement: &str) -> anyhow::Result<Value> {
        query(&self.url(""), database, statement).await
    }
}

/// Asks in InfluxQL, an InfluxDB or the program: the series of the first result, `null` where there are none; times in
/// microseconds.
///
/// # Errors
/// Where it is not answered, or with an error.
pub async fn query(base: &str, database: &str, statement: &str) -> anyhow::Result<Value> {
    let parameters = [("db", database), ("epoch", "u"), ("q", statement)];
    let answer = reqwest::Client::new().post(format!("{base}/query")).query(&parameters).send().await?;
    let (status, text) = (answer.status(), answer.text().await?);
    anyhow::ensure!(status.is_success(), "{statement}: {status}: {text}");
    let answer: Value = serde_json::from_str(&text)?;
    anyhow::ensure!(!text.contains("\"error\""), "{statement}: {text}");
    Ok(answer["results"][0]["series"].clone())
}
