//! A playback by values: what it is told about time and jobs, and what it says and wants done.

use std::sync::atomic::AtomicU64;

use egiz_historian::disk::Folder;
use egiz_historian::{Historian, Settings};
use egiz_model::{Quality, QualityReason, ValueRef};
use prometheus_client::registry::Registry;
use serde_json::Value;

use super::*;
use crate::live::playback::stage::Stage;
use crate::live::playback::work::{Wanted, Worker};

const BEGIN_S: i64 = 1_772_323_200;
/// So long is known of the plant, in seconds.
const KNOWN_S: i64 = 4000;

fn second(second: f64) -> Timestamp {
    Timestamp::from_micros(BEGIN_S * 1_000_000 + (second * 1e6) as i64)
}

/// A player with a clock that is set by hand, and the jobs that wait to be done.
struct Table {
    player: Player,
    worker: Worker,
    now: Instant,
    wall: Timestamp,
    jobs: Vec<Job>,
    told: Vec<(String, Value)>,
    _folder: tempfile::TempDir,
}

impl Table {
    /// One Thing that said its second every ten seconds.
    fn new(at: f64, speed: f64) -> Self {
        Self::with(|beginning| (beginning.at, beginning.speed) = (second(at), speed))
    }

    fn with(set: impl FnOnce(&mut Beginning)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Arc::new(Folder::open(folder.path()).expect("a folder"));
        let (historian, _) = Historian::open(disk, Settings::default()).expect("it opens");
        for number in 0..KNOWN_S / 10 {
            let time = second(number as f64 * 10.0);
            let mut intake = historian.intake();
            let mut row = intake.row("a:b", "oven", time, time);
            row.set("f", "x", &ValueRef::Int(number * 10), Quality::Good, QualityReason::None);
        }
        let mut beginning = Beginning {
            at: second(0.0),
            until: None,
            speed: 1.0,
            tick: Duration::from_millis(100),
            is_paused: false,
            cells_max: 1_000_000,
        };
        set(&mut beginning);
        let now = Instant::now();
        let worker = Worker {
            historian: Arc::new(historian),
            wanted: Arc::new(Wanted { things: None, features: None }),
            stage: Arc::new(Stage::new(&mut Registry::default())),
            seeks: Arc::new(AtomicU64::new(0)),
            seek: 0,
        };
        let wall = second(KNOWN_S as f64);
        let player = Player::new(beginning, now);
        Self { player, worker, now, wall, jobs: Vec::new(), told: Vec::new(), _folder: folder }
    }

    fn drive(&mut self) {
        let mut told = Vec::new();
        let jobs = self.player.drive(self.now, self.wall, &mut told);
        self.jobs.extend(jobs);
        self.hear(told);
    }

    fn hear(&mut self, told: Vec<Told>) {
        for (event, rest) in told {
            let json = format!("{{\"x\":0{}", String::from_utf8(rest).expect("text"));
            self.told.push((event.to_owned(), serde_json::from_str(&json).expect("JSON")));
        }
    }

    /// Does what is to be done until nothing is left for this moment.
    fn settle(&mut self) {
        loop {
            self.drive();
            if self.jobs.is_empty() {
                return;
            }
            for job in std::mem::take(&mut self.jobs) {
                let done = self.worker.do_job(job).unwrap_or_else(|error| panic!("{}", error.0.detail));
                let mut told = Vec::new();
                self.player.take(done.expect("it goes on"), self.now, &mut told);
                self.hear(told);
            }
        }
    }

    /// Lets so many milliseconds go by, tick after tick.
    fn wait(&mut self, millis: u64) {
        for _ in 0..millis / 50 {
            self.now += Duration::from_millis(50);
            self.wall = self.wall.plus_micros(50_000);
            self.settle();
        }
    }

