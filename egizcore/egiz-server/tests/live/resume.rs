//! Coming back: what was missed, all of it and nothing else, or being told that it is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use egiz_server::live::HubSettings;
use serde_json::{Value, json};

use crate::harness::{Client, Server};

const HALF_FULL: &str = "gt(features/level/properties/percent,50)";

/// Reads frames up to the first with this level; each as event, Thing and level.
async fn heard(client: &mut Client, last: i64) -> Vec<(String, String, Value)> {
    let mut heard = Vec::new();
    loop {
        let frame = client.next().await;
        let level = frame["properties"]["percent"].clone();
        let text = |name: &str| frame[name].as_str().unwrap_or_default().to_owned();
        heard.push((text("event"), text("thingId"), level.clone()));
        if level == last {
            return heard;
        }
    }
}

#[tokio::test]
async fn a_filter_goes_on_with_what_entered_and_left_meanwhile() {
    let server = Server::start().await;
    for silo in ["s:a", "s:b", "s:c"] {
        server.silo(silo, 60);
    }
    let mut client = server.client().await;
    client.subscribe(json!({"filter": HALF_FULL})).await;
    let next = client.next().await["next"].clone();
    drop(client);
    server.level("s:a", 70);
    server.level("s:b", 10);
    server.level("s:b", 11);
    server.silo("s:d", 80);
    server.delete("s:c", "");
    server.level("s:b", 90);
    server.level("s:a", 99);

    let mut client = server.client().await;
    let answer = client.subscribe(json!({"filter": HALF_FULL, "from": next})).await;
    assert_eq!(answer["resumed"], true);
    let heard = heard(&mut client, 99).await;
    let heard: Vec<_> = heard.iter().map(|(event, thing, _)| (event.as_str(), thing.as_str())).collect();
    let expected = [
        ("StateChanged", "s:a"),
        ("ThingLeft", "s:b"),
        ("ThingCreated", "s:d"),
        ("ThingDeleted", "s:c"),
        ("ThingEntered", "s:b"),
        ("StateChanged", "s:a"),
    ];
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn a_filter_that_nobody_followed_back_then_is_resynced() {
    let server = Server::start().await;
    server.silo("s:a", 60);
    server.level("s:a", 70);
    let mut client = server.client().await;
    let answer = client.subscribe(json!({"filter": HALF_FULL, "from": 1})).await;
    assert_eq!(answer["resumed"], false);
    assert_eq!(client.next().await["event"], "Resync");
    assert_eq!(client.next().await["things"][0]["thingId"], "s:a");
}

#[tokio::test]
async fn only_so_many_filters_are_followed_for_those_who_may_come_back() {
    let server = Server::with(HubSettings { lingering_filters_max: 1, ..HubSettings::default() }).await;
    let other = "gt(features/level/properties/percent,20)";
    for filter in [HALF_FULL, other] {
        let mut client = server.client().await;
        client.subscribe(json!({"filter": filter, "snapshot": false})).await;
        drop(client);
        server.no_subscriptions().await;
    }
    server.silo("s:a", 60);
    let mut client = server.client().await;
    for (filter, resumed) in [(other, true), (HALF_FULL, false)] {
        assert_eq!(client.subscribe_quietly(json!({"filter": filter, "from": 0})).await["resumed"], resumed);
    }
}

#[tokio::test]
async fn more_than_a_mailbox_holds_is_caught_up_with_one_by_one() {
    let settings = HubSettings { mailbox_events: 8, ..HubSettings::default() };
    let server = Server::with(settings).await;
    server.silo("s:a", 0);
    for level in 1..=3000 {
        server.level("s:a", level);
    }
    for mode in ["conflate", "lossless"] {
        let mut client = server.client().await;
        let answer = client.subscribe(json!({"thingId": "s:a", "from": 1, "mode": mode})).await;
        assert_eq!(answer["resumed"], true);
        let heard = heard(&mut client, 3000).await;
        let levels: Vec<_> = heard.iter().filter_map(|(.., level)| level.as_i64()).collect();
        assert_eq!(levels, (1..=3000).collect::<Vec<_>>(), "{mode}");
    }
}

#[tokio::test]
async fn changes_of_one_write_are_not_torn_apart() {
    let server = Server::start().await;
    server.put(
        "s:a",
        "",
        &json!({"features": {"f": {"properties": {"x": 1}}, "g": {"properties": {"y": 1}}}}),
    );
    let mut client = server.client().await;
    client.subscribe(json!({"snapshot": false})).await;
    server.put("s:a", "/features", &json!({"f": {"properties": {"x": 2}}, "g": {"properties": {"y": 2}}}));
    let (first, second) = (client.next().await, client.next().await);
    assert_eq!(first["offset"], second["offset"]);
    let mut again = server.client().await;
    again.subscribe(json!({"from": first["next"]})).await;
    assert_eq!(again.next().await["feature"], "f", "the write comes once more, as a whole");
    assert_eq!(again.next().await["feature"], "g");
    let mut again = server.client().await;
    again.subscribe(json!({"from": second["next"]})).await;
    server.put("s:a", "/features/f/properties/x", &json!(3));
    assert_eq!(again.next().await["properties"]["x"], 3, "behind it nothing comes twice");
}

#[tokio::test]
async fn what_is_kept_is_bounded_by_bytes_too() {
    let server = Server::with(HubSettings { ring_bytes: 20_000, ..HubSettings::default() }).await;
    server.silo("s:a", 0);
    for _ in 0..10 {
        server.put("s:a", "/features/level/properties/note", &json!("x".repeat(9000)));
        server.put("s:a", "/features/level/properties/note", &json!("short"));
    }
    let mut client = server.client().await;
    assert_eq!(client.subscribe_quietly(json!({"from": 1})).await["resumed"], false);
    let newest = server.engine.read().next_offset() - 1;
    assert_eq!(client.subscribe_quietly(json!({"from": newest})).await["resumed"], true);
}

/// Drops the connection again and again, at any frame, and goes on where it was; what is known is never wrong for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_breaks_off_anywhere_ends_with_the_truth() {
    let settings = HubSettings { mailbox_events: 4, ring_events: 40, ..HubSettings::default() };
    let server = Server::with(settings).await;
    let mut seed = 7_u64;
    let mut chance = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut known: BTreeMap<String, i64> = BTreeMap::new();
    let mut next = Value::Null;
    for round in 0..60 {
        let mut client = server.client().await;
        let mut wish = json!({"filter": HALF_FULL});
        if !next.is_null() {
            wish["from"] = next.clone();
        }
        client.subscribe(wish).await;
        for _ in 0..chance(80) {
            let silo = format!("s:{}", chance(6));
            match chance(8) {
                0 => server.delete(&silo, ""),
                _ => server.silo(&silo, i64::try_from(chance(100)).expect("small")),
            }
        }
        let frames = if round == 59 { u64::MAX } else { chance(12) };
        for _ in 0..frames {
            let Ok(frame) = tokio::time::timeout(Duration::from_millis(300), client.next()).await else {
                break;
            };
            let id = frame["thingId"].as_str().unwrap_or_default().to_owned();
            let mut take = |thing: &Value| {
                let level = thing["features"]["level"]["properties"]["percent"].as_i64().expect("a level");
                known.insert(thing["thingId"].as_str().expect("an id").to_owned(), level);
            };
            match frame["event"].as_str().expect("an event") {
                "Resync" => known.clear(),
                "Snapshot" => frame["things"].as_array().expect("Things").iter().for_each(take),
                "ThingCreated" | "ThingEntered" => match frame.get("thing") {
                    Some(thing) => take(thing),
                    None => drop(known.remove(&id)),
                },
                "ThingDeleted" | "ThingLeft" => drop(known.remove(&id)),
                "StateChanged" => {
                    if let Some(level) = frame["properties"]["percent"].as_i64() {
                        known.insert(id, level);
                    }
                }
                _ => {}
            }
            if let Some(place) = frame.get("next") {
                next = place.clone();
            }
        }
    }
    let truth: BTreeMap<String, i64> = {
        let engine = server.engine.read();
        let levels = engine.things().map(|thing| {
            let level = thing.get("/features/level/properties/percent").and_then(|level| level.as_i64());
            (thing.id().to_string(), level.expect("a level"))
        });
        levels.filter(|(_, level)| *level > 50).collect()
    };
    assert_eq!(known, truth);
}
