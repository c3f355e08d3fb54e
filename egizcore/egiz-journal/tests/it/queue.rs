//! Submitting: room, order, closing, callbacks that misbehave.

use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use egiz_journal::{AppendError, FileJournal, Journal, JournalConfig, JournalMetrics, LINGER_MAX};
use prometheus_client::registry::Registry;

use crate::{NOW_MICROS, append, batch, clock, config, metrics, open, open_with, read, submit};

#[test]
fn a_closed_journal_commits_what_is_queued_and_refuses_the_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());
    let answers: Vec<_> = (0..20_u8).map(|number| submit(&journal, batch(&[[number]]))).collect();
    journal.close();
    for (number, answer) in (0..).zip(answers) {
        assert_eq!(answer.recv().expect("answered").map(|committed| committed.first), Ok(number));
    }
    assert_eq!(append(&journal, batch(&["late"])), Err(AppendError::Closed));
}

#[test]
fn what_is_committed_comes_back_in_order_with_its_bytes_and_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open_with(folder.path(), JournalConfig { linger: LINGER_MAX, ..config() });
    let (done, order) = mpsc::channel();
    for number in 0..200_u8 {
        let done = done.clone();
        let batch = batch(&vec![[number; 3]; usize::from(number) % 4]);
        let permit = journal.reserve_blocking(batch.byte_len());
        journal.submit(batch, permit, Box::new(move |result| done.send(result).expect("somebody waits")));
    }
    drop(done);
    let mut next = 0;
    for (number, answer) in (0..=255_u8).zip(order.iter()) {
        let committed = answer.expect("committed");
        assert_eq!((committed.first, committed.durable_at_micros), (next, NOW_MICROS));
        assert_eq!(committed.batch, batch(&vec![[number; 3]; usize::from(number) % 4]));
        next += committed.batch.len() as u64;
    }
    assert_eq!(next, journal.status().next);
}

#[test]
fn the_queue_is_bounded_and_waiting_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut registry = Registry::default();
    let metrics = JournalMetrics::register(&mut registry);
    let config = JournalConfig { queue_bytes: 4096, ..config() };
    let (journal, _) = FileJournal::open(folder.path(), config, metrics, clock()).expect("it opens");
    let all = journal.try_reserve(1 << 30).expect("more than the whole queue counts as the whole queue");
    assert!(journal.try_reserve(1).is_none(), "there is no room");
    let mut waiting = journal.reserve(1);
    let mut context = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    let mut gave_up = journal.reserve(4096);
    assert!(gave_up.as_mut().poll(&mut context).is_pending());
    drop(gave_up);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| journal.reserve_blocking(2048));
        drop(all);
        thread.join().expect("there is room");
    });
    assert!(matches!(waiting.as_mut().poll(&mut context), Poll::Ready(_)), "there is room");
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
    let waits = text.lines().find_map(|line| line.strip_prefix("egiz_journal_reserve_waits_total "));
    assert!(waits.and_then(|waits| waits.parse::<u32>().ok()).is_some_and(|waits| waits >= 2), "{text}");
}

#[test]
fn a_batch_larger_than_what_is_ever_read_back_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());
    let mut large = egiz_journal::Batch::new();
    large.push_with(|out| out.resize(out.len() + (256 << 20), 0));
    assert!(matches!(append(&journal, large), Err(AppendError::TooLarge { .. })));
    assert_eq!(append(&journal, batch(&["fits"])), Ok(0));
}

#[test]
fn a_callback_that_panics_stops_the_journal_and_everybody_hears_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = open(folder.path());
    let hold = journal.reserve_blocking(1);
    let (begun, has_begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    journal.submit(
        batch(&["first"]),
        hold,
        Box::new(move |_| {
            begun.send(()).expect("somebody waits");
            may_go_on.recv().expect("told to go on");
            panic!("on purpose");
        }),
    );
    has_begun.recv().expect("it runs");
    let second = submit(&journal, batch(&["second"]));
    go_on.send(()).expect("it waits");
    let answer = second.recv_timeout(Duration::from_secs(30)).expect("answered");
    assert!(matches!(answer, Err(AppendError::Io(_))), "{answer:?}");
    assert!(journal.status().failing.is_some());
    assert!(append(&journal, batch(&["third"])).is_err());
    drop(journal);
    assert_eq!(read(&open(folder.path()).0, 0).len(), 1);
}

#[test]
fn the_last_owner_may_let_go_in_a_callback() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = FileJournal::open(folder.path(), config(), metrics(), clock()).expect("it opens");
    let journal = Arc::new(journal);
    let (gone, is_gone) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let mine = Arc::clone(&journal);
    let permit = journal.reserve_blocking(1);
    journal.submit(
        batch(&["last"]),
        permit,
        Box::new(move |_| {
            may_go_on.recv().expect("told to go on");
            drop(mine);
            gone.send(()).expect("somebody waits");
        }),
    );
    drop(journal);
    go_on.send(()).expect("it waits");
    is_gone.recv_timeout(Duration::from_secs(30)).expect("it does not wait for itself");
}
