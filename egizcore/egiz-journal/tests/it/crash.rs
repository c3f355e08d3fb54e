//! The real process killed at random moments under load: what it said is durable must be there.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use egiz_journal::{Batch, Journal, JournalConfig};

use crate::{config, open, open_with, read};

const ROUNDS: u64 = 30;
const WRITERS: u64 = 4;
const CHILD_FOLDER: &str = "EGIZ_JOURNAL_CRASH_CHILD";
const CHILD_ROUND: &str = "EGIZ_JOURNAL_CRASH_ROUND";

/// The record that a writer writes at its `number`th turn: long enough for groups to span pages.
fn record(round: u64, writer: u64, number: u64) -> Vec<u8> {
    let mut record = format!("{round}/{writer}/{number}/").into_bytes();
    record.resize(record.len() + usize::try_from(number * 37 % 900).expect("small"), b'.');
    record
}

/// Not a test of its own: the child of the test below runs it until it is killed.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let round: u64 = std::env::var(CHILD_ROUND).expect("set").parse().expect("a number");
    let (journal, _) = open_with(folder.as_ref(), JournalConfig { segment_bytes: 64 << 10, ..config() });
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let journal = &journal;
            scope.spawn(move || {
                let mut number = 0;
                loop {
                    let mut batch = Batch::new();
                    let first = number;
                    for _ in 0..=(number % 7) {
                        batch.push(&record(round, writer, number));
                        number += 1;
                    }
                    let permit = journal.reserve_blocking(batch.byte_len());
                    let on_commit = move |result: Result<egiz_journal::Committed, _>| {
                        let committed = result.expect("the disk works");
                        let mut out = std::io::stdout().lock();
                        writeln!(
                            out,
                            "durable {} {writer} {first} {}",
                            committed.first,
                            committed.batch.len()
                        )
                        .and_then(|()| out.flush())
                        .expect("somebody listens");
                    };
                    journal.submit(batch, permit, Box::new(on_commit));
                }
            });
        }
    });
}

#[test]
fn what_was_said_to_be_durable_survives_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut said = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "crash::child_that_appends_until_it_is_killed", "--nocapture"])
            .env(CHILD_FOLDER, folder.path())
            .env(CHILD_ROUND, round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let listening = std::thread::spawn(move || {
            let lines = out.lines().map_while(Result::ok);
            lines.filter_map(|line| parse(line.split_once("durable ")?.1)).collect::<Vec<_>>()
        });
        std::thread::sleep(Duration::from_millis(20 + (round * 37) % 120));
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        let durable = listening.join().expect("no panic");

        let (journal, report) = open(folder.path());
        let from = durable.first().map_or(report.next, |[offset, ..]| *offset);
        let records = read(&journal, from);
        for [offset, writer, first, count] in durable {
            for (offset, number) in (offset..offset + count).zip(first..) {
                let (_, found) = &records[usize::try_from(offset - from).expect("small")];
                assert_eq!(*found, record(round, writer, number), "round {round}, offset {offset}");
            }
            said += count;
        }
    }
    assert!(said > ROUNDS, "something was committed: {said}");
}

/// A whole line: the last one may be cut off.
fn parse(line: &str) -> Option<[u64; 4]> {
    let numbers: Vec<_> = line.split(' ').map_while(|number| number.parse().ok()).collect();
    numbers.try_into().ok()
}
