//! Playbacks over real sockets, held against what the history API says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use egiz_historian::disk::Folder;
use egiz_historian::{Historian, Settings};
use egiz_model::record::format::{DEPTH_MAX, ItemReader};
use egiz_model::{Quality, QualityReason, Timestamp};
use egiz_server::ServerSettings;
use egiz_server::live::HubSettings;
use serde_json::{Value, json};

use crate::harness::{Client, NOW, Server};

/// The plant's past begins so many seconds before now.
const PAST_S: i64 = 7200;

fn second(second: i64) -> Timestamp {
    Timestamp::from_seconds(NOW - PAST_S + second)
}

/// What machines said, in a folder that goes with the test.
struct Past {
    historian: Arc<Historian>,
    _folder: tempfile::TempDir,
}

impl Past {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Arc::new(Folder::open(folder.path()).expect("a folder"));
        let (historian, _) = Historian::open(disk, Settings::default()).expect("it opens");
        Self { historian: Arc::new(historian), _folder: folder }
    }

    /// Says a value; `null` of a good quality is that the property is gone.
    fn say(&self, thing: &str, at: i64, property: &str, value: &Value, quality: Quality) {
        let mut intake = self.historian.intake();
        let received = second(at + i64::from(at % 7 == 0) * 3);
        let mut row = intake.row(thing, "machine", second(at), received);
        let (feature, property) = property.split_once('/').expect("feature/property");
        if value.is_null() && quality == Quality::Good {
            return row.remove(feature, property);
        }
        let mut bytes = Vec::new();
        egiz_model::Value::from_json(value).encode(&mut bytes);
        let value = ItemReader::new(&bytes).value(DEPTH_MAX).expect("just written");
        let reason = if quality == Quality::Good { QualityReason::None } else { QualityReason::NoValue };
        row.set(feature, property, &value, quality, reason);
    }

    fn seal(&self) {
        self.historian.seal(Timestamp::from_seconds(NOW)).expect("sealed");
    }

    /// Some machines that said different things for two hours; one came late, and one was taken away.
    fn of_a_plant() -> Self {
        let past = Self::new();
        let good = Quality::Good;
        for at in 0..PAST_S - 10 {
            for number in (0..5).filter(|number| (at + number) % 10 == 0) {
                let thing = format!("factory:silo-{number}");
                let quality = if at % 50 == 0 { Quality::Bad } else { good };
                past.say(
                    &thing,
                    at,
                    "level/percent",
                    &json!((at * (number + 1) % 977) as f64 / 10.0),
                    quality,
                );
                if at % 30 == 0 {
                    past.say(&thing, at, "level/zones", &json!([at, -at, number]), good);
                    past.say(&thing, at, "status/word", &json!(["idle", "full"][at as usize / 30 % 2]), good);
                }
            }
            match at {
                3000 => past.say("factory:late", at, "level/percent", &json!(1), good),
                4000 => past.say("factory:silo-4", at, "status/word", &Value::Null, good),
                2500 | 5000 => past.seal(),
                _ => {}
            }
        }
        past.say("factory:gone", 100, "level/percent", &json!(7), good);
        past.say("factory:gone", 3500, "level/percent", &Value::Null, good);
        // What comes late is where it belongs.
        past.say("factory:silo-0", 1001, "level/percent", &json!(55.5), good);
        past
    }

    async fn server(&self) -> Server {
        self.server_with(HubSettings::default()).await
    }

    async fn server_with(&self, settings: HubSettings) -> Server {
        Server::with_all(settings, ServerSettings::default(), Some(Arc::clone(&self.historian))).await
    }
}

/// Thing, feature, property.
type Name = (String, String, String);

/// A client that shows what it is told.
#[derive(Default)]
struct Screen {
    shown: BTreeMap<Name, Value>,
    time: Option<Timestamp>,
    seq: u64,
    values: u64,
    conflated: u64,
    /// Whether a key frame has begun and not ended.
    is_partial: bool,
}

fn moment(value: &Value) -> Timestamp {
    Timestamp::parse(value.as_str().expect("a moment")).expect("a moment")
}

