//! Every code of the documented list is answered by something, in the documented form.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use egiz_server::SubmitError;
use serde_json::json;

use crate::harness::{Answer, Server};

const THING: &str = "/api/v1/things/factory:oven-001";

#[tokio::test]
async fn routes_and_methods_that_are_unknown_are_problems_too() {
    let server = Server::start().await;
    Answer::of(server.get("/api/v1/nothing")).await.problem("route-not-found");
    Answer::of(server.get("/api/v2/things")).await.problem("route-not-found");
    Answer::of(server.request("POST", "/nowhere")).await.problem("route-not-found");
    let refused = Answer::of(server.request("DELETE", "/api/v1/things")).await;
    refused.problem("method-not-allowed");
    assert_eq!(refused.header("allow"), Some("GET,HEAD,POST"));
    let options = Answer::of(server.request("OPTIONS", THING)).await;
    assert_eq!((options.status, options.header("allow")), (204, Some("GET,HEAD,PUT,PATCH,DELETE,OPTIONS")));
    assert!(options.header("accept-patch").is_some());
    insta::assert_json_snapshot!(
        "problem",
        Answer::of(server.get(THING).header("correlation-id", "c-1")).await.json()
    );
}

#[tokio::test]
async fn a_refusing_journal_is_told_apart_and_says_when_to_come_back() {
    let server = Server::start().await;
    let table = [
        (SubmitError::Busy { retry_after_s: 3 }, "busy", "3"),
        (SubmitError::NoSpace, "no-space", "30"),
        (SubmitError::ShuttingDown, "shutting-down", "5"),
        (SubmitError::Failed("EIO on /var/lib/egiz/journal".to_owned()), "unavailable", "5"),
    ];
    for (error, code, seconds) in table {
        *server.gate.refuse.lock() = Some(error);
        let answer = server.put_oven("factory:oven-001").await;
        let problem = answer.problem(code);
        assert_eq!(answer.header("retry-after"), Some(seconds));
        assert!(!problem.to_string().contains("/var/lib"), "internals stay inside: {problem}");
    }
    *server.gate.refuse.lock() = Some(SubmitError::NoSpace);
    let lines =
        Answer::of(server.request("POST", "/api/v1/things/import").body("{\"thingId\":\"factory:a\"}\n"))
            .await;
    assert_eq!(lines.lines()[0]["problem"]["code"], "no-space");
    assert_eq!(lines.lines()[1]["summary"]["complete"], false);
}

#[tokio::test]
async fn a_slow_answer_is_cut_off() {
    let server = Server::with(|settings| settings.request_timeout_ms = 50).await;
    server.gate.delay_ms.store(5_000, Ordering::Relaxed);
    server.put_oven("factory:oven-001").await.problem("timeout");
}

#[tokio::test]
async fn a_fault_of_the_program_is_answered_without_its_inside() {
    let server = Server::start().await;
    server.gate.delay_ms.store(-1, Ordering::Relaxed);
    let problem = server.put_oven("factory:oven-001").await.problem("internal");
    assert!(!problem.to_string().contains("gate"), "{problem}");
    assert_eq!(Answer::of(server.get("/api/v1/things")).await.status, 200, "and goes on");
}

#[tokio::test]
async fn health_goes_by_the_parts() {
    let server = Server::start().await;
    for (state, status, word) in
        [(0, 200, "up"), (1, 200, "degraded"), (2, 503, "starting"), (3, 503, "down")]
    {
        server.program.health.store(state, Ordering::Relaxed);
        for path in ["/health", "/api/v1/health"] {
            let answer = Answer::of(server.get(path)).await;
            assert_eq!((answer.status, &answer.json()["status"]), (status, &json!(word)), "{path}");
        }
        assert_eq!(Answer::of(server.get("/health/live")).await.status, 200);
        assert_eq!(Answer::of(server.get("/health/ready")).await.status, status);
    }
    server.program.health.store(0, Ordering::Relaxed);
    insta::assert_json_snapshot!("health", server.read("/health").await);
    let metrics = Answer::of(server.get("/metrics")).await;
    assert!(
        metrics.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text"))
    );
}

#[tokio::test]
async fn security_headers_are_everywhere() {
    let server = Server::start().await;
    for path in ["/", "/api/v1/things", "/api/v1/nothing", "/health"] {
        let answer = Answer::of(server.get(path)).await;
        assert!(
            answer
                .header("content-security-policy")
                .is_some_and(|policy| policy.contains("frame-ancestors 'none'"))
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert!(answer.header("access-control-allow-origin").is_none());
    }
}

/// Walks through the test sources: each code is expected by some test.
#[test]
fn every_code_is_provoked_by_a_test() {
    let sources = [
        include_str!("errors.rs"),
        include_str!("backups.rs"),
        include_str!("conditional.rs"),
        include_str!("corrections.rs"),
        include_str!("things.rs"),
        include_str!("query.rs"),
        include_str!("bulk.rs"),
        include_str!("devices.rs"),
        include_str!("history.rs"),
        include_str!("hostile.rs"),
        include_str!("limits.rs"),
        include_str!("tokens.rs"),
        include_str!("idempotency.rs"),
        include_str!("../live/acks.rs"),
    ]
    .concat();
    let missing: BTreeSet<&str> = egiz_api::Code::ALL
        .iter()
        .map(|code| code.as_str())
        .filter(|code| !sources.contains(*code))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
