//! The broker dies under a thousand devices: all come back, and what they were promised holds.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::careful::{Careful, Will};
use e2e::crowd::allow_files;
use e2e::{Program, ProgramOptions};
use rand::Rng as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const DEVICES: usize = 1_000;
/// Devices that the power cut took as well.
const LOST: usize = 10;
const PATIENCE: Duration = Duration::from_secs(120);
/// Well above what a slow machine keeps a device waiting; the wills of the lost come after one and a half times this.
const KEEP_ALIVE_S: u16 = 16;

/// A device, and how many messages it has made.
struct Device {
    number: usize,
    client: Careful,
    made: u64,
}

impl Device {
    fn new(number: usize) -> Self {
        let topic = format!("status/{number}");
        let will = Will { topic, payload: "offline".to_owned(), qos: 1, retain: true };
        let client = Careful::new(&format!("device-{number}")).with_will(will, KEEP_ALIVE_S);
        Self { number, client, made: 0 }
    }

    /// Tries until the broker lets it in.
    async fn come(&mut self, port: u16) -> anyhow::Result<()> {
        let begun = Instant::now();
        while let Err(error) = self.client.connect(port).await {
            anyhow::ensure!(begun.elapsed() < PATIENCE, "device {} is not let in: {error}", self.number);
            let pause = rand::rng().random_range(20..300);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Ok(())
    }

    /// A message, with QoS 1 and 2 in turn.
    async fn publish(&mut self) -> std::io::Result<()> {
        let payload = format!("{} {}", self.number, self.made);
        let qos = if self.made.is_multiple_of(2) { 1 } else { 2 };
        self.made += 1;
        self.client.publish("plan/x", &payload, qos, false).await
    }

    /// Publishes until the broker dies.
    async fn work(&mut self) -> anyhow::Result<()> {
        self.client.publish(&format!("status/{}", self.number), "online", 1, true).await?;
        while self.publish().await.is_ok() {
            if self.client.take_until(PATIENCE, |own| own.under_way() < 5).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Comes back, says one thing more, and parts when everything is acknowledged.
    async fn finish(&mut self, port: u16) -> anyhow::Result<()> {
        self.come(port).await?;
        self.publish().await?;
        let done = self.client.take_until(PATIENCE, |own| own.under_way() == 0).await;
        done.with_context(|| format!("device {}: {} not answered", self.number, self.client.under_way()))?;
        Ok(self.client.say_good_bye().await?)
    }
}

/// Hears until the connection breaks or `done`.
async fn hear(hearer: &mut Careful, done: &CancellationToken) {
    tokio::select! {
        _ = hearer.take_until(PATIENCE, |_| false) => {}
        () = done.cancelled() => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_devices_come_back_and_nothing_that_they_were_promised_is_broken() -> anyhow::Result<()> {
    allow_files()?;
    let mut program = Program::start(ProgramOptions::default()).await?;
    let port = program.mqtt_port;
    let mut hearer = Careful::new("hearer");
    hearer.connect(port).await?;
    hearer.subscribe("plan/#", 2).await?;

    let mut working = JoinSet::new();
    for number in 0..DEVICES {
        working.spawn(async move {
            let mut device = Device::new(number);
            device.come(port).await?;
            device.work().await?;
            anyhow::Ok(device)
        });
    }
    // All are in the midst of it.
    hearer.take_until(PATIENCE, |own| own.heard.len() > 10 * DEVICES).await?;
    program.kill()?;
    let devices = working.join_all().await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    program.restart().await?;
    let restarted = Instant::now();
    let mut watcher = Careful::new("watcher");
    watcher.connect(port).await?;
    watcher.subscribe("status/#", 1).await?;

    assert!(hearer.connect(port).await?, "the session is there");
    let (mut lost, mut back) = (Vec::new(), JoinSet::new());
    for mut device in devices {
        if device.number < LOST {
            lost.push(device);
            continue;
        }
        back.spawn(async move {
            device.finish(port).await?;
            anyhow::Ok(device)
        });
    }
    let finished = CancellationToken::new();
    let finishing = async {
        let back = back.join_all().await;
        finished.cancel();
        back.into_iter().collect::<anyhow::Result<Vec<_>>>()
    };
    let (back, ()) = tokio::join!(finishing, hear(&mut hearer, &finished));
    let back = back?;
    assert_eq!(back.len(), DEVICES - LOST, "all reconnect");
    eprintln!("all are back and done {:?} after the restart", restarted.elapsed());
    hearer.take_until_quiet(Duration::from_secs(2)).await?;

    let mut once: HashSet<(usize, u64)> = HashSet::new();
    let mut exactly: HashMap<usize, Vec<u64>> = HashMap::new();
    for (qos, payload) in &hearer.heard {
        let (device, number) = payload.split_once(' ').context("two numbers")?;
        let (device, number) = (device.parse()?, number.parse()?);
        if *qos == 1 {
            once.insert((device, number));
        } else {
            exactly.entry(device).or_default().push(number);
        }
    }
    for device in &back {
        let missing = (0..device.made).step_by(2).find(|number| !once.contains(&(device.number, *number)));
        assert_eq!(missing, None, "QoS 1 of device {}, of {}", device.number, device.made);
        let expected: Vec<u64> = (1..device.made).step_by(2).collect();
        assert_eq!(exactly[&device.number], expected, "QoS 2 of device {}: once and in order", device.number);
    }
    let heard: HashSet<&String> = hearer.heard.iter().map(|(_, payload)| payload).collect();
    for device in &lost {
        let promised = device.client.acknowledged.iter().filter(|text| *text != "online");
        let missing = promised.into_iter().find(|text| !heard.contains(text));
        assert_eq!(missing, None, "a message of device {}, which is lost", device.number);
    }

    // The will of each lost device, and of no other.
    let offline = |own: &Careful| own.heard.iter().filter(|(_, payload)| payload == "offline").count();
    watcher.take_until(PATIENCE, |own| offline(own) >= LOST).await?;
    watcher.take_until_quiet(Duration::from_secs(2)).await?;
    assert_eq!(offline(&watcher), LOST);
    let mut late = Careful::new("late");
    late.connect(port).await?;
    late.subscribe("status/#", 1).await?;
    late.take_until(PATIENCE, |own| own.heard.len() >= DEVICES).await?;
    assert_eq!((late.heard.len(), offline(&late)), (DEVICES, LOST), "retained");
    Ok(())
}
