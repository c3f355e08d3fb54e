//! What is promised of the historian, over the reference workload: bytes for a sample after the day is put together (at most
//! 0.70), samples a second through memory, sealing and merging on one core (over 2 million), a day of one Thing with all
//! properties (p95 under 10 ms), the state of all Things at any time (p95 under 50 ms).
//!
//! `cargo bench -p egiz-historian [-- <things> [<days>]]` prints one line for each; with 30 days also the chart of a month (p95
//! under 50 ms). Samples are numbers; states and batches are stored and their bytes counted, but they do not count as samples.

mod reference;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use egiz_historian::disk::Folder;
use egiz_historian::series::{
    Aggregate, Buckets, Chart, Hold, Numbers, Resolution, Span, Stream, downsample,
};
use egiz_historian::{Historian, Settings};
use egiz_model::{Quality, QualityReason, Timestamp, ValueRef};
use reference::{BEGIN_MS, Device, STATES, STEPS_A_DAY};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NAMES: [&str; 12] = ["u1", "u2", "u3", "i1", "i2", "i3", "pf", "t1", "t2", "t3", "t4", "t5"];
/// Messages of a device between two seals: five minutes.
const STEPS_A_SEAL: usize = 60;

#[expect(clippy::print_stdout, reason = "it is what the bench is for")]
fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let (things, days) = (numbers.next().unwrap_or(200), numbers.next().unwrap_or(1));
    let steps = days * STEPS_A_DAY;
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Arc::new(Folder::open(folder.path()).expect("it is made"));
    let (historian, _) = Historian::open(disk, Settings::default()).expect("it opens");
    let ids: Vec<String> = (0..things).map(|number| format!("factory:machine-{number:04}")).collect();
    let mut devices: Vec<Device> = (0..things).map(|number| Device::new(number, 1)).collect();

    let (mut numbers, mut offset) = (0_u64, 0);
    let (mut taking, mut sealing, mut merging) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut batch = Vec::new();
    for step in 0..steps {
        batch.clear();
        for (device, id) in devices.iter_mut().zip(&ids) {
            batch.extend(device.next().map(|message| (id, format!("B-{}", message.batch), message)));
        }
        let begun = processor_time();
        let mut intake = historian.intake();
        for (id, batch, message) in &batch {
            let (source, received) =
                (Timestamp::from_millis(message.source_ms), Timestamp::from_millis(message.received_ms));
            let mut row = intake.row(id, "openegiz:machine:1.0.0", source, received);
            let (good, none) = (Quality::Good, QualityReason::None);
            for (name, number) in NAMES.iter().zip(&message.numbers[..message.count]) {
                let feature = if name.starts_with('t') { "thermal" } else { "electrical" };
                row.set(feature, name, &ValueRef::Float(*number), good, none);
            }
            row.set("status", "state", &ValueRef::Text(STATES[message.state]), good, none);
            row.set("business_context", "batch_id", &ValueRef::Text(batch), good, none);
            drop(row);
            intake.done(offset);
            offset += 1;
            numbers += message.count as u64;
        }
        drop(intake);
        taking += processor_time() - begun;
        let now = Timestamp::from_millis(BEGIN_MS + (step as i64 + 1) * 5000);
        if (step + 1) % STEPS_A_SEAL == 0 {
            let begun = processor_time();
            historian.seal(now).expect("sealed");
            sealing += processor_time() - begun;
            let begun = processor_time();
            while historian.maintain(now).expect("maintained") {}
            merging += processor_time() - begun;
        }
    }
    let today = historian.status();
    read_back(&historian, &ids, steps, "while the day goes on");
    let begun = processor_time();
    let next_day = Timestamp::from_millis(BEGIN_MS + steps as i64 * 5000 + 7_200_000);
    while historian.maintain(next_day).expect("maintained") {}
    merging += processor_time() - begun;
    let status = historian.status();
    let per_sample = |bytes: u64| bytes as f64 / numbers as f64;
    println!(
        "{things} Things, {days} days, {numbers} numbers; {} parts before the last day's merge",
        today.parts
    );
    println!("bytes a sample before the day's merge: {:.3}", per_sample(today.disk_bytes));
    println!(
        "bytes a sample after it, all included: {:.3}, of which rollups {:.3}",
        per_sample(status.disk_bytes),
        per_sample(status.rollup_bytes)
    );
    let all = taking + sealing + merging;
    println!(
        "samples a second on one core: {:.2} M (taking in {:.1} s, sealing {:.1} s, merging {:.1} s)",
        numbers as f64 / all.as_secs_f64() / 1e6,
        taking.as_secs_f64(),
        sealing.as_secs_f64(),
        merging.as_secs_f64()
    );
    read_back(&historian, &ids, steps, "after the day's merge");
}