    /// Values told since the last time, and other events by name.
    fn heard(&mut self) -> Vec<String> {
        let told = std::mem::take(&mut self.told);
        let shown = told.into_iter().map(|(event, frame)| match event.as_str() {
            "KeyFrame" | "Changes" => {
                let value = &frame["things"][0]["features"]["f"]["properties"]["x"]["value"];
                let conflated = frame.get("conflated").map(|count| format!("-{count}")).unwrap_or_default();
                format!("{}{value}{conflated}", if event == "KeyFrame" { "=" } else { "" })
            }
            "Ended" => format!("Ended {}", frame["reason"]),
            _ => format!("{}", frame["state"]).replace('"', ""),
        });
        shown.collect()
    }

    fn at(&self) -> f64 {
        self.player.position().micros_since(second(0.0)) as f64 / 1e6
    }
}

#[test]
fn it_plays_at_its_speed_from_a_key_frame_on() {
    let mut table = Table::new(95.0, 10.0);
    table.settle();
    assert_eq!(table.heard(), ["=90"]);
    table.wait(3100);
    assert_eq!(table.heard(), ["100", "110", "120"]);
    assert!((125.0..=127.0).contains(&table.at()), "{}", table.at());
    table.player.set_speed(60.0);
    table.wait(1100);
    assert_eq!(table.heard(), ["130", "140", "150", "160", "170", "180"]);
}

#[test]
fn what_is_told_late_is_the_last_value() {
    let mut table = Table::new(0.0, 10.0);
    table.settle();
    table.wait(100);
    table.heard();
    // The client's socket was full for thirty seconds.
    table.now += Duration::from_secs(30);
    table.settle();
    let heard = table.heard();
    assert_eq!(heard[0], "200-19", "up to the end of what was read: {heard:?}");
}

#[test]
fn above_sixty_fold_only_the_last_of_a_tick_is_read() {
    let mut table = Table::new(0.0, 600.0);
    table.settle();
    table.wait(1100);
    let heard = table.heard();
    assert_eq!(&heard[..4], ["=0", "60-5", "120-5", "180-5"]);
    // Slower again, everything between is there.
    table.player.set_speed(10.0);
    table.heard();
    table.wait(3100);
    let at: Vec<i64> = table.heard().iter().filter_map(|value| value.parse().ok()).collect();
    assert_eq!(at.len(), 3);
    assert_eq!((at[1] - at[0], at[2] - at[1]), (10, 10));
}

#[test]
fn it_goes_back_and_forth() {
    let mut table = Table::new(1000.0, 10.0);
    table.settle();
    table.wait(1100);
    assert_eq!(table.heard(), ["=1000", "1010"]);
    table.player.seek(second(500.0));
    table.settle();
    table.wait(1100);
    assert_eq!(table.heard(), ["=500", "510"]);
    table.player.seek(second(2000.0));
    table.settle();
    table.wait(1100);
    assert_eq!(table.heard(), ["=2000", "2010"]);
}

#[test]
fn it_stands_and_goes_by_steps() {
    let mut table = Table::new(1000.0, 100.0);
    table.settle();
    table.player.pause();
    table.wait(1000);
    assert_eq!((table.heard(), table.at()), (vec!["=1000".to_owned()], 1000.0));
    let mut step = |step, expected: &[&str], at: f64| {
        table.player.step(step);
        table.settle();
        assert_eq!(table.heard(), expected, "{step:?}");
        assert_eq!(table.at(), at, "{step:?}");
    };
    step(Step::Next, &["1010", "paused"], 1010.0);
    step(Step::By(25_000_000), &["1030-1", "paused"], 1035.0);
    step(Step::By(2_000_000), &["paused"], 1037.0);
    step(Step::Next, &["1040", "paused"], 1040.0);
    step(Step::Previous, &["=1030"], 1030.0);
    step(Step::Previous, &["=1020"], 1020.0);
    step(Step::By(-15_000_000), &["=1000"], 1005.0);
    step(Step::By(1_000_000_000), &["2000-99", "paused"], 2005.0);
}

