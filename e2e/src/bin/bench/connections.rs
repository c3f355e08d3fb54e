//! Many connections: what an idle one holds, and how fast all come back.

use std::time::Duration;

use anyhow::Context as _;
use e2e::certificates::{Authority, ServerFiles};
use e2e::crowd::{Crowd, allow_files};
use e2e::measure::resident_bytes;
use e2e::{Program, program};
use rustls::ClientConfig;

use crate::subject::{mosquitto, quiet};
use crate::table::{Row, millis};

/// Memory of ten thousand connections that say nothing, and how long it took to have them.
pub(crate) async fn tls_idle() -> anyhow::Result<Vec<Row>> {
    const CLIENTS: usize = 10_000;
    allow_files()?;
    let (folder, authority) = (tempfile::tempdir()?, Authority::new()?);
    let files = authority.server(folder.path())?;
    let [port] = program::free_ports()?;
    let program = Program::start(quiet().with(tls_listener(port, &files))).await?;
    let tls = idle(program.id(), port, CLIENTS, Some(&authority.client()?)).await?;
    let program = {
        drop(program);
        Program::start(quiet()).await?
    };
    let plain = idle(program.id(), program.mqtt_port, CLIENTS, None).await?;
    drop(program);
    let settings = format!("certfile {}\nkeyfile {}\n", files.certificate.display(), files.key.display());
    let mosquitto = mosquitto(&settings).await?;
    let theirs = idle(mosquitto.id(), mosquitto.port, CLIENTS, Some(&authority.client()?)).await?;
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
async fn idle(
    process: u32,
    port: u16,
    clients: usize,
    tls: Option<&ClientConfig>,
) -> anyhow::Result<(f64, f64)> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = resident_bytes(process).context("it runs")?;
    let mut crowd = Crowd::new(clients, port, tls);
    let gathering = crowd.gather(100).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = resident_bytes(process).context("it runs")?;
    #[expect(clippy::cast_precision_loss, reason = "bytes")]
    let each = after.saturating_sub(before) as f64 / clients as f64 / 1e3;
    Ok((each, gathering.took.as_secs_f64()))
}

/// Five thousand clients lose their connections and come back at once.
pub(crate) async fn reconnect() -> anyhow::Result<Vec<Row>> {
    allow_files()?;
    let (folder, authority) = (tempfile::tempdir()?, Authority::new()?);
    let files = authority.server(folder.path())?;
    let [tls_port] = program::free_ports()?;
    let program = Program::start(quiet().with(tls_listener(tls_port, &files))).await?;
    let plain = storm(program.mqtt_port, None).await?;
    let tls = storm(tls_port, Some(&authority.client()?)).await?;
    drop(program);
    let mosquitto = mosquitto("").await?;
    let theirs = storm(mosquitto.port, None).await?;
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

async fn storm(port: u16, tls: Option<&ClientConfig>) -> anyhow::Result<String> {
    const CLIENTS: usize = 5_000;
    let mut crowd = Crowd::new(CLIENTS, port, tls);
    crowd.gather(100).await?;
    crowd.scatter();
    let back = crowd.gather(CLIENTS).await?;
    let (took, each) = (back.took.as_secs_f64(), millis(&back.latencies));
    Ok(format!("{took:.2} s; {each} ({} attempts repeated)", back.repeated))
}

fn tls_listener(port: u16, files: &ServerFiles) -> String {
    format!(
        "mqtt.listeners = [{{ address = \"127.0.0.1:{port}\", certificate_file = {:?}, key_file = {:?} }}]",
        files.certificate, files.key
    )
}
