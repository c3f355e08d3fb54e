//! The real process killed at random moments: what it said is durable must be there.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use egiz_journal::{FileJournal, JournalConfig};

use crate::{append, batch, config, metrics, read};

const ROUNDS: u64 = 30;

/// Not a test of its own: the child of the test below runs it until it is killed.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Some(folder) = std::env::var_os("EGIZ_JOURNAL_CRASH_CHILD") else { return };
    let (journal, report) =
        FileJournal::open(folder.as_ref(), JournalConfig { segment_bytes: 8192, ..config() }, metrics())
            .expect("it opens");
    for number in report.next.. {
        append(&journal, batch(&[number.to_le_bytes()])).expect("committed");
        let mut out = std::io::stdout().lock();
        writeln!(out, "durable {number}").and_then(|()| out.flush()).expect("somebody listens");
    }
}

#[test]
fn what_was_said_to_be_durable_survives_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut durable = None;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "crash::child_that_appends_until_it_is_killed", "--nocapture"])
            .env("EGIZ_JOURNAL_CRASH_CHILD", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let listening = std::thread::spawn(move || {
            out.lines()
                .map_while(Result::ok)
                .filter_map(|line| line.rsplit_once("durable ")?.1.parse::<u64>().ok())
                .last()
        });
        std::thread::sleep(Duration::from_millis(40 + (round * 37) % 160));
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        durable = listening.join().expect("no panic").or(durable);

        let (journal, _) =
            FileJournal::open(folder.path(), config(), metrics()).expect("it opens after a crash");
        let records = read(&journal, 0);
        for (offset, record) in &records {
            assert_eq!(*record, offset.to_le_bytes());
        }
        assert!(records.len() as u64 >= durable.map_or(0, |number| number + 1), "round {round}: {durable:?}");
    }
    assert!(durable.is_some(), "something was committed");
}