#[test]
fn there_is_nothing_before_the_first_value() {
    let mut table = Table::new(5.0, 1.0);
    table.settle();
    table.player.step(Step::Previous);
    table.settle();
    table.player.step(Step::Previous);
    table.settle();
    assert_eq!(table.heard(), ["=0", "=0", "paused"]);
    assert_eq!(table.at(), 0.0);
}

#[test]
fn it_ends_at_the_present_and_goes_on_when_that_has_moved() {
    let mut table = Table::new(KNOWN_S as f64 - 50.0, 100.0);
    table.settle();
    table.wait(2000);
    let heard = table.heard();
    assert_eq!(heard.last().map(String::as_str), Some("Ended \"live-edge\""), "{heard:?}");
    assert!(heard.contains(&"3990".to_owned()) || heard.iter().any(|value| value.starts_with("3990-")));
    let before = table.at();
    assert!(table.wall.micros_since(second(before)) >= EDGE_MICROS);
    table.wait(30_000);
    assert_eq!((table.heard().len(), table.at()), (0, before), "it is paused");
    table.player.resume(table.now);
    table.wait(3000);
    assert!(table.at() > before + 25.0, "{} {before}", table.at());
    assert_eq!(table.heard().last().map(String::as_str), Some("Ended \"live-edge\""));
}

#[test]
fn it_ends_where_it_is_said_to() {
    let mut table = Table::with(|beginning| {
        (beginning.at, beginning.until, beginning.speed) = (second(100.0), Some(second(125.0)), 20.0);
    });
    table.settle();
    table.wait(3000);
    assert_eq!(table.heard(), ["=100", "110", "120", "Ended \"until\""]);
    assert_eq!(table.at(), 125.0);
    table.player.step(Step::Next);
    table.settle();
    assert_eq!(table.heard(), ["Ended \"until\""]);
}

#[test]
fn the_clock_stands_while_history_is_read() {
    let mut table = Table::with(|beginning| {
        (beginning.speed, beginning.cells_max) = (10.0, 3);
    });
    table.settle();
    table.wait(1000);
    table.heard();
    let before = table.at();
    // What is read next takes ten seconds; meanwhile the little there is is told, and no more.
    for _ in 0..100 {
        table.now += Duration::from_millis(100);
        let jobs = std::mem::take(&mut table.jobs);
        let (readings, others): (Vec<_>, Vec<_>) = jobs.into_iter().partition(Job::is_reading);
        table.jobs = others;
        for job in std::mem::take(&mut table.jobs) {
            let done = table.worker.do_job(job).unwrap_or_else(|error| panic!("{}", error.0.detail));
            let mut told = Vec::new();
            table.player.take(done.expect("it goes on"), table.now, &mut told);
            table.hear(told);
        }
        table.drive();
        table.jobs.extend(readings);
    }
    assert!(table.at() - before < 100.0, "two windows at most");
    assert_eq!(table.player.take_stalls(), 1);
    let stood_at = table.at();
    assert_eq!(table.heard().last().map(String::as_str), Some("waiting"));
    table.settle();
    table.wait(200);
    assert!(
        (0.0..=5.0).contains(&(table.at() - stood_at)),
        "it goes on where it was: {} {stood_at}",
        table.at()
    );
}

#[test]
fn it_says_that_it_goes_on_where_nothing_happens() {
    let mut table = Table::new(1001.0, 1.0);
    table.settle();
    table.wait(5000);
    assert_eq!(table.heard(), ["=1000", "playing", "playing", "playing", "playing", "playing"]);
}

#[test]
fn a_hundred_seeks_have_one_job_each_under_way() {
    let mut table = Table::new(1000.0, 1.0);
    table.drive();
    for number in 0..100 {
        table.player.seek(second(f64::from(number)));
        table.drive();
    }
    assert_eq!(table.jobs.len(), 2, "a key frame and a reading");
}
