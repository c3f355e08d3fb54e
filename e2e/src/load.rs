//! Load on an MQTT broker: many publishers, QoS 0 or 1, either as fast as a window allows or at a fixed rate.
//!
//! Bounded in count and time, on loopback only.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Semaphore;

use crate::measure::Latencies;
use crate::mqtt;

/// What to send.
#[derive(Debug, Clone)]
pub struct Load {
    /// The broker's port on loopback.
    pub port: u16,
    /// Connections.
    pub publishers: usize,
    /// Devices that each connection publishes for, in turn.
    pub devices_per_publisher: usize,
    /// The number of the first device.
    pub first_device: usize,
    /// Unacknowledged messages that a connection may have under way.
    pub window: usize,
    /// Messages a second over all connections; `None` is as fast as the window allows.
    pub rate: Option<f64>,
    /// How long.
    pub duration: Duration,
    /// Quality of service, 0 or 1. Nobody acknowledges 0: what was sent then counts as acknowledged when it is written.
    pub qos: u8,
    /// What the topics begin with; the device and `telemetry` follow.
    pub topics: &'static str,
    /// Messages in all, where that ends it sooner; each connection sends its share.
    pub messages_max: u64,
}

/// The longest that a broker may leave a message unanswered.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came of it.
#[derive(Debug, Default)]
pub struct LoadReport {
    /// Messages handed to the broker.
    pub sent: u64,
    /// Messages that it acknowledged.
    pub acknowledged: u64,
    /// From first message to last acknowledgement.
    pub elapsed: Duration,
    /// From writing a message to its acknowledgement.
    pub latencies: Latencies,
    /// Connections that did not come to their end.
    pub broken: Vec<Broken>,
}

/// A connection that the broker refused, ended or left unanswered.
#[derive(Debug)]
pub struct Broken {
    /// From the beginning of the load.
    pub after: Duration,
    /// How it showed.
    pub error: anyhow::Error,
}

