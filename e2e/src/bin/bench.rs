//! Measures what is promised, on the shipped release build, beside Mosquitto in the same run, and prints a table.
//!
//! Each row is a function that starts what it needs, measures, and ends it. Absolute rates belong to the machine they
//! were measured on; ratios and processor time per message travel.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::certificates::{Authority, ServerFiles};
use e2e::crowd::Crowd;
use e2e::load::{self, Load, LoadReport};
use e2e::measure::{Latencies, cpu_seconds, resident_bytes};
use e2e::web_socket::Client;
use e2e::{Program, ProgramOptions, program};
use rustls::ClientConfig;
use serde_json::{Value, json};

/// One line of the table.
struct Row {
    name: &'static str,
    measured: String,
    goal: &'static str,
}

type Section = (&'static str, fn(&tokio::runtime::Handle) -> anyhow::Result<Vec<Row>>);

const SECTIONS: &[Section] = &[
    ("ingest", ingest),
    ("latency", latency),
    ("fan-out", fan_out),
    ("rest", rest),
    ("memory", memory),
    ("replay", replay),
    ("tls-idle", tls_idle),
    ("reconnect", reconnect),
];

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn main() -> anyhow::Result<()> {
    let only = std::env::args().nth(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("| what | measured | goal |\n|---|---|---|");
    for (name, section) in SECTIONS {
        if only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        for row in section(runtime.handle()).with_context(|| format!("measuring {name}"))? {
            println!("| {} | {} | {} |", row.name, row.measured, row.goal);
        }
    }
    Ok(())
}

fn quiet() -> ProgramOptions {
    ProgramOptions::default().with("log.level = \"warn\"").with("twin.stale_after_s = 604800")
}

fn ingest_load(port: u16, seconds: u64) -> Load {
    Load {
        port,
        publishers: 200,
        devices_per_publisher: 5,
        first_device: 0,
        window: 1000,
        rate: None,
        duration: Duration::from_secs(seconds),
        messages_max: u64::MAX,
    }
}

/// Acknowledged QoS 1 messages a second through to live state, and Mosquitto's rate for the same load.
fn ingest(runtime: &tokio::runtime::Handle) -> anyhow::Result<Vec<Row>> {
    const ROUNDS: usize = 3;
    const SECONDS: u64 = 5;
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..ROUNDS {
        theirs.push(mosquitto_round(runtime, SECONDS)?);
        ours.push(runtime.block_on(our_round(SECONDS))?);
    }
    let median = |rounds: &mut Vec<Round>| {
        rounds.sort_by(|a, b| a.report.rate().total_cmp(&b.report.rate()));
        rounds.swap_remove(ROUNDS / 2)
    };
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    Ok(vec![
        Row {
            name: "durable QoS 1 ingest of 300-byte messages through to live state, messages/s",
            measured: format!("{:.0} (applied {:.0})", ours.report.rate(), ours.applied_rate),
            goal: "at least 100,000",
        },
        Row {
            name: "the same load acknowledged by Mosquitto (no disk), messages/s",
            measured: format!("{:.0}", theirs.report.rate()),
            goal: "",
        },
        Row {
            name: "ratio to Mosquitto in the same run",
            measured: format!("{:.2}", ours.report.rate() / theirs.report.rate()),
            goal: "at least 1.0",
        },
        Row {
            name: "processor time a message, OpenEgiz end to end / Mosquitto acknowledging only, µs",
            measured: format!("{:.1} / {:.1}", ours.cpu_micros, theirs.cpu_micros),
            goal: "at most 50",
        },
        Row {
            name: "publish to PUBACK under that load, p50 / p99 ms",
            measured: millis(&ours.report.latencies),
            goal: "",
        },
    ])
}

struct Round {
    report: LoadReport,
    cpu_micros: f64,
    applied_rate: f64,
}

async fn our_round(seconds: u64) -> anyhow::Result<Round> {
    let program = Program::start(quiet()).await?;
    let cpu = cpu_seconds(program.id()).context("it runs")?;
    let begun = Instant::now();
    let report = load::publish(ingest_load(program.mqtt_port, seconds)).await?;
    wait_until_applied(&program, report.acknowledged).await?;
    let elapsed = begun.elapsed();
    let cpu = cpu_seconds(program.id()).context("it runs")? - cpu;
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    let acknowledged = report.acknowledged as f64;
    Ok(Round {
        cpu_micros: cpu * 1e6 / acknowledged,
        applied_rate: acknowledged / elapsed.as_secs_f64(),
        report,
    })
}

/// Waits until the twin counts as many telemetry messages as were acknowledged: end to end, not only on disk.
async fn wait_until_applied(program: &Program, messages: u64) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let applied = metric(program, "egiz_twin_telemetry_messages_total").await?;
        #[expect(clippy::cast_precision_loss, reason = "counts")]
        if applied >= messages as f64 {
            return Ok(());
        }
        anyhow::ensure!(
            begun.elapsed() < Duration::from_secs(60),
            "{applied} of {messages} messages were applied"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn metric(program: &Program, name: &str) -> anyhow::Result<f64> {
    let text = reqwest::get(program.url("/metrics")).await?.text().await?;
    let line =
        text.lines().find(|line| line.starts_with(name)).with_context(|| format!("no metric {name}"))?;
    Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)
}

/// A Mosquitto of our own on a private port; killed when dropped.
struct Mosquitto(Child);

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Mosquitto {
    /// Starts it and waits until it listens; `settings` are more lines of its configuration.
    fn start(runtime: &tokio::runtime::Handle, port: u16, settings: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("mosquitto.conf");
        std::fs::write(
            &config,
            format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\nlog_type error\n{settings}"
            ),
        )?;
        let binary = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"];
        let binary = binary
            .into_iter()
            .find(|path| Path::new(path).is_file())
            .context("mosquitto is not installed")?;
        let child = Command::new(binary)
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mosquitto = Self(child);
        runtime.block_on(async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Ok(mosquitto)
    }
}

fn mosquitto_round(runtime: &tokio::runtime::Handle, seconds: u64) -> anyhow::Result<Round> {
    let [port] = program::free_ports()?;
    let mosquitto = Mosquitto::start(runtime, port, "")?;
    runtime.block_on(async {
        let cpu = cpu_seconds(mosquitto.0.id()).context("it runs")?;
        let report = load::publish(ingest_load(port, seconds)).await?;
        let cpu = cpu_seconds(mosquitto.0.id()).context("it runs")? - cpu;
        #[expect(clippy::cast_precision_loss, reason = "counts")]
        let cpu_micros = cpu * 1e6 / report.acknowledged as f64;
        Ok(Round { report, cpu_micros, applied_rate: 0.0 })
    })
}

/// From writing a message to reading its event on a WebSocket, at 10,000 messages a second.
fn latency(runtime: &tokio::runtime::Handle) -> anyhow::Result<Vec<Row>> {
    runtime.block_on(async {
        let program = Program::start(quiet()).await?;
        let mut client = Client::connect(&program.web_socket_url()).await?;
        client.send(&json!({"id": 1, "action": "subscribe", "fields": "load", "snapshot": false})).await?;
        let listener = tokio::spawn(async move {
            let mut latencies = Latencies::default();
            let mut conflated = 0;
            while let Ok(frame) = client.next().await {
                if let Some(sent) = frame["properties"]["sent_micros"].as_i64() {
                    latencies
                        .add(Duration::from_micros(u64::try_from(load::now_micros() - sent).unwrap_or(0)));
                    conflated += frame["conflated"].as_u64().unwrap_or(0);
                }
                if frame["thingId"] == "factory:the-end" {
                    break;
                }
            }
            (latencies, conflated)
        });
        let load = Load {
            publishers: 50,
            devices_per_publisher: 20,
            rate: Some(10_000.0),
            ..ingest_load(program.mqtt_port, 15)
        };
        let report = load::publish(load).await?;
        end_mark(&program).await?;
        let (latencies, conflated) = listener.await?;
        Ok(vec![Row {
            name: "sensor to WebSocket at 10,000 messages/s, p50 / p99 ms",
            measured: format!(
                "{} ({} events of {} messages, {conflated} conflated)",
                millis(&latencies),
                latencies.count(),
                report.acknowledged
            ),
            goal: "p99 under 50 ms",
        }])
    })
}

/// A write that every unfiltered subscriber sees last.
async fn end_mark(program: &Program) -> anyhow::Result<()> {
    let http = reqwest::Client::new();
    for number in 0..2 {
        let thing =
            json!({"attributes": {"type": "end"}, "features": {"load": {"properties": {"number": number}}}});
        http.put(program.url("/api/v1/things/factory:the-end"))
            .json(&thing)
            .send()
            .await?
            .error_for_status()?;
    }
    Ok(())
}

/// A thousand WebSocket clients with mixed filters at 5,000 changes a second, and one that never reads.
fn fan_out(runtime: &tokio::runtime::Handle) -> anyhow::Result<Vec<Row>> {
    const CLIENTS: usize = 1000;
    const DEVICES: usize = 1000;
    runtime.block_on(async {
        let program = Program::start(quiet().with("http.websocket_max_clients = 2000")).await?;
        let warm_up = Load {
            publishers: 50,
            devices_per_publisher: DEVICES / 50,
            messages_max: DEVICES as u64,
            ..ingest_load(program.mqtt_port, 10)
        };
        let warm = load::publish(warm_up.clone()).await?;
        wait_until_applied(&program, warm.acknowledged).await?;

        let mut stalled = Client::connect(&program.web_socket_url()).await?;
        stalled.send(&json!({"action": "subscribe"})).await?;
        let mut listeners = Vec::new();
        for number in 0..CLIENTS {
            let mut client = Client::connect(&program.web_socket_url()).await?;
            client.send(&subscription(number, DEVICES)).await?;
            client.until(|frame| frame["ok"] == true).await?;
            listeners.push(tokio::spawn(async move {
                let mut latencies = Latencies::default();
                while let Ok(frame) = client.next().await {
                    if let Some(sent) = frame["properties"]["sent_micros"].as_i64() {
                        latencies.add(Duration::from_micros(
                            u64::try_from(load::now_micros() - sent).unwrap_or(0),
                        ));
                    }
                }
                latencies
            }));
        }
        let load = Load {
            rate: Some(5_000.0),
            duration: Duration::from_secs(15),
            messages_max: u64::MAX,
            ..warm_up
        };
        // The first run fills what is kept for clients that come back; only growth beyond that is a leak.
        load::publish(Load { duration: Duration::from_secs(25), ..load.clone() }).await?;
        let memory_before = resident_bytes(program.id()).context("it runs")?;
        let cpu = cpu_seconds(program.id()).context("it runs")?;
        let begun = Instant::now();
        load::publish(load).await?;
        let cpu = (cpu_seconds(program.id()).context("it runs")? - cpu) / begun.elapsed().as_secs_f64();
        let memory_after = resident_bytes(program.id()).context("it runs")?;
        drop(program);
        let mut latencies = Latencies::default();
        for listener in listeners {
            latencies.merge(&listener.await?);
        }
        drop(stalled);
        Ok(vec![
            Row {
                name: "1,000 WebSocket clients with mixed filters at 5,000 changes/s, p50 / p99 ms",
                measured: format!("{} ({} events, {:.2} cores)", millis(&latencies), latencies.count(), cpu),
                goal: "p99 under 200 ms",
            },
            Row {
                name: "memory before and after those 15 s, with one more client that never reads, MB",
                measured: format!("{:.0} → {:.0}", mega(memory_before), mega(memory_after)),
                goal: "no growth",
            },
        ])
    })
}

/// Three in ten watch one Thing, the others a filter of about ten Things or (one in fifty) a hundred.
fn subscription(number: usize, devices: usize) -> Value {
    let device = load::device_name(number % devices);
    if number % 10 < 3 {
        json!({"id": 1, "action": "subscribe", "thingId": format!("factory:{device}"), "snapshot": false, "fields": "load"})
    } else if number % 50 == 3 {
        let tens = format!("factory:dev-00{}*", number / 100 % 10);
        json!({"id": 1, "action": "subscribe", "filter": format!("like(thingId,\"{tens}\")"), "snapshot": false, "fields": "load"})
    } else {
        let ten = format!("factory:{}*", &device[..device.len() - 1]);
        json!({"id": 1, "action": "subscribe", "filter": format!("like(thingId,\"{ten}\")"), "snapshot": false, "fields": "load"})
    }
}

/// REST reads with wrk, and durable writes by 32 writers.
fn rest(runtime: &tokio::runtime::Handle) -> anyhow::Result<Vec<Row>> {
    let program = runtime.block_on(async {
        let program = Program::start(quiet()).await?;
        let warm_up = Load {
            publishers: 10,
            devices_per_publisher: 100,
            messages_max: 1000,
            ..ingest_load(program.mqtt_port, 10)
        };
        let warm = load::publish(warm_up).await?;
        wait_until_applied(&program, warm.acknowledged).await?;
        anyhow::Ok(program)
    })?;
    let url = program.url("/api/v1/things/factory:dev-00042");
    let output = Command::new("wrk")
        .args(["-t1", "-c32", "-d10s", "--latency", &url])
        .output()
        .context("wrk is needed")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let figure = |label: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(label))?;
        line.split_whitespace().last().map(str::to_owned)
    };
    anyhow::ensure!(!text.contains("Non-2xx"), "{text}");
    let reads = Row {
        name: "GET of a Thing with 13 values (wrk, 32 connections), requests/s and p99",
        measured: format!(
            "{}/s, p99 {}",
            figure("Requests/sec:").with_context(|| text.clone())?,
            figure("99%").unwrap_or_default()
        ),
        goal: "over 20,000/s, p99 under 10 ms",
    };
    let (rate, latencies) = runtime.block_on(durable_writes(&program))?;
    let writes = Row {
        name: "durable PUT of a property by 32 writers, requests/s, p50 / p99 ms",
        measured: format!("{rate:.0}/s, {}", millis(&latencies)),
        goal: "",
    };
    Ok(vec![reads, writes])
}

