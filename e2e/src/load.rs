//! Load on an MQTT broker: many publishers, QoS 0 or 1, either as fast as a window allows or at a fixed rate.
//!
//! Bounded in count and time, on loopback only.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for publisher in 0..load.publishers {
        tasks.push(tokio::spawn(one_publisher(load.clone(), publisher)));
    }
    let mut report = LoadReport::default();
    for task in tasks {
        let part = task.await??;
        report.sent += part.sent;
        report.acknowledged += part.acknowledged;
        report.latencies.merge(&part.latencies);
    }
    report.elapsed = begun.elapsed();
    Ok(report)
}

async fn one_publisher(load: Load, publisher: usize) -> anyhow::Result<LoadReport> {
    let (mut reader, mut writer) = mqtt::connect(load.port, &format!("load-{publisher}")).await?;
    let window = Arc::new(Semaphore::new(load.window));
    let under_way = Arc::new(std::sync::Mutex::new(VecDeque::<Instant>::with_capacity(load.window)));
    let finished = Arc::new(AtomicBool::new(false));
    let sent_total = Arc::new(AtomicU64::new(0));

    let acknowledgements = {
        let (window, under_way) = (Arc::clone(&window), Arc::clone(&under_way));
        let (finished, sent_total) = (Arc::clone(&finished), Arc::clone(&sent_total));
        tokio::spawn(async move {
            let mut buffer = Vec::with_capacity(64 * 1024);
            let mut latencies = Latencies::default();
            let mut acknowledged = 0_u64;
            while !(finished.load(Ordering::Acquire) && acknowledged == sent_total.load(Ordering::Acquire)) {
                let read =
                    tokio::time::timeout(Duration::from_millis(200), reader.read_buf(&mut buffer)).await;
                let Ok(read) = read else { continue };
                anyhow::ensure!(read? > 0, "the broker closed the connection");
                let mut count = 0;
                mqtt::take_acknowledgements(&mut buffer, |_| count += 1)?;
                let now = Instant::now();
                {
                    let mut under_way = under_way.lock().expect("no holder panics");
                    for begun in under_way.drain(..count) {
                        latencies.add(now - begun);
                    }
                }
                window.add_permits(count);
                acknowledged += count as u64;
            }
            Ok((acknowledged, latencies))
        })
    };

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
    'sending: while begun.elapsed() < load.duration {
        let batch = match own_rate {
            None => window.available_permits().clamp(1, 100),
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
        window.acquire_many(batch as u32).await?.forget();
        out.clear();
        for _ in 0..batch {
            if number >= share {
                writer.write_all(&out).await?;
                break 'sending;
            }
            let (topic, device) = &devices[(number as usize) % devices.len()];
            payload.clear();
            write_payload(&mut payload, device, number / devices.len() as u64);
            if load.qos > 0 {
                mqtt::push_publish(&mut out, topic, (number % 65_535 + 1) as u16, &payload);
                under_way.lock().expect("no holder panics").push_back(Instant::now());
                sent_total.store(number + 1, Ordering::Release);
            } else {
                mqtt::push_unacknowledged(&mut out, topic, &payload);
            }
            number += 1;
        }
        writer.write_all(&out).await?;
        if load.qos == 0 {
            window.add_permits(batch);
        }
    }
    finished.store(true, Ordering::Release);
    let (acknowledged, latencies) = acknowledgements.await??;
    let acknowledged = if load.qos == 0 { number } else { acknowledged };
    Ok(LoadReport { sent: number, acknowledged, elapsed: begun.elapsed(), latencies })
}
