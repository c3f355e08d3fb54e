//! The shipped program as a child process, with a folder and ports of its own.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rand::Rng as _;
use tempfile::TempDir;

/// How to start the program.
#[derive(Debug, Clone, Default)]
pub struct ProgramOptions {
    /// Lines of configuration to add, as `section.key = value`.
    pub settings: Vec<String>,
    /// Arguments after `up`.
    pub arguments: Vec<String>,
    /// Variables of the environment.
    pub environment: Vec<(String, String)>,
    /// Bytes of a disk of its own for its data, which goes when the program does; see [`Program::disk`].
    pub disk_bytes: Option<u64>,
}

impl ProgramOptions {
    /// Adds a line of configuration.
    #[must_use]
    pub fn with(mut self, setting: impl Into<String>) -> Self {
        self.settings.push(setting.into());
        self
    }
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    child: Child,
    folder: TempDir,
    options: ProgramOptions,
    binary: PathBuf,
    /// The port of REST, WebSocket and EgizVision.
    pub http_port: u16,
    /// The port of EgizVision alone.
    pub vision_port: u16,
    /// The port of the MQTT broker.
    pub mqtt_port: u16,
}

/// Where ports are looked for, and how often.
const PORTS: std::ops::Range<u16> = 10_000..32_000;
const PORT_TRIES: usize = 1000;

/// Longest wait for the program to become ready or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

impl Program {
    /// Starts the program that cargo built beside the running test or bench.
    ///
    /// # Errors
    /// Where it is not built, or does not become ready; the error ends with what it logged.
    pub async fn start(options: ProgramOptions) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let [http_port, vision_port, mqtt_port] = free_ports()?;
        let binary = binary()?;
        let child = spawn(&binary, folder.path(), &options, [http_port, vision_port, mqtt_port])?;
        let mut program = Self { child, folder, options, binary, http_port, vision_port, mqtt_port };
        program.wait_ready().await?;
        Ok(program)
    }

    /// Its own disk, seen from outside.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        let data = self.folder.path().join("data");
        Path::new("/proc")
            .join(self.child.id().to_string())
            .join("root")
            .join(data.strip_prefix("/").unwrap_or(&data))
    }

    /// The folder with configuration, data and log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A URL of the program.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http_port)
    }

    /// The WebSocket's URL.
    #[must_use]
    pub fn web_socket_url(&self) -> String {
        format!("ws://127.0.0.1:{}/api/v1/ws", self.http_port)
    }

    /// What the program logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("program.log")).unwrap_or_default()
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the program as a power cut would: SIGKILL, no warning.
    ///
    /// # Errors
    /// Where the process cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks the program to stop (SIGTERM) and returns its exit code.
    ///
    /// # Errors
    /// Where it does not stop in time.
    pub async fn stop(&mut self) -> anyhow::Result<Option<i32>> {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        anyhow::ensure!(status.success(), "the program was not there to stop");
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            if begun.elapsed() > PATIENCE {
                bail!("the program did not stop within {PATIENCE:?}:\n{}", tail(&self.log()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sets a line of configuration from the next start on, in place of an earlier one for the same key.
    pub fn set(&mut self, setting: &str) {
        let key = |setting: &str| setting.split('=').next().unwrap_or_default().trim().to_owned();
        self.options.settings.retain(|earlier| key(earlier) != key(setting));
        self.options.settings.push(setting.to_owned());
    }

    /// Starts the program again on the same folder and ports; returns how long it took to become ready.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub async fn restart(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let ports = [self.http_port, self.vision_port, self.mqtt_port];
        self.child = spawn(&self.binary, self.folder.path(), &self.options, ports)?;
        self.wait_ready().await?;
        Ok(begun.elapsed())
    }

    /// GETs a path as JSON.
    ///
    /// # Errors
    /// Where it is not answered with 2xx and JSON.
    pub async fn get(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        let response = reqwest::get(self.url(path)).await?;
        let status = response.status();
        let text = response.text().await?;
        anyhow::ensure!(status.is_success(), "GET {path}: {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let url = self.url("/health/ready");
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the program ended with {status} before it was ready:\n{}", tail(&self.log()));
            }
            if client.get(&url).send().await.is_ok_and(|response| response.status().is_success()) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("the program was not ready within {PATIENCE:?}:\n{}", tail(&self.log()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `openegiz` beside the running executable: cargo puts tests into `deps`, programs one level up.
///
/// # Errors
/// Where it has not been built.
pub fn binary() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found =
        own.ancestors().skip(1).take(2).map(|folder| folder.join("openegiz")).find(|path| path.is_file());
    found.context(
        "the program is not built; run `cargo xtask test`, or `cargo build --package openegiz` first",
    )
}

/// Waits for clients whose program was killed. A connection that the kill refused or broke is expected; a wrong answer is
/// not.
///
/// # Errors
/// What a client has to say beside that.
pub async fn end_after_kill(clients: Vec<tokio::task::JoinHandle<anyhow::Result<()>>>) -> anyhow::Result<()> {
    for client in clients {
        match client.await? {
            Err(error) if error.downcast_ref::<std::io::Error>().is_none() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Ports nobody listens on now, given to nobody else in this process. They lie below those that the system gives to outgoing
/// connections: while a program that was killed is away, no client of another test comes to sit on its port.
///
/// # Errors
/// Where the loopback interface cannot be used.
pub fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().map_err(|_| anyhow::anyhow!("a test panicked while it chose its ports"))?;
    let mut ports = [0; N];
    for port in &mut ports {
        *port = (0..PORT_TRIES)
            .map(|_| rand::rng().random_range(PORTS))
            .find(|port| !given.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok())
            .context("the loopback interface has no free port")?;
        given.insert(*port);
    }
    Ok(ports)
}

fn spawn(binary: &Path, folder: &Path, options: &ProgramOptions, ports: [u16; 3]) -> anyhow::Result<Child> {
    let [http, vision, mqtt] = ports;
    let mut config = format!(
        "data.dir = {:?}\nhttp.listen = \"127.0.0.1:{http}\"\nhttp.vision_listen = \"127.0.0.1:{vision}\"\nmqtt.listen = \"127.0.0.1:{mqtt}\"\n",
        folder.join("data")
    );
    for setting in &options.settings {
        writeln!(config, "{setting}")?;
    }
    let config_path = folder.join("openegiz.toml");
    std::fs::write(&config_path, config)?;
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("program.log"))?;
    let mut command = match options.disk_bytes {
        None => Command::new(binary),
        Some(bytes) => {
            // In a namespace where mounting is allowed; the shell becomes the program, so that its process id is the program's.
            let data = folder.join("data");
            std::fs::create_dir_all(&data)?;
            let script = "mount -t tmpfs -o size=$1 tmpfs \"$2\" && shift 2 && exec \"$@\"";
            let mut command = Command::new("unshare");
            command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh", &bytes.to_string()]);
            command.arg(data).arg(binary);
            command
        }
    };
    command
        .arg("up")
        .arg("--config")
        .arg(&config_path)
        .args(&options.arguments)
        .envs(options.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {}", binary.display()))
}

fn tail(log: &str) -> &str {
    let start = log.len().saturating_sub(4000);
    let start = (start..log.len()).find(|index| log.is_char_boundary(*index)).unwrap_or(log.len());
    &log[start..]
}