async fn durable_writes(program: &Program) -> anyhow::Result<(f64, Latencies)> {
    let begun = Instant::now();
    let mut writers = Vec::new();
    for writer in 0..32 {
        let url =
            program.url(&format!("/api/v1/things/factory:dev-{writer:05}/features/set/properties/point"));
        writers.push(tokio::spawn(async move {
            let http = reqwest::Client::new();
            let mut latencies = Latencies::default();
            for number in 0.. {
                if begun.elapsed() > Duration::from_secs(8) {
                    break;
                }
                let sent = Instant::now();
                http.put(&url).json(&json!(number)).send().await?.error_for_status()?;
                latencies.add(sent.elapsed());
            }
            anyhow::Ok(latencies)
        }));
    }
    let mut latencies = Latencies::default();
    for writer in writers {
        latencies.merge(&writer.await??);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    let rate = latencies.count() as f64 / begun.elapsed().as_secs_f64();
    Ok((rate, latencies))
}

/// Resident memory idle, and with 10,000 and 100,000 Things of ten properties.
fn memory(runtime: &tokio::runtime::Handle) -> anyhow::Result<Vec<Row>> {
    runtime.block_on(async {
        let program = Program::start(quiet().with("twin.max_things = 200000")).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let idle = resident_bytes(program.id()).context("it runs")?;
        let mut figures = vec![Row {
            name: "resident memory idle, MB",
            measured: format!("{:.0}", mega(idle)),
            goal: "under 60",
        }];
        let mut first_device = 0;
        for (things, name, goal) in [
            (10_000_usize, "resident memory with 10,000 Things of 13 values, MB", "under 100"),
            (100_000, "resident memory with 100,000 Things of 13 values, MB", "under 300"),
        ] {
            let load = Load {
                publishers: 10,
                devices_per_publisher: (things - first_device) / 10,
                first_device,
                rate: Some(10_000.0),
                duration: Duration::from_secs(60),
                messages_max: (things - first_device) as u64,
                ..ingest_load(program.mqtt_port, 60)
            };
            load::publish(load).await?;
            first_device = things;
            wait_for_things(&program, things).await?;
            let now = resident_bytes(program.id()).context("it runs")?;
            #[expect(clippy::cast_precision_loss, reason = "bytes")]
            let each = (now - idle.min(now)) as f64 / things as f64;
            figures.push(Row { name, measured: format!("{:.0} ({each:.0} B a Thing)", mega(now)), goal });
        }
        Ok(figures)
    })
}

async fn wait_for_things(program: &Program, things: usize) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let count = program.get("/api/v1/things/count").await?["count"].as_u64().unwrap_or(0);
        if count >= things as u64 {
            return Ok(());
        }
        anyhow::ensure!(begun.elapsed() < Duration::from_secs(60), "only {count} of {things} Things");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Time to ready after a crash with a million records to replay.
fn replay(runtime: &tokio::runtime::Handle) -> anyhow::Result<Vec<Row>> {
    const RECORDS: u64 = 1_000_000;
    runtime.block_on(async {
        let options =
            quiet().with("twin.snapshot_every_records = 1000000000").with("twin.snapshot_interval_s = 86400");
        let mut program = Program::start(options).await?;
        let load = Load { messages_max: RECORDS, ..ingest_load(program.mqtt_port, 60) };
        let report = load::publish(load).await?;
        wait_until_applied(&program, report.acknowledged).await?;
        program.kill()?;
        let took = program.restart().await?;
        Ok(vec![Row {
            name: "kill -9, then ready again with this many records to replay",
            measured: format!("{} records, {:.2} s", report.acknowledged, took.as_secs_f64()),
            goal: "1,000,000 records, under 3 s",
        }])
    })
}

/// Memory of ten thousand connections that say nothing, and how long it took to have them.
fn tls_idle(runtime: &tokio::runtime::Handle) -> anyhow::Result<Vec<Row>> {
    const CLIENTS: usize = 10_000;
    allow_files()?;
    let (folder, authority) = (tempfile::tempdir()?, Authority::new()?);
    let files = authority.server(folder.path())?;
    let [port, their_port] = program::free_ports()?;
    let program = runtime.block_on(Program::start(quiet().with(tls_listener(port, &files))))?;
    let tls = idle(runtime, program.id(), port, CLIENTS, Some(&authority.client()?))?;
    let program = {
        drop(program);
        runtime.block_on(Program::start(quiet()))?
    };
    let plain = idle(runtime, program.id(), program.mqtt_port, CLIENTS, None)?;
    drop(program);
    let settings = format!("certfile {}\nkeyfile {}\n", files.certificate.display(), files.key.display());
    let mosquitto = Mosquitto::start(runtime, their_port, &settings)?;
    let theirs = idle(runtime, mosquitto.0.id(), their_port, CLIENTS, Some(&authority.client()?))?;
    drop(mosquitto);
    Ok(vec![
        Row {
            name: "10,000 idle TLS connections, resident memory of each, kB",
            measured: format!("{:.1} (all connected in {:.1} s)", tls.0, tls.1),
            goal: "",
        },
        Row {
            name: "the same without TLS, kB",
            measured: format!("{:.1} (all connected in {:.1} s)", plain.0, plain.1),
            goal: "",
        },
        Row {
            name: "10,000 idle TLS connections to Mosquitto, resident memory of each, kB",
            measured: format!("{:.1} (all connected in {:.1} s)", theirs.0, theirs.1),
            goal: "",
        },
    ])
}

/// Connects so many, a hundred at a time; kilobytes of each, and seconds.
fn idle(
    runtime: &tokio::runtime::Handle,
    process: u32,
    port: u16,
    clients: usize,
    tls: Option<&ClientConfig>,
) -> anyhow::Result<(f64, f64)> {
    runtime.block_on(async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = resident_bytes(process).context("it runs")?;
        let mut crowd = Crowd::new(clients, port, tls);
        let gathering = crowd.gather(100).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let after = resident_bytes(process).context("it runs")?;
        #[expect(clippy::cast_precision_loss, reason = "bytes")]
        let each = after.saturating_sub(before) as f64 / clients as f64 / 1e3;
        Ok((each, gathering.took.as_secs_f64()))
    })
}