fn samples(things: &Value) -> Vec<(Name, Value)> {
    let mut samples = Vec::new();
    for thing in things.as_array().expect("Things") {
        for (feature, content) in thing["features"].as_object().expect("features") {
            for (property, sample) in content["properties"].as_object().expect("properties") {
                let id = thing["thingId"].as_str().expect("an id").to_owned();
                samples.push(((id, feature.clone(), property.clone()), sample.clone()));
            }
        }
    }
    samples
}

impl Screen {
    fn take(&mut self, frame: &Value) {
        self.seq += 1;
        assert_eq!(frame["seq"], json!(self.seq), "no gap: {frame}");
        match frame["event"].as_str() {
            Some("KeyFrame") => {
                if !self.is_partial {
                    self.shown.clear();
                }
                self.shown.extend(samples(&frame["things"]));
                self.is_partial = frame["more"] == true;
                self.time = Some(moment(&frame["at"]));
            }
            Some("Changes") => {
                assert!(
                    self.time == Some(moment(&frame["after"])) || self.time == Some(moment(&frame["time"]))
                );
                for (name, sample) in samples(&frame["things"]) {
                    self.values += 1;
                    let time = moment(&sample["time"]);
                    assert!(time > moment(&frame["after"]) && time <= moment(&frame["time"]), "{frame}");
                    match sample["removed"] == true {
                        true => self.shown.remove(&name),
                        false => self.shown.insert(name, sample),
                    };
                }
                self.conflated += frame["conflated"].as_u64().unwrap_or_default();
                if frame["more"] == false {
                    self.time = Some(moment(&frame["time"]));
                }
            }
            Some("Position" | "Ended") => self.time = Some(moment(&frame["time"])),
            other => panic!("{other:?}: {frame}"),
        }
    }

    /// Takes frames until one of this name that is complete.
    async fn until(&mut self, client: &mut Client, event: &str) -> Value {
        loop {
            let frame = client.next().await;
            self.take(&frame);
            if frame["event"] == event && frame["more"] != true {
                return frame;
            }
        }
    }

    /// Takes frames until the plant's time is this or later.
    async fn until_time(&mut self, client: &mut Client, time: Timestamp) {
        while self.time.is_none_or(|known| known < time) || self.is_partial {
            let frame = client.next().await;
            self.take(&frame);
        }
    }

    /// Holds what is shown against `GET /api/v1/state`.
    async fn check(&self, server: &Server) {
        let at = self.time.expect("a key frame came");
        let known = state_at(server, at).await;
        assert_eq!(self.shown, known, "at {at}");
    }
}

async fn get(server: &Server, path: &str) -> Value {
    let answer = reqwest::get(format!("http://{}{path}", server.address)).await.expect("an answer");
    assert_eq!(answer.status(), 200, "{path}");
    serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
}

async fn state_at(server: &Server, at: Timestamp) -> BTreeMap<Name, Value> {
    let mut known = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = get(server, &format!("/api/v1/state?at={at}&limit=200{cursor}")).await;
        known.extend(samples(&page["items"]));
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return known,
        }
    }
}

impl Client {
    async fn tell(&mut self, screen: &mut Screen, command: Value) -> Value {
        let mut command = command;
        command["id"] = json!("c");
        self.say(&command).await;
        loop {
            let frame = self.next().await;
            if frame["id"] == "c" {
                return frame;
            }
            screen.take(&frame);
        }
    }

    /// Begins a playback; its number.
    async fn play(&mut self, screen: &mut Screen, mut wish: Value) -> Value {
        wish["action"] = json!("play");
        let answer = self.tell(screen, wish).await;
        assert_eq!(answer["ok"], true, "{answer}");
        answer["playback"].clone()
    }
}