#[expect(clippy::print_stdout, reason = "it is what the bench is for")]
fn read_back(historian: &Historian, ids: &[String], steps: usize, when: &str) {
    let at = |step: usize| Timestamp::from_millis(BEGIN_MS + step as i64 * 5000);
    let days = timed(60, |round| {
        let id = &ids[round * 37 % ids.len()];
        black_box(historian.read(id, at(0), at(STEPS_A_DAY), |_, _| true).expect("readable"));
    });
    let charts = timed(60, |round| {
        let id = &ids[round * 37 % ids.len()];
        let rows = historian.read(id, at(0), at(STEPS_A_DAY), |_, property| property == "i1");
        black_box(rows.expect("readable").samples("electrical", "i1", None));
    });
    let span = Span::new(at(0), at(steps));
    let samples_of = |round: usize| {
        let id = &ids[round * 37 % ids.len()];
        // Day by day, as over HTTP.
        let days = (0..steps).step_by(STEPS_A_DAY);
        days.flat_map(move |step| {
            let (from, to) = (at(step), at(step + STEPS_A_DAY));
            let rows = historian.read(id, from, to, |_, property| property == "i1").expect("readable");
            rows.samples("electrical", "i1", None)
        })
    };
    let wide = timed(30, |round| {
        let chart = Chart::new(span, 1000, None).expect("a chart");
        black_box(downsample(samples_of(round), &chart));
    });
    let averages = timed(30, |round| {
        let seconds = (steps * 5).div_ceil(1000);
        let resolution: Resolution = format!("{seconds}s").parse().expect("a resolution");
        let buckets = Buckets::new(span, resolution, jiff::tz::TimeZone::UTC).expect("buckets");
        let hold = Hold { max_micros: None, known_until: at(steps) };
        let average: Aggregate = "avg".parse().expect("an aggregate");
        let mut stream = Stream::new(buckets, Numbers::new(average, hold));
        let mut done = Vec::new();
        samples_of(round).for_each(|sample| stream.push(sample.into(), &mut done).expect("in order"));
        stream.finish(&mut done);
        assert!((990..=1001).contains(&done.len()), "{}", done.len());
    });
    let states = timed(24, |round| {
        let states = historian.states_at(at((997 + round * 680 * (steps / STEPS_A_DAY)) % steps), None);
        let mut count = 0;
        for state in states {
            black_box(state.expect("readable"));
            count += 1;
        }
        assert_eq!(count, ids.len());
    });
    for (what, times) in [
        ("a day of one Thing, all properties", days),
        ("a day of one property", charts),
        ("a chart of all days, 1,000 pixels wide", wide),
        ("1,000 averages of all days", averages),
        ("the state of all Things at a time", states),
    ] {
        println!("{what}, {when}: {times}");
    }
}

/// Does it so many times; says how long it took, and how long it had a processor.
fn timed(rounds: usize, mut work: impl FnMut(usize)) -> String {
    let (mut taken, mut processor): (Vec<f64>, Vec<f64>) = (0..rounds)
        .map(|round| {
            let (begun, before) = (Instant::now(), processor_time());
            work(round);
            (millis(begun.elapsed()), millis(processor_time() - before))
        })
        .unzip();
    taken.sort_by(f64::total_cmp);
    processor.sort_by(f64::total_cmp);
    let (half, most) = (rounds / 2, rounds * 95 / 100);
    format!(
        "p50 {:.1} ms, p95 {:.1} ms (processor {:.1} and {:.1} ms)",
        taken[half], taken[most], processor[half], processor[most]
    )
}

/// How long this thread has had a processor: other work on the machine does not count.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