/// Five thousand clients lose their connections and come back at once.
fn reconnect(runtime: &tokio::runtime::Handle) -> anyhow::Result<Vec<Row>> {
    allow_files()?;
    let (folder, authority) = (tempfile::tempdir()?, Authority::new()?);
    let files = authority.server(folder.path())?;
    let [tls_port, their_port] = program::free_ports()?;
    let program = runtime.block_on(Program::start(quiet().with(tls_listener(tls_port, &files))))?;
    let plain = storm(runtime, program.mqtt_port, None)?;
    let tls = storm(runtime, tls_port, Some(&authority.client()?))?;
    drop(program);
    let mosquitto = Mosquitto::start(runtime, their_port, "")?;
    let theirs = storm(runtime, their_port, None)?;
    drop(mosquitto);
    Ok(vec![
        Row {
            name: "5,000 clients reconnecting at once, until the last is back, s; of each p50 / p99 ms",
            measured: plain,
            goal: "within 10 s",
        },
        Row { name: "the same over TLS, sessions resumed", measured: tls, goal: "within 10 s" },
        Row { name: "the same without TLS to Mosquitto", measured: theirs, goal: "" },
    ])
}

fn storm(runtime: &tokio::runtime::Handle, port: u16, tls: Option<&ClientConfig>) -> anyhow::Result<String> {
    const CLIENTS: usize = 5_000;
    let mut crowd = Crowd::new(CLIENTS, port, tls);
    runtime.block_on(async {
        crowd.gather(100).await?;
        crowd.scatter();
        let back = crowd.gather(CLIENTS).await?;
        let (took, each) = (back.took.as_secs_f64(), millis(&back.latencies));
        Ok(format!("{took:.2} s; {each} ({} attempts repeated)", back.repeated))
    })
}

fn tls_listener(port: u16, files: &ServerFiles) -> String {
    format!(
        "mqtt.listeners = [{{ address = \"127.0.0.1:{port}\", certificate_file = {:?}, key_file = {:?} }}]",
        files.certificate, files.key
    )
}

/// Takes as many open files as the system allows: each connection is one, here as there.
fn allow_files() -> anyhow::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

fn millis(latencies: &Latencies) -> String {
    let at = |part| latencies.quantile(part).as_secs_f64() * 1e3;
    format!("{:.1} / {:.1}", at(0.5), at(0.99))
}

#[expect(clippy::cast_precision_loss, reason = "bytes")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
