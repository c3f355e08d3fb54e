//! The table of kept answers, against its bounds.

use super::*;
use prometheus_client::registry::Registry;

fn answers(entries_max: usize, bytes_max: usize) -> Answers {
    let settings = IdempotencySettings { entries_max, bytes_max, kept_s: 10 };
    Answers::new(settings, ServerMetrics::register(&mut Registry::default()))
}

fn key(number: u64) -> Hash {
    hash(&[&number.to_le_bytes()])
}

fn response(status: u16, body: &str) -> Response {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

impl Verdict {
    fn word(&self) -> &'static str {
        match self {
            Self::Go(_) => "go",
            Self::Replay(_) => "replay",
            Self::UnderWay => "under way",
            Self::Reused => "reused",
            Self::Full => "full",
        }
    }
}

async fn carry_out(answers: &Answers, number: u64, status: u16, body: &str, now_s: i64) {
    let Verdict::Go(turn) = answers.begin(key(number), key(0), now_s * 1_000_000) else {
        panic!("not the first")
    };
    turn.answered(response(status, body)).await;
}

#[tokio::test]
async fn one_key_is_carried_out_once() {
    let answers = answers(10, 1_000_000);
    let Verdict::Go(turn) = answers.begin(key(1), key(7), 0) else { panic!("the first") };
    assert_eq!(answers.begin(key(1), key(7), 0).word(), "under way");
    assert_eq!(answers.begin(key(1), key(8), 0).word(), "reused");
    assert_eq!(answers.begin(key(2), key(7), 0).word(), "go", "another key");
    turn.answered(response(201, "made")).await;
    let Verdict::Replay(kept) = answers.begin(key(1), key(7), 9_000_000) else { panic!("kept") };
    let replayed = kept.response();
    assert_eq!(
        (replayed.status(), replayed.headers()[REPLAYED].as_bytes()),
        (StatusCode::CREATED, &b"true"[..])
    );
    assert_eq!(axum::body::to_bytes(replayed.into_body(), 100).await.expect("a body"), "made");
    assert_eq!(answers.begin(key(1), key(8), 9_000_000).word(), "reused");
    assert_eq!(answers.begin(key(1), key(8), 10_000_000).word(), "go", "after its time");
}

#[tokio::test]
async fn what_was_not_done_is_not_kept() {
    let answers = answers(10, 1_000_000);
    for status in [400, 409, 412, 503] {
        carry_out(&answers, 1, status, "no", 0).await;
        assert_eq!(answers.begin(key(1), key(0), 0).word(), "go", "{status}");
    }
    drop(answers.begin(key(1), key(0), 0));
    assert_eq!(answers.begin(key(1), key(0), 0).word(), "go", "a handler that broke off");
    assert_eq!(answers.0.table.lock().bytes, 0);
}

#[tokio::test]
async fn number_and_bytes_are_bounded_and_the_oldest_goes_first() {
    let answers = answers(3, 10_000);
    let Verdict::Go(slow) = answers.begin(key(1), key(0), 0) else { panic!("the first") };
    carry_out(&answers, 2, 200, "two", 0).await;
    carry_out(&answers, 3, 200, "three", 0).await;
    carry_out(&answers, 4, 200, "four", 0).await;
    assert_eq!(answers.begin(key(2), key(0), 0).word(), "go", "forgotten, and the turn given back");
    assert_eq!(answers.begin(key(1), key(0), 0).word(), "under way", "never forgotten");
    assert_eq!(answers.begin(key(4), key(0), 0).word(), "replay");
    let Verdict::Go(second) = answers.begin(key(5), key(0), 0) else { panic!("room") };
    let Verdict::Go(third) = answers.begin(key(6), key(0), 0) else { panic!("room") };
    assert_eq!(answers.begin(key(7), key(0), 0).word(), "full");
    second.answered(response(200, &"x".repeat(9_900))).await;
    assert_eq!(answers.begin(key(5), key(0), 0).word(), "go", "it alone is too large");
    drop((slow, third));
    let table = answers.0.table.lock();
    assert!(table.bytes <= 10_000 && table.order.len() <= 8, "{} {}", table.bytes, table.order.len());
}