impl LoadReport {
    /// Acknowledged messages a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    pub fn rate(&self) -> f64 {
        self.acknowledged as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// The device's name, as `dev-00042`.
#[must_use]
pub fn device_name(number: usize) -> String {
    format!("dev-{number:05}")
}

/// A payload of about 300 bytes in the product document's shape, with ten properties that change from message to
/// message; `load.sent_micros` holds the moment of writing.
pub fn write_payload(out: &mut Vec<u8>, device: &str, number: u64) {
    use std::io::Write as _;
    let now = now_micros();
    let wave = (number % 200) as f64 / 10.0;
    write!(
        out,
        "{{\"device_id\":\"{device}\",\"timestamp\":{}.{:03},\"thermal\":{{\"temperature_zones\":[{:.1},{:.1},{:.1}],\"ambient\":{:.1}}},\"electrical\":{{\"voltage_l1\":{:.1},\"voltage_l2\":{:.1},\"voltage_l3\":{:.1},\"current_l1\":{:.3},\"power_factor\":{:.2}}},\"mechanical\":{{\"speed_rpm\":{},\"vibration_rms_mm_s\":{:.2}}},\"load\":{{\"sent_micros\":{now}}}}}",
        now / 1_000_000,
        now / 1000 % 1000,
        190.0 + wave,
        191.0 + wave,
        189.5 + wave,
        22.0 + wave / 10.0,
        229.0 + wave / 20.0,
        230.0 + wave / 20.0,
        231.0 + wave / 20.0,
        12.0 + wave / 7.0,
        0.80 + wave / 200.0,
        1400 + number % 50,
        1.2 + wave / 30.0,
    )
    .expect("writing to memory");
}

/// Microseconds since 1970 by this machine's clock.
#[must_use]
pub fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Publishes until the time or the messages are used up, then waits for the last acknowledgements.
///
/// # Errors
/// Where a connection fails.
pub async fn publish(load: Load) -> anyhow::Result<LoadReport> {
    let mut report = try_to_publish(load).await?;
    match report.broken.pop() {
        None => Ok(report),
        Some(broken) => Err(broken.error).context("a publisher's connection failed"),
    }
}

/// The same for a broker that may end connections: the report says how many, and the others go on.
///
/// # Errors
/// Where a publisher panics.
pub async fn try_to_publish(load: Load) -> anyhow::Result<LoadReport> {
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for publisher in 0..load.publishers {
        tasks.push(tokio::spawn(one_publisher(load.clone(), publisher)));
    }
    let mut report = LoadReport::default();
    for task in tasks {
        let part = task.await?;
        report.sent += part.sent;
        report.acknowledged += part.acknowledged;
        report.latencies.merge(&part.latencies);
        report.broken.extend(part.broken);
    }
    report.elapsed = begun.elapsed();
    report.broken.sort_by_key(|broken| broken.after);
    Ok(report)
}

/// How far a publisher has come.
struct Progress {
    /// A permit for each message that may still be under way.
    window: Semaphore,
    state: Mutex<State>,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

struct State {
    sent: u64,
    acknowledged: u64,
    is_finished: bool,
    /// When each message that is under way was written, the oldest first.
    under_way: VecDeque<Instant>,
    latencies: Latencies,
}

async fn one_publisher(load: Load, publisher: usize) -> LoadReport {
    let begun = Instant::now();
    let progress = Progress {
        window: Semaphore::new(load.window),
        state: Mutex::new(State {
            sent: 0,
            acknowledged: 0,
            is_finished: false,
            under_way: VecDeque::with_capacity(load.window),
            latencies: Latencies::default(),
        }),
    };
    let run = async {
        let (reader, writer) = mqtt::connect(load.port, &format!("load-{publisher}")).await?;
        // The connection is closed once both are through.
        let (reader, writer) =
            tokio::try_join!(hear(reader, &progress), send(writer, &load, publisher, &progress))?;
        drop((reader, writer));
        anyhow::Ok(())
    };
    let broken = run.await.err().map(|error| Broken { after: begun.elapsed(), error });
    let State { sent, acknowledged, latencies, .. } = progress.state.into_inner().expect("no holder panics");
    let acknowledged = if load.qos == 0 { sent } else { acknowledged };
    LoadReport { sent, acknowledged, elapsed: begun.elapsed(), latencies, broken: Vec::from_iter(broken) }
}

/// Takes acknowledgements until everything is sent and acknowledged.
async fn hear(mut reader: OwnedReadHalf, progress: &Progress) -> anyhow::Result<OwnedReadHalf> {
    let mut buffer = Vec::with_capacity(64 * 1024);
    loop {
        let waits_since = {
            let state = progress.lock();
            if state.is_finished && state.under_way.is_empty() {
                return Ok(reader);
            }
            state.under_way.front().copied()
        };
        let read = tokio::time::timeout(Duration::from_millis(200), reader.read_buf(&mut buffer)).await;
        let Ok(read) = read else {
            let is_patient = waits_since.is_none_or(|since| since.elapsed() < PATIENCE);
            anyhow::ensure!(is_patient, "the broker left a message unanswered for {PATIENCE:?}");
            continue;
        };
        anyhow::ensure!(read? > 0, "the broker closed the connection");
        let mut count = 0;
        mqtt::take_acknowledgements(&mut buffer, |_| count += 1)?;
        let now = Instant::now();
        {
            let mut state = progress.lock();
            anyhow::ensure!(count <= state.under_way.len(), "the broker acknowledged more than there was");
            let State { under_way, latencies, acknowledged, .. } = &mut *state;
            under_way.drain(..count).for_each(|written| latencies.add(now - written));
            *acknowledged += count as u64;
        }
        progress.window.add_permits(count);
    }
}

/// Sends until the time or the messages are used up.
async fn send(
    mut writer: OwnedWriteHalf,
    load: &Load,
    publisher: usize,
    progress: &Progress,
) -> anyhow::Result<OwnedWriteHalf> {
    let devices: Vec<_> = (0..load.devices_per_publisher)
        .map(|index| device_name(load.first_device + publisher * load.devices_per_publisher + index))
        .map(|name| (format!("{}/{name}/telemetry", load.topics), name))
        .collect();
    let begun = Instant::now();
    let mut out = Vec::with_capacity(256 * 1024);
    let mut payload = Vec::with_capacity(512);
    let mut number = 0_u64;
    let publishers = load.publishers as u64;
    let share =
        load.messages_max / publishers + u64::from((publisher as u64) < load.messages_max % publishers);
    #[expect(clippy::cast_precision_loss, reason = "a handful of publishers")]
    let own_rate = load.rate.map(|rate| rate / load.publishers as f64);
    while begun.elapsed() < load.duration && number < share {
        let batch = match own_rate {
            None => progress.window.available_permits().clamp(1, 100),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
            Some(rate) => {
                let due = (begun.elapsed().as_secs_f64() * rate) as u64;
                if due <= number {
                    tokio::time::sleep(Duration::from_secs_f64((1.0 / rate).clamp(0.001, 0.02))).await;
                    continue;
                }
                (due - number).min(100) as usize
            }
        };
        let batch = batch.min(usize::try_from(share - number).unwrap_or(usize::MAX));
        #[expect(clippy::cast_possible_truncation, reason = "at most 100")]
        progress.window.acquire_many(batch as u32).await?.forget();
        out.clear();
        for _ in 0..batch {
            let (topic, device) = &devices[(number as usize) % devices.len()];
            payload.clear();
            write_payload(&mut payload, device, number / devices.len() as u64);
            if load.qos > 0 {
                mqtt::push_publish(&mut out, topic, (number % 65_535 + 1) as u16, &payload);
                progress.lock().under_way.push_back(Instant::now());
            } else {
                mqtt::push_unacknowledged(&mut out, topic, &payload);
            }
            number += 1;
        }
        writer.write_all(&out).await?;
        progress.lock().sent = number;
        if load.qos == 0 {
            progress.window.add_permits(batch);
        }
    }
    progress.lock().is_finished = true;
    Ok(writer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Lets every connection in; the first one is closed once it sends something, the others are answered.
    async fn closing_the_first(listener: TcpListener) {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.expect("it comes");
            tokio::spawn(async move {
                let mut read = vec![0; 64 * 1024];
                let _connect = stream.read(&mut read).await;
                stream.write_all(&[0x20, 2, 0, 0]).await.expect("it is there");
                let mut buffer = Vec::new();
                while let Ok(1..) = stream.read_buf(&mut buffer).await {
                    if number == 0 {
                        return;
                    }
                    while let Some((_, _, end)) = mqtt::whole(&buffer) {
                        buffer.drain(..end);
                        stream.write_all(&[0x40, 2, 0, 0]).await.expect("it is there");
                    }
                }
            });
        }
    }

    #[tokio::test]
    async fn a_connection_that_the_broker_ends_is_reported_and_the_others_go_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it has one").port();
        let broker = tokio::spawn(closing_the_first(listener));
        let load = Load {
            port,
            publishers: 3,
            devices_per_publisher: 2,
            first_device: 0,
            window: 10,
            rate: None,
            duration: Duration::from_secs(60),
            qos: 1,
            topics: "a",
            messages_max: 300,
        };
        let report = try_to_publish(load.clone()).await.expect("nobody panics");
        assert_eq!((report.broken.len(), report.acknowledged), (1, 200), "{:?}", report.broken);
        broker.abort();
        publish(load).await.expect_err("there is no broker any more");
    }
}