#[tokio::test]
async fn what_is_played_is_what_history_says_at_any_time() {
    let past = Past::of_a_plant();
    let server = past.server().await;
    let mut client = server.client().await;
    let mut screen = Screen::default();
    client.play(&mut screen, json!({"at": second(60), "until": second(4500), "speed": 1800})).await;
    screen.until(&mut client, "KeyFrame").await;
    screen.check(&server).await;
    assert!(!screen.shown.keys().any(|(thing, ..)| thing == "factory:late"), "it has said nothing yet");
    let mut checks = 0;
    loop {
        let frame = client.next().await;
        screen.take(&frame);
        if frame["event"] == "Ended" {
            assert_eq!((&frame["reason"], moment(&frame["time"])), (&json!("until"), second(4500)));
            break;
        }
        screen.check(&server).await;
        checks += 1;
    }
    assert!(checks >= 10, "{checks}");
    screen.check(&server).await;
    assert!(screen.shown.keys().any(|(thing, ..)| thing == "factory:late"));
    assert!(!screen.shown.keys().any(|(thing, ..)| thing == "factory:gone"));
    assert!(screen.conflated > 0 && server.metric("egiz_server_playback_conflated_values_total") > 0.0);
}

#[tokio::test]
async fn up_to_sixty_fold_every_value_is_played_or_counted() {
    let past = Past::of_a_plant();
    let server = past.server().await;
    let mut client = server.client().await;
    let mut screen = Screen::default();
    client
        .play(&mut screen, json!({"at": second(960), "until": second(1080), "speed": 60, "tickMs": 50}))
        .await;
    screen.until(&mut client, "Ended").await;
    screen.check(&server).await;
    let mut samples = 0;
    for number in 0..5 {
        // The range of a playback ends with its end, that of a history before it.
        let (from, to) = (second(960).plus_micros(1), second(1080).plus_micros(1));
        let path = format!("/api/v1/things/silo-{number}/history?from={from}&to={to}&limit=10000");
        for property in get(&server, &path).await["properties"].as_array().expect("properties") {
            samples += property["samples"].as_array().expect("samples").len() as u64;
        }
    }
    assert_eq!(screen.values + screen.conflated, samples);
    assert!(screen.values > samples / 2, "{} of {samples}", screen.values);
}

#[tokio::test]
async fn it_goes_back_and_forth_by_seeks_and_steps_and_changes_its_speed() {
    let past = Past::of_a_plant();
    let server = past.server().await;
    let mut client = server.client().await;
    let mut screen = Screen::default();
    let playback = client.play(&mut screen, json!({"at": second(5000), "speed": 50})).await;
    screen.until_time(&mut client, second(5020)).await;
    screen.check(&server).await;
    for at in [100, 6000, 2499, 0] {
        let seek = json!({"action": "seek", "playback": playback, "at": second(at)});
        let answer = client.tell(&mut screen, seek).await;
        assert_eq!((answer["ok"].as_bool(), moment(&answer["time"])), (Some(true), second(at)));
        let frame = client.next().await;
        assert_eq!(
            (&frame["event"], moment(&frame["at"])),
            (&json!("KeyFrame"), second(at)),
            "nothing of before"
        );
        screen.take(&frame);
        screen.check(&server).await;
        screen.until_time(&mut client, second(at + 15)).await;
        screen.check(&server).await;
    }
    let speed = json!({"action": "speed", "playback": playback, "speed": 1000});
    client.tell(&mut screen, speed).await;
    screen.until_time(&mut client, second(1000)).await;
    screen.check(&server).await;
    client.tell(&mut screen, json!({"action": "pause", "playback": playback})).await;
    let step = |by: Value| json!({"action": "step", "playback": playback, "by": by});
    client.tell(&mut screen, json!({"action": "seek", "playback": playback, "at": second(1000)})).await;
    screen.until(&mut client, "KeyFrame").await;
    client.tell(&mut screen, step(json!("next"))).await;
    screen.until(&mut client, "Position").await;
    assert_eq!(screen.time, Some(second(1001)), "the one that came late");
    screen.check(&server).await;
    client.tell(&mut screen, step(json!("previous"))).await;
    screen.until(&mut client, "KeyFrame").await;
    assert_eq!(screen.time, Some(second(1000)));
    client.tell(&mut screen, step(json!(-20.5))).await;
    screen.until(&mut client, "KeyFrame").await;
    assert_eq!(screen.time, Some(second(979).plus_micros(500_000)));
    screen.check(&server).await;
    client.tell(&mut screen, step(json!(3600))).await;
    screen.until(&mut client, "Position").await;
    assert_eq!(screen.time, Some(second(979 + 3600).plus_micros(500_000)));
    screen.check(&server).await;
    client.tell(&mut screen, json!({"action": "resume", "playback": playback})).await;
    screen.until_time(&mut client, second(5000)).await;
    let answer = client.tell(&mut screen, json!({"action": "stop", "playback": playback})).await;
    assert_eq!(answer["ok"], true);
    client.say(&json!({"id": "quiet?", "action": "ping"})).await;
    assert_eq!(client.next().await["event"], "Pong", "nothing more comes");
    assert_eq!(server.metric("egiz_server_playback_players"), 0.0);
}

