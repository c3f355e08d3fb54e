//! Where a stream could show too much, too little, or a point to come back to that leaves a hole.

use std::time::Duration;

use egiz_server::live::HubSettings;
use serde_json::json;

use crate::harness::Server;

#[tokio::test]
async fn a_thing_enters_and_leaves_by_a_feature_that_is_not_shown() {
    let server = Server::start().await;
    server.silo("s:a", 10);
    server.put("s:a", "/features/motor", &json!({"properties": {"rpm": 7}}));
    let mut client = server.client().await;
    let wish =
        json!({"filter": "gt(features/level/properties/percent,50)", "fields": "motor", "snapshot": false});
    client.subscribe(wish).await;
    server.level("s:a", 60);
    let entered = client.next().await;
    assert_eq!(entered["event"], "ThingEntered");
    assert_eq!(entered["thing"]["features"], json!({"motor": {"properties": {"rpm": 7}}}));
    server.level("s:a", 70);
    server.level("s:a", 5);
    assert_eq!(client.next().await["event"], "ThingLeft", "a change of what is not shown is not heard of");
}

#[tokio::test]
async fn a_new_thing_is_cut_down_to_the_wanted_features() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.subscribe(json!({"fields": "motor", "snapshot": false})).await;
    server.put(
        "s:a",
        "",
        &json!({"features": {"motor": {"properties": {"rpm": 7}}, "level": {"properties": {"percent": 1}}}}),
    );
    let created = client.next().await;
    assert_eq!(created["event"], "ThingCreated");
    assert_eq!(created["thing"]["features"], json!({"motor": {"properties": {"rpm": 7}}}));
}

#[tokio::test]
async fn who_resumes_hears_of_the_own_things_only_and_of_those_that_are_gone() {
    let server = Server::start().await;
    server.silo("s:a", 1);
    server.silo("s:b", 1);
    server.delete("s:b", "");
    // Takes the place that the other left.
    server.silo("s:c", 1);
    server.level("s:a", 2);
    server.delete("s:a", "");
    let mut client = server.client().await;
    assert_eq!(client.subscribe(json!({"thingId": "s:a", "from": 0})).await["resumed"], true);
    let mut heard = Vec::new();
    for _ in 0..3 {
        let event = client.next().await;
        assert_eq!(event["thingId"], "s:a");
        heard.push(event["event"].as_str().expect("a name").to_owned());
    }
    assert_eq!(heard, ["ThingCreated", "StateChanged", "ThingDeleted"]);
}

#[tokio::test]
async fn a_snapshot_does_not_claim_to_be_newer_than_where_the_stream_begins() {
    let server = Server::start().await;
    for silo in 0..1000 {
        server.silo(&format!("s:{silo}"), 1);
    }
    let mut client = server.client().await;
    let answer = client.subscribe(json!({})).await;
    server.level("s:0", 2);
    let mut chunks = 0;
    loop {
        let frame = client.next().await;
        assert_eq!((&frame["event"], &frame["offset"]), (&json!("Snapshot"), &answer["offset"]));
        chunks += 1;
        if frame["more"] == false {
            break;
        }
    }
    assert!(chunks > 1, "a large snapshot comes in pieces");
    assert_eq!(client.next().await["event"], "StateChanged");
}

/// With one thread, the server does not run while a test writes: the mailbox fills for certain.
#[tokio::test]
async fn what_was_removed_while_a_client_slept_is_not_kept_by_it() {
    let server = Server::with(HubSettings { mailbox_events: 2, ..HubSettings::default() }).await;
    for silo in ["s:a", "s:b", "s:c"] {
        server.silo(silo, 1);
        server.put(silo, "/features/level/properties/spare", &json!(5));
    }
    let mut client = server.client().await;
    let answer = client.subscribe(json!({"snapshot": false})).await;
    server.delete("s:a", "/features/level/properties/spare");
    server.level("s:b", 2);
    server.level("s:b", 3);
    server.delete("s:c", "");
    let mut frames = Vec::new();
    for _ in 0..3 {
        frames.push(client.next().await);
    }
    assert_eq!(frames[0]["conflated"], 4);
    assert_eq!((&frames[0]["event"], &frames[0]["thingId"]), (&json!("StateChanged"), &json!("s:a")));
    assert_eq!((&frames[0]["properties"], &frames[0]["complete"]), (&json!({"percent": 1}), &json!(true)));
    assert_eq!(
        (&frames[1]["event"], &frames[1]["properties"]["percent"]),
        (&json!("StateChanged"), &json!(3))
    );
    assert_eq!((&frames[2]["event"], &frames[2]["thingId"]), (&json!("ThingDeleted"), &json!("s:c")));

    // Who comes back after the first of them must get the others again, so only the last says where to go on.
    assert_eq!((frames[0].get("next"), frames[1].get("next")), (None, None));
    let mut again = server.client().await;
    let resumed = again.subscribe(json!({"from": frames[2]["next"]})).await;
    assert_eq!((&resumed["resumed"], answer["offset"] == frames[2]["next"]), (&json!(true), false));
    server.level("s:b", 4);
    assert_eq!(again.next().await["properties"]["percent"], 4, "and nothing twice");
}

#[tokio::test]
async fn a_quiet_subscription_is_told_the_offset_in_its_own_time() {
    let settings = HubSettings { bookmark_interval: Duration::from_millis(200), ..HubSettings::default() };
    let server = Server::with(settings).await;
    let mut client = server.client().await;
    client.subscribe(json!({"thingId": "s:a", "snapshot": false})).await;
    server.silo("s:b", 1);
    server.silo("s:b", 2);
    let bookmark = client.next().await;
    assert_eq!((&bookmark["event"], &bookmark["offset"]), (&json!("Bookmark"), &json!(2)));
}

#[tokio::test]
async fn a_frame_beyond_the_limit_is_answered_with_the_reason() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.say_raw(&"x".repeat(70_000)).await;
    assert_eq!(client.next().await, json!({"close": 1009}));
    let mut client = server.client().await;
    client.stream_binary(vec![1, 2, 3]).await;
    assert_eq!(client.next().await, json!({"close": 1003}));
}

#[tokio::test]
async fn a_write_without_a_value_is_refused_rather_than_taken_for_null() {
    let server = Server::start().await;
    server.silo("s:a", 1);
    let mut client = server.client().await;
    client.say(&json!({"id": 1, "action": "put", "thingId": "s:a", "path": "/attributes/type"})).await;
    let answer = client.next().await;
    assert_eq!((&answer["ok"], &answer["problem"]["code"]), (&json!(false), &json!("malformed-request")));
}

#[tokio::test]
async fn commands_and_subscriptions_are_bounded() {
    let settings = HubSettings {
        subscriptions_per_client_max: 2,
        commands_per_second_max: 5,
        clients_max: 1,
        ..HubSettings::default()
    };
    let server = Server::with(settings).await;
    let mut client = server.client().await;
    assert!(server.try_client().await.is_err(), "there is one place");
    for expected in [json!(true), json!(true), json!(false)] {
        client.say(&json!({"id": 1, "action": "subscribe", "thingId": "s:a", "snapshot": false})).await;
        assert_eq!(client.next().await["ok"], expected);
    }
    let mut refused = 0;
    for _ in 0..20 {
        client.say(&json!({"id": 2, "action": "ping"})).await;
        refused += u32::from(client.next().await["problem"]["code"] == "rate-limited");
    }
    assert!(refused > 0, "more commands than allowed");
}
