//! The same over the S3 protocol, with a real server of another make: moto, which keeps objects, takes parts and lists as S3
//! does. It does not check signatures; everything else that backups use it does.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::ProgramOptions;
use e2e::python::python;

use super::{KEY, Plant};

struct Storage {
    child: Child,
    port: u16,
}

impl Drop for Storage {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Storage {
    /// Starts the server and makes a bucket.
    async fn start() -> anyhow::Result<Self> {
        let [port] = e2e::program::free_ports()?;
        let child = python()
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("python3 is needed")?;
        let mut storage = Self { child, port };
        let http = reqwest::Client::new();
        let begun = Instant::now();
        loop {
            if let Some(status) = storage.child.try_wait()? {
                anyhow::bail!("`cargo xtask test` installs what is missing here: moto ended with {status}");
            }
            let made = http.put(storage.url("/plant")).header("content-length", "0").send().await;
            if made.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(storage);
            }
            anyhow::ensure!(begun.elapsed() < Duration::from_secs(60), "moto does not answer");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plant_comes_back_from_s3_compatible_storage() -> anyhow::Result<()> {
    let storage = Storage::start().await?;
    let environment = [
        ("AWS_ACCESS_KEY_ID", "plant"),
        ("AWS_SECRET_ACCESS_KEY", "secret-of-the-storage"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ENDPOINT", &storage.url("")),
        ("AWS_ALLOW_HTTP", "true"),
        ("EGIZ_BACKUP_KEY", KEY),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let options = ProgramOptions { environment, ..ProgramOptions::default() };
    let to = "s3://plant/backups/north";
    let mut plant = Plant::start(options, Some(to)).await?;
    plant.furnish().await?;
    let models = plant.data().join("models/oven");
    std::fs::create_dir_all(&models)?;
    // Larger than what is sent in one request, so that it goes in parts.
    let model: Vec<u8> = (0..20_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(models.join("weights"), &model)?;
    plant.load().await?;
    let before = plant.acknowledged();
    plant.run(&["backup"])?;
    plant.run(&["backup"])?;
    let verified = plant.run(&["backups", "verify"])?;
    assert!(verified.contains("2 backups are whole"), "{verified}");
    let log = plant.program.log();
    assert!(!log.contains(KEY) && !log.contains("secret-of-the-storage"), "{log}");
    plant.kill().await?;

    plant.restore(&["--from", to])?;
    plant.program.restart().await?;
    plant.check(&before).await?;
    assert!(std::fs::read(models.join("weights"))? == model, "the model came back");
    plant.program.kill()?;
    let pruned = plant.run(&["backups", "prune", "--keep-daily", "1"])?;
    assert!(pruned.starts_with("1 backups"), "{pruned}");
    plant.run(&["backups", "verify"])?;
    Ok(())
}