#[tokio::test]
async fn only_what_is_asked_for_is_played() {
    let past = Past::of_a_plant();
    let server = past.server().await;
    for number in 0..5 {
        let attributes = json!({"type": "silo", "number": number});
        server.put(&format!("factory:silo-{number}"), "", &json!({"attributes": attributes}));
    }
    let mut client = server.client().await;
    let whole = state_at(&server, second(2100)).await;
    for (wish, expected) in [
        (json!({"thingId": "silo-3"}), vec!["factory:silo-3"]),
        (json!({"thingIds": ["silo-3", "gone", "silo-3"]}), vec!["factory:gone", "factory:silo-3"]),
        (json!({"filter": "lt(attributes/number,2)"}), vec!["factory:silo-0", "factory:silo-1"]),
        (json!({"filter": {"type": "oven"}}), vec![]),
    ] {
        for fields in [None, Some("status")] {
            let mut wish = wish.clone();
            wish["at"] = json!(second(2000));
            wish["until"] = json!(second(2100));
            wish["speed"] = json!(1000);
            wish["fields"] = json!(fields);
            let mut screen = Screen::default();
            let playback = client.play(&mut screen, wish).await;
            screen.until(&mut client, "Ended").await;
            client.tell(&mut screen, json!({"action": "stop", "playback": playback})).await;
            let mut known = whole.clone();
            known.retain(|(thing, feature, _), _| {
                expected.contains(&thing.as_str()) && fields.is_none_or(|wanted| wanted == feature)
            });
            assert_eq!(screen.shown, known);
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_gets_the_last_values_and_no_backlog() {
    let past = Past::new();
    let words: Vec<Value> = (0..10).map(|word| json!(format!("{word} {}", "x".repeat(20_000)))).collect();
    for at in 0..600 {
        for number in 0..20 {
            let word = &words[(at + number) as usize % words.len()];
            past.say(&format!("factory:silo-{number}"), at, "level/text", word, Quality::Good);
        }
    }
    past.seal();
    let server = past.server().await;
    let mut client = server.client().await;
    let mut screen = Screen::default();
    client.play(&mut screen, json!({"at": second(0), "until": second(500), "speed": 60, "tickMs": 50})).await;
    screen.until(&mut client, "KeyFrame").await;
    // 8 MB a second: far more than a socket holds.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let values = server.metric("egiz_server_playback_values_total");
    assert!(values < 20.0 * 60.0, "it waits for its client: {values}");
    screen.until(&mut client, "Ended").await;
    screen.check(&server).await;
    assert_eq!(screen.values + screen.conflated, 20 * 500);
    // One that reads gets every third value at this speed.
    assert!(screen.values < 20 * 150, "{}", screen.values);
}

#[tokio::test]
async fn the_key_frame_of_ten_thousand_things_comes_in_bounded_pieces() {
    let past = Past::new();
    for number in 0..10_000 {
        let thing = format!("factory:machine-{number:05}");
        past.say(&thing, number % 600, "level/percent", &json!(number), Quality::Good);
    }
    past.seal();
    for number in 0..10_000 {
        past.say(
            &format!("factory:machine-{number:05}"),
            1000,
            "level/percent",
            &json!(-number),
            Quality::Good,
        );
    }
    let server = past.server().await;
    let mut client = server.client().await;
    let mut screen = Screen::default();
    client.play(&mut screen, json!({"at": second(999), "until": second(1001), "speed": 1})).await;
    let mut pieces = 0;
    while screen.is_partial || pieces == 0 {
        let frame = client.next().await;
        assert!(frame.to_string().len() < 300_000);
        screen.take(&frame);
        pieces += 1;
    }
    assert_eq!(screen.shown.len(), 10_000);
    assert!(pieces >= 10, "{pieces}");
    screen.until(&mut client, "Ended").await;
    assert_eq!((screen.values, screen.conflated), (10_000, 0));
    assert!(screen.shown.iter().all(|(_, sample)| sample["value"].as_i64().is_some_and(|value| value <= 0)));
}

#[tokio::test]
async fn at_the_present_it_ends() {
    let past = Past::of_a_plant();
    let server = past.server().await;
    let mut client = server.client().await;
    let mut screen = Screen::default();
    let playback = client.play(&mut screen, json!({"at": second(PAST_S - 100), "speed": 100})).await;
    let ended = screen.until(&mut client, "Ended").await;
    assert_eq!((&ended["reason"], moment(&ended["time"])), (&json!("live-edge"), second(PAST_S - 2)));
    screen.check(&server).await;
    client.tell(&mut screen, json!({"action": "resume", "playback": playback})).await;
    screen.until(&mut client, "Ended").await;
    // From there back is as good as from anywhere.
    client.tell(&mut screen, json!({"action": "step", "playback": playback, "by": "previous"})).await;
    screen.until(&mut client, "KeyFrame").await;
    screen.check(&server).await;
}

#[tokio::test]
async fn what_cannot_be_played_is_refused_with_what_is_allowed() {
    let past = Past::of_a_plant();
    let settings = HubSettings { playbacks_per_client_max: 2, playbacks_max: 3, ..HubSettings::default() };
    let server = past.server_with(settings).await;
    let mut client = server.client().await;
    let mut screen = Screen::default();
    let mut check = async |command: Value, code: &str, detail: &str| {
        let answer = client.tell(&mut screen, command.clone()).await;
        let problem = &answer["problem"];
        let found = problem["detail"].as_str().unwrap_or_default();
        assert!(
            answer["ok"] == false && problem["code"] == code && found.contains(detail),
            "{command}: {answer}"
        );
    };
    check(json!({"action": "play"}), "malformed-request", "`at`: it is missing").await;
    check(json!({"action": "play", "at": NOW + 1}), "malformed-request", "lies in the future").await;
    check(json!({"action": "play", "at": 0, "thingId": "nobody"}), "thing-not-found", "nobody").await;
    check(json!({"action": "play", "at": 0, "filter": "eq("}), "malformed-filter", "").await;
    check(json!({"action": "play", "at": 0, "format": "columns"}), "malformed-request", "`format`").await;
    check(json!({"action": "seek", "playback": 9, "at": 0}), "malformed-request", "no playback 9").await;
    check(json!({"action": "stop", "playback": 9}), "malformed-request", "no playback 9").await;
    let play = json!({"action": "play", "at": second(10), "paused": true, "thingId": "silo-1"});
    for _ in 0..2 {
        // Frames of two playbacks have two sequences; nobody looks at them here.
        client.say(&play).await;
    }
    let mut other = server.client().await;
    other.play(&mut Screen::default(), play.clone()).await;
    let mut third = server.client().await;
    third.say(&play).await;
    let answer = third.next().await;
    assert_eq!((&answer["problem"]["code"], &answer["problem"]["limit"]), (&json!("overloaded"), &json!(3)));
    assert_eq!(server.metric("egiz_server_playback_refused_total"), 1.0);
    client.say(&play).await;
    loop {
        let frame = client.next().await;
        if frame["ok"] == false {
            assert_eq!(frame["problem"]["code"], "limit-reached", "{frame}");
            break;
        }
    }
    // Who goes leaves his places to others.
    drop((client, other));
    for _ in 0..500 {
        if server.metric("egiz_server_playback_players") == 0.0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    third.play(&mut Screen::default(), play).await;

    let without = Server::start().await;
    let mut client = without.client().await;
    client.say(&json!({"action": "play", "at": 0})).await;
    assert_eq!(client.next().await["problem"]["code"], "history-off");
}
