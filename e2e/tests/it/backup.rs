//! A plant is backed up while it works, its machine is lost, and it comes back: every message that was acknowledged before the
//! backup was asked for is there exactly once.

mod past;
mod s3;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::{Program, ProgramOptions, end_after_kill};
use rand::Rng as _;
use serde_json::{Value, json};

use crate::history::{Ledger, device, now_ms, numbers_of};

const DEVICES: usize = 4;
const STEP_MS: u64 = 20_000;
const DAY_MS: u64 = 86_400_000;
const KEY: &str = "the key of a plant in a test";

/// A plant with a place for backups, under load.
pub(crate) struct Plant {
    pub(crate) program: Program,
    pub(crate) ledger: Ledger,
    begin_ms: u64,
    devices: Vec<String>,
    load: Vec<tokio::task::JoinHandle<anyhow::Result<()>>>,
    environment: Vec<(String, String)>,
    place: tempfile::TempDir,
}

impl Plant {
    pub(crate) async fn start(options: ProgramOptions, to: Option<&str>) -> anyhow::Result<Self> {
        let place = tempfile::tempdir()?;
        let folder = place.path().join("backups").display().to_string();
        let environment = options.environment.clone();
        let options = options
            .with(format!("backup.to = {:?}", to.unwrap_or(&folder)))
            .with("backup.daily_at = \"\"")
            .with("twin.snapshot_every_records = 1000")
            .with("history.seal_bytes = 1048576")
            .with("journal.segment_bytes = 1048576");
        let program = Program::start(options).await?;
        let devices: Vec<String> = (0..DEVICES).map(|index| format!("dev-{index}")).collect();
        let begin_ms = now_ms()? - 20 * DAY_MS;
        let ledger = Ledger::default();
        Ok(Self { program, ledger, begin_ms, devices, load: Vec::new(), environment, place })
    }

    /// Where its backups are.
    pub(crate) fn backups(&self) -> PathBuf {
        self.place.path().join("backups")
    }

    /// Enters what only the registry has, and the Things.
    async fn furnish(&self) -> anyhow::Result<()> {
        let http = reqwest::Client::new();
        for name in &self.devices {
            let url = self.program.url(&format!("/api/v1/things/factory:{name}"));
            let thing = json!({"attributes": {"line": name, "year": 2019}});
            let created = http.put(url).json(&thing).send().await?;
            anyhow::ensure!(created.status() == 201, "{}", created.text().await?);
        }
        for (path, body) in [
            ("devices", json!({"deviceId": "press-1"})),
            ("tokens", json!({"name": "grafana", "role": "viewer"})),
        ] {
            let url = self.program.url(&format!("/api/v1/{path}"));
            let created = http.post(url).json(&body).send().await?;
            anyhow::ensure!(created.status() == 201, "{}", created.text().await?);
        }
        Ok(())
    }

