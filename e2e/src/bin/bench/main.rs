//! Measures what is promised, on the shipped release build, beside Mosquitto in the same run, and prints a table.
//!
//! Each section is a function that starts what it needs, measures, and ends it. One that fails is told at once and at the end,
//! and the others go on. Absolute rates belong to the machine they were measured on; ratios and processor time per message
//! travel.

mod connections;
mod delivery;
mod footprint;
mod ingest;
mod live;
mod rest;
mod stores;
mod subject;
mod table;

use futures::future::BoxFuture;

use crate::table::{BrokenPromise, Row};

type Section = (&'static str, fn() -> BoxFuture<'static, anyhow::Result<Vec<Row>>>);

const SECTIONS: &[Section] = &[
    ("ingest", || Box::pin(ingest::measure())),
    ("latency", || Box::pin(live::latency())),
    ("fan-out", || Box::pin(live::fan_out())),
    ("rest", || Box::pin(rest::measure())),
    ("memory", || Box::pin(footprint::memory())),
    ("replay", || Box::pin(footprint::replay())),
    ("delivery", || Box::pin(delivery::at_least_once())),
    ("qos-0", || Box::pin(delivery::at_most_once())),
    ("overload", || Box::pin(delivery::overload())),
    ("tls-idle", || Box::pin(connections::tls_idle())),
    ("reconnect", || Box::pin(connections::reconnect())),
    ("history-stores", || Box::pin(stores::measure(stores_size()))),
];

/// How much is written to the stores: the second and the third argument.
fn stores_size() -> stores::Size {
    let number =
        |at: usize, usual| std::env::args().nth(at).and_then(|text| text.parse().ok()).unwrap_or(usual);
    stores::Size { things: number(2, 50), days: number(3, 1) }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is what this program is for")]
fn main() -> anyhow::Result<()> {
    let only = std::env::args().nth(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("| what | measured | goal |\n|---|---|---|");
    let mut failed = Vec::new();
    for (name, section) in SECTIONS {
        if only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let (rows, error) = match runtime.block_on(section()) {
            Ok(rows) => (rows, None),
            Err(error) => match error.downcast() {
                Ok(BrokenPromise { rows, what }) => (rows, Some(what)),
                Err(error) => (Vec::new(), Some(format!("{error:#}"))),
            },
        };
        for row in rows {
            println!("| {} | {} | {} |", row.name, row.measured, row.goal);
        }
        if let Some(error) = error {
            eprintln!("measuring {name}: {error}");
            failed.push(*name);
        }
    }
    anyhow::ensure!(failed.is_empty(), "these sections failed: {}", failed.join(", "));
    Ok(())
}