    /// Begins to publish, and waits until each device got some acknowledgements.
    async fn load(&mut self) -> anyhow::Result<()> {
        for name in &self.devices {
            let times = (self.begin_ms, STEP_MS);
            let ledger = self.ledger.clone();
            self.load.push(tokio::spawn(device(self.program.mqtt_port, name.clone(), times, ledger)));
        }
        let begun = Instant::now();
        while self.devices.iter().any(|name| self.ledger.acknowledged(name) < 300) {
            anyhow::ensure!(begun.elapsed() < Duration::from_secs(60), "the load does not get on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Kills the program and ends what published to it.
    async fn kill(&mut self) -> anyhow::Result<()> {
        self.program.kill()?;
        end_after_kill(std::mem::take(&mut self.load)).await
    }

    fn acknowledged(&self) -> Vec<u64> {
        self.devices.iter().map(|name| self.ledger.acknowledged(name)).collect()
    }

    /// Runs a command of the program; what it said, where it succeeded.
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.try_run(arguments)?;
        anyhow::ensure!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command of the program that is to fail; what it said.
    pub(crate) fn fail(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.try_run(arguments)?;
        anyhow::ensure!(!output.status.success(), "{arguments:?} succeeded");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn try_run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(e2e::program::binary()?);
        command.args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        if !matches!(arguments.first(), Some(&"restore")) {
            command.arg("--config").arg(self.program.folder().join("openegiz.toml"));
        }
        Ok(command.output()?)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.program.folder().join("data")
    }

    /// Wipes the data folder and brings a backup back.
    pub(crate) fn restore(&self, arguments: &[&str]) -> anyhow::Result<String> {
        std::fs::remove_dir_all(self.data())?;
        let data = self.data().display().to_string();
        self.run(&[&["restore", "--data", &data], arguments].concat())
    }

    /// Checks each device: its numbers are in history once each, from the first to one that is at least `least` and was sent,
    /// and its live state is that one.
    async fn check(&self, least: &[u64]) -> anyhow::Result<Vec<u64>> {
        let mut last = Vec::new();
        for (name, least) in self.devices.iter().zip(least) {
            let found = numbers_of(&self.program, name, self.begin_ms).await?;
            let expected: Vec<u64> = (1..=found.len() as u64).collect();
            anyhow::ensure!(found == expected, "{name}: {found:?}");
            let count = found.len() as u64;
            anyhow::ensure!(
                (*least..=self.ledger.sent(name)).contains(&count),
                "{name}: {count} of at least {least}"
            );
            let thing = self.program.get(&format!("/api/v1/things/factory:{name}")).await?;
            anyhow::ensure!(thing["features"]["counter"]["properties"]["number"] == json!(count), "{thing}");
            last.push(count);
        }
        Ok(last)
    }
}

/// The registry without what a start writes.
async fn registry(program: &Program) -> anyhow::Result<Value> {
    let mut export: Value = program.get("/api/v1/registry/export").await?;
    if let Some(export) = export.as_object_mut() {
        export.retain(|key, _| ["things", "devices", "templates"].contains(&key.as_str()));
    }
    for thing in export["things"].as_array_mut().into_iter().flatten() {
        // What devices say goes on; definition and attributes are the registry's.
        let kept = ["thingId", "attributes", "definition"];
        if let Some(thing) = thing.as_object_mut() {
            thing.retain(|key, _| kept.contains(&key.as_str()));
        }
    }
    Ok(export)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plant_comes_back_with_everything_acknowledged_before_the_backup() -> anyhow::Result<()> {
    let mut plant = Plant::start(ProgramOptions::default(), None).await?;
    plant.furnish().await?;
    plant.load().await?;
    let before = plant.acknowledged();
    let made = plant.run(&["backup"])?;
    assert!(made.contains("by the running program"), "{made}");
    let registry_before = registry(&plant.program).await?;
    let list = plant.program.get("/api/v1/backups").await?;
    assert_eq!(list["items"][0]["state"], "complete", "{list}");
    tokio::time::sleep(Duration::from_millis(200)).await;
    plant.kill().await?;

    let from = plant.backups().display().to_string();
    let begun = Instant::now();
    let told = plant.restore(&["--from", &from])?;
    assert!(told.contains("each checked") && told.contains("ends before record"), "{told}");
    plant.program.restart().await?;
    println!("restored and ready after {:?}", begun.elapsed());
    let last = plant.check(&before).await?;
    assert_eq!(registry(&plant.program).await?, registry_before);
    let device = plant.program.get("/api/v1/devices/factory:press-1").await?;
    assert_eq!(device["deviceId"], "factory:press-1");
    let tokens = plant.program.get("/api/v1/tokens").await?;
    assert_eq!(tokens["items"][0]["name"], "grafana");
    assert!(!plant.data().join("backup-staging").exists());

    // It goes on from there, and what comes is kept.
    let url = plant.program.url("/api/v1/things/factory:dev-0/features/counter/properties/number");
    let written = reqwest::Client::new().put(url).json(&json!(last[0] + 1)).send().await?;
    anyhow::ensure!(written.status().is_success(), "{}", written.text().await?);
    plant.program.kill()?;
    plant.program.restart().await?;
    let found = numbers_of(&plant.program, "dev-0", plant.begin_ms).await?;
    assert_eq!(found.last(), Some(&(last[0] + 1)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_plant_is_backed_up_by_the_command_and_only_what_is_new_is_sent() -> anyhow::Result<()> {
    let key = vec![("EGIZ_BACKUP_KEY".to_owned(), KEY.to_owned())];
    let options = ProgramOptions { environment: key, ..ProgramOptions::default() };
    let mut plant = Plant::start(options, None).await?;
    plant.furnish().await?;
    plant.load().await?;
    plant.kill().await?;
    let before = plant.acknowledged();
    let first = plant.run(&["backup"])?;
    let second = plant.run(&["backup"])?;
    assert!(first.contains("were sent") && second.contains("were sent"), "{first}{second}");
    let sent = second.split("of which ").nth(1).unwrap_or_default();
    let number: f64 = sent.split(' ').next().unwrap_or_default().parse()?;
    let is_small = sent.contains(" B were") || (sent.contains(" kB were") && number < 10.0);
    assert!(is_small, "only the manifest: {second}");
    for (name, bytes) in files(&plant.backups())? {
        let shows = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!shows("dev-0") && !shows("press-1") && !shows(KEY), "{}", name.display());
    }
    let list = plant.run(&["backups", "list"])?;
    assert_eq!(list.lines().count(), 3, "{list}");
    let verified = plant.run(&["backups", "verify"])?;
    assert!(verified.contains("2 backups are whole"), "{verified}");
    let pruned = plant.run(&["backups", "prune", "--keep-daily", "1"])?;
    assert!(pruned.starts_with("1 backups"), "{pruned}");

    let from = plant.backups().display().to_string();
    let refused = plant.fail(&["restore", "--from", &from, "--data", &plant.data().display().to_string()])?;
    assert!(refused.contains("is not empty") && refused.contains("allowed"), "{refused}");
    plant.restore(&["--from", &from])?;
    plant.program.restart().await?;
    plant.check(&before).await?;
    // A running program says where its backups go; no request changes that.
    let refused = plant.fail(&["backup", "--to", "/tmp/elsewhere"])?;
    assert!(refused.contains("backup.to"), "{refused}");
    Ok(())
}

/// Every file below a folder.
fn files(folder: &Path) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            let bytes = std::fs::read(&path)?;
            found.push((path, bytes));
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_a_backup_is_made_there_is_no_half_one() -> anyhow::Result<()> {
    let mut plant = Plant::start(ProgramOptions::default(), None).await?;
    plant.furnish().await?;
    let http = reqwest::Client::new();
    for _ in 0..e2e::rounds(8)? {
        plant.load().await?;
        let asked = http.post(plant.program.url("/api/v1/backups")).send().await?;
        anyhow::ensure!(asked.status() == 202, "{}", asked.text().await?);
        let moment = rand::rng().random_range(0..150);
        tokio::time::sleep(Duration::from_millis(moment)).await;
        plant.kill().await?;
        if plant.backups().join("repository.json").is_file() {
            plant.run(&["backups", "verify"]).with_context(|| format!("killed after {moment} ms"))?;
        }
        plant.program.restart().await?;
        anyhow::ensure!(!plant.data().join("backup-staging").exists(), "what was staged is still there");
    }
    let before = plant.acknowledged();
    plant.run(&["backup"])?;
    plant.run(&["backups", "verify"])?;
    plant.program.kill()?;
    let from = plant.backups().display().to_string();
    plant.restore(&["--from", &from])?;
    plant.program.restart().await?;
    for (name, least) in plant.devices.iter().zip(before) {
        let found = numbers_of(&plant.program, name, plant.begin_ms).await?;
        anyhow::ensure!(found.windows(2).all(|pair| pair[0] < pair[1]), "{name}: twice in history");
        anyhow::ensure!(found.last().is_some_and(|last| *last >= least), "{name}: {least} is missing");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_backup_is_refused_by_name_and_the_folder_stays_away() -> anyhow::Result<()> {
    let mut plant = Plant::start(ProgramOptions::default(), None).await?;
    plant.furnish().await?;
    plant.load().await?;
    plant.run(&["backup"])?;
    plant.kill().await?;
    std::fs::remove_dir_all(plant.data())?;
    let blobs = files(&plant.backups().join("blobs"))?;
    let (path, whole) = blobs.iter().max_by_key(|(_, bytes)| bytes.len()).context("there are blobs")?;
    let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let (from, data) = (plant.backups().display().to_string(), plant.data().display().to_string());
    for damaged in [flipped, whole[..whole.len() - 1].to_vec()] {
        std::fs::write(path, damaged)?;
        let refused = plant.fail(&["restore", "--from", &from, "--data", &data])?;
        assert!(refused.contains(&name), "{refused}");
        assert!(!plant.data().exists() && !plant.data().with_file_name("data.restoring").exists());
        let refused = plant.fail(&["backups", "verify"])?;
        assert!(refused.contains(&name), "{refused}");
    }
    std::fs::write(path, whole)?;
    plant.run(&["restore", "--from", &from, "--data", &data])?;
    Ok(())
}

#[tokio::test]
async fn a_backup_is_made_on_schedule_and_health_and_metrics_say_so() -> anyhow::Result<()> {
    let place = tempfile::tempdir()?;
    let folder = place.path().join("backups");
    let options = ProgramOptions::default()
        .with(format!("backup.to = {:?}", folder.display().to_string()))
        .with("backup.every_hours = 1");
    let mut program = Program::start(options).await?;
    let begun = Instant::now();
    while program.get("/api/v1/backups").await?["items"][0]["state"] != "complete" {
        anyhow::ensure!(
            begun.elapsed() < Duration::from_secs(30),
            "the first one is due at once: {}",
            program.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    crate::disk::wait_for_part(&program, "backup", |status| status == "up").await?;
    let metrics = reqwest::get(program.url("/metrics")).await?.text().await?;
    assert!(metrics.contains("egiz_backup_completed_total 1"), "{metrics}");
    // A storage that cannot be used is no reason not to run, and is said.
    program.stop().await?;
    std::fs::remove_dir_all(&folder)?;
    std::fs::write(&folder, "a file in its place")?;
    program.restart().await?;
    crate::disk::wait_for_part(&program, "backup", |status| status == "degraded").await
}
